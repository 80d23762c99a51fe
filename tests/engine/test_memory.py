from pathlib import Path

import pytest

from engine.memory import available_host_memory_bytes, format_bytes, total_host_memory_bytes

GIB = 2**30


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    _write(tmp_path / "proc/meminfo", f"MemTotal: 99 kB\nMemAvailable: {8 * 2**20} kB\n")
    return tmp_path


def test_without_control_groups_the_machine_decides(root: Path) -> None:
    assert available_host_memory_bytes(root) == 8 * GIB


def test_a_container_limit_counts_less_what_is_used_and_cannot_be_reclaimed(root: Path) -> None:
    _write(root / "proc/self/cgroup", "0::/some/service\n")
    group = root / "sys/fs/cgroup/some/service"
    _write(group / "memory.max", str(4 * GIB))
    _write(group / "memory.current", str(3 * GIB))
    _write(group / "memory.stat", f"anon 1\ninactive_file {GIB // 2}\n")
    assert available_host_memory_bytes(root) == 4 * GIB - 3 * GIB + GIB // 2


def test_the_tightest_group_above_the_process_counts(root: Path) -> None:
    _write(root / "proc/self/cgroup", "0::/some/service\n")
    _write(root / "sys/fs/cgroup/some/service/memory.max", "max")
    _write(root / "sys/fs/cgroup/some/memory.max", str(2 * GIB))
    _write(root / "sys/fs/cgroup/some/memory.current", str(GIB))
    assert available_host_memory_bytes(root) == GIB


def test_a_path_that_the_container_does_not_see_means_its_own_mount(root: Path) -> None:
    _write(root / "proc/self/cgroup", "0::/../../outside/name\n")
    _write(root / "sys/fs/cgroup/memory.max", str(GIB))
    _write(root / "sys/fs/cgroup/memory.current", "0")
    assert available_host_memory_bytes(root) == GIB


def test_version_1_groups_count_and_their_no_limit_number_does_not(root: Path) -> None:
    _write(root / "proc/self/cgroup", "5:cpu:/\n4:memory:/job\n")
    group = root / "sys/fs/cgroup/memory"
    _write(group / "memory.limit_in_bytes", str(2**63 - 4096))
    _write(group / "job/memory.limit_in_bytes", str(3 * GIB))
    _write(group / "job/memory.usage_in_bytes", str(GIB))
    _write(group / "job/memory.stat", "total_inactive_file 4096\n")
    assert available_host_memory_bytes(root) == 2 * GIB + 4096


def test_a_group_over_its_limit_leaves_nothing(root: Path) -> None:
    _write(root / "proc/self/cgroup", "0::/\n")
    _write(root / "sys/fs/cgroup/memory.max", str(GIB))
    _write(root / "sys/fs/cgroup/memory.current", str(2 * GIB))
    assert available_host_memory_bytes(root) == 0


def test_this_machine_has_some_and_not_more_than_all() -> None:
    assert 0 < available_host_memory_bytes() <= total_host_memory_bytes()


@pytest.mark.parametrize(
    ("num_bytes", "text"), [(512, "0 KiB"), (3 * 2**20, "3 MiB"), (GIB * 3 // 2, "1.5 GiB")]
)
def test_bytes_are_told_in_the_largest_fitting_unit(num_bytes: int, text: str) -> None:
    assert format_bytes(num_bytes) == text
