"""How much host memory this process may still take.

Owns: reading the kernel's and the container's limits. Must not know: models, torch.
"""

import os
from pathlib import Path

__all__ = ["available_host_memory_bytes", "format_bytes", "total_host_memory_bytes"]

_ROOT = Path("/")


def available_host_memory_bytes(root: Path = _ROOT) -> int:
    """Memory that can be taken without swapping: what the machine has left, or what the tightest
    control group above this process leaves, whichever is less. `root` is for tests.
    """
    values = [_meminfo_bytes(root, "MemAvailable")]
    values += [_cgroup_v2_left(path) for path in _cgroup_paths(root, "0::", "sys/fs/cgroup")]
    values += [
        _cgroup_v1_left(path) for path in _cgroup_paths(root, ":memory:", "sys/fs/cgroup/memory")
    ]
    known = [value for value in values if value is not None]
    return max(0, min(known)) if known else _physical_bytes()


def total_host_memory_bytes() -> int:
    """The machine's memory in bytes."""
    return _meminfo_bytes(_ROOT, "MemTotal") or _physical_bytes()


def format_bytes(num_bytes: float) -> str:
    """`num_bytes` for people: 1.5 GiB, 12 MiB."""
    if num_bytes >= 2**30:
        return f"{num_bytes / 2**30:.1f} GiB"
    return f"{num_bytes / 2**20:.0f} MiB" if num_bytes >= 2**20 else f"{num_bytes / 2**10:.0f} KiB"


def _physical_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _meminfo_bytes(root: Path, key: str) -> int | None:
    for line in _read(root / "proc/meminfo").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return None


def _cgroup_paths(root: Path, marker: str, mount: str) -> list[Path]:
    """The control group of this process and those above it. In a container the path that the
    kernel names is often not visible; the mount point itself is then the group.
    """
    base = root / mount
    group = next(
        (
            line.split(":", 2)[2]
            for line in _read(root / "proc/self/cgroup").splitlines()
            if marker in line
        ),
        "/",
    )
    path = base / group.strip("/")
    return [path, *(parent for parent in path.parents if parent.is_relative_to(base))]


def _cgroup_v2_left(path: Path) -> int | None:
    limit = _read(path / "memory.max").strip()
    if not limit or limit == "max":
        return None
    used = int(_read(path / "memory.current") or 0)
    return int(limit) - used + _reclaimable(path, "inactive_file")


def _cgroup_v1_left(path: Path) -> int | None:
    limit = _read(path / "memory.limit_in_bytes").strip()
    if not limit or int(limit) >= 2**60:  # "no limit" is written as a huge number
        return None
    used = int(_read(path / "memory.usage_in_bytes") or 0)
    return int(limit) - used + _reclaimable(path, "total_inactive_file")


def _reclaimable(path: Path, key: str) -> int:
    for line in _read(path / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
