"""What `-o` names: the kind of output, its files, and the state folder next to them.

Owns: parsing and checking of the target, the names of state folders. Must not know: what the
files hold.
"""

import errno
import hashlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from jobs.errors import StoreError, TargetError

__all__ = ["Target", "TargetKind", "parse_target", "prepare_target", "remote_state_url"]

_OBJECT_SCHEMES = ("gs", "s3")

_FOREIGN_SUFFIXES = {
    ".arrow", ".bz2", ".csv", ".db", ".feather", ".gz", ".json", ".jsonlines", ".ndjson",
    ".sqlite", ".tsv", ".txt", ".xlsx", ".xz", ".yaml", ".zip", ".zst",
}  # fmt: skip
_FOLDER_FILES = ("output.jsonl", "errors.jsonl", "results.parquet", "run.json")


class TargetKind(StrEnum):
    """One JSONL file, one Parquet file, one file of a kind that only tables have, a folder with
    files and a manifest, or rows that stay in Redis.
    """

    JSONL = "jsonl"
    PARQUET = "parquet"
    TABLE = "table"
    FOLDER = "folder"
    REDIS = "redis"


_KINDS = {".jsonl": TargetKind.JSONL, ".parquet": TargetKind.PARQUET}
_TABLE_KINDS = {
    **_KINDS,
    **dict.fromkeys((".arrow", ".csv", ".feather"), TargetKind.TABLE),
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where results go: a local `path` (absolute), an `url` in an object store, or neither if
    `kind` is REDIS. A symbolic link is followed: the file that it points to is what gets replaced.
    """

    kind: TargetKind
    path: Path | None = None
    url: str | None = None

    def __str__(self) -> str:
        """What `parse_target` would make this target of again, on any machine."""
        return self.url or (TargetKind.REDIS.value if self.path is None else str(self.path))

    @property
    def name(self) -> str:
        """The name of the file or folder."""
        if self.path is not None:
            return self.path.name
        return PurePosixPath(urlsplit(self.url or "").path).name

    @property
    def state_folder(self) -> Path | None:
        """What a run keeps on this machine until it is complete; None for REDIS."""
        if self.url is not None:
            return _state_home() / hashlib.sha256(self.url.encode()).hexdigest()[:32]
        if self.path is None:
            return None
        if self.kind is TargetKind.FOLDER:
            return self.path / ".headrace"
        return self.path.with_name(f".{self.path.name}.headrace")

    @property
    def folder(self) -> Path | None:
        """The local folder that the final files lie in."""
        if self.path is None or self.kind is TargetKind.FOLDER:
            return self.path
        return self.path.parent

    def final_files(self) -> list[Path]:
        """The local files of this target that exist now."""
        if self.path is None:
            return []
        if self.kind is not TargetKind.FOLDER:
            return [self.path] if self.path.exists() else []
        named = [self.path / name for name in _FOLDER_FILES if (self.path / name).exists()]
        return named + sorted(self.path.glob("results-[0-9][0-9][0-9][0-9][0-9]*.parquet"))


def parse_target(text: str, *, is_table: bool = False) -> Target:
    """The target that `text` names; nothing is created. `is_table`: what is written there has the
    formats of tables. Raises TargetError.
    """
    kinds = _TABLE_KINDS if is_table else _KINDS
    if text == "redis":
        return Target(TargetKind.REDIS)
    if not text.strip() or "\0" in text:
        raise TargetError("the output is empty; give a .jsonl or .parquet file, a folder or redis")
    if text == "-":
        raise TargetError(
            "results appear when all of them are there, so they cannot go to standard output; give "
            "a .jsonl or .parquet file or a folder (./- if it is really called that)"
        )
    if "://" in text:
        return _parse_url(text, kinds)
    return _local_target(text, kinds)


def _parse_url(text: str, kinds: Mapping[str, TargetKind]) -> Target:
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise TargetError(f"the output {text} is no usable URL: {error}") from error
    scheme = parts.scheme.lower()
    if scheme == "file":
        if parts.netloc not in ("", "localhost") or parts.query or not parts.path:
            raise TargetError(f"the output {text} is not a path: write file:///folder/name")
        return _local_target(unquote(parts.path), kinds)
    if scheme not in _OBJECT_SCHEMES:
        raise TargetError(
            f"the output {text} has the unknown scheme {parts.scheme!r}; use s3://, gs:// or "
            "file://, or a local path"
        )
    if (parts.username or parts.password) and (scheme != "gs" or parts.username != "anonymous"):
        raise TargetError(
            f"the output {scheme}://...@{parts.hostname} holds credentials, which would be "
            "shown and stored; put them where the store's own tools look for them"
        )
    if not parts.netloc:
        raise TargetError(f"the output {text} names no bucket: write {scheme}://bucket/folder")
    if parts.fragment:
        raise TargetError(f"the output {text} has a part after '#'; object names cannot have one")
    suffix = PurePosixPath(parts.path).suffix.lower()
    kind = TargetKind.FOLDER if parts.path.endswith("/") else kinds.get(suffix, TargetKind.FOLDER)
    if kind is TargetKind.FOLDER and not parts.path.endswith("/"):
        _refuse_foreign(text, suffix, kinds)
    url = f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    return Target(kind, url=f"{url}?{parts.query}" if parts.query else url)


def _state_home() -> Path:
    """Where programs keep what outlives them but is no document (freedesktop.org's rules)."""
    named = os.environ.get("XDG_STATE_HOME", "")
    home = Path(named) if Path(named).is_absolute() else Path.home() / ".local" / "state"
    return home / "headrace"


def _local_target(text: str, kinds: Mapping[str, TargetKind]) -> Target:
    try:
        path = Path(text).expanduser().resolve()
    except (OSError, RuntimeError) as error:
        raise TargetError(f"the output {text} cannot be resolved: {error}") from error
    suffix = path.suffix.lower()
    if text.endswith(("/", os.sep)) or path.is_dir():
        kind = TargetKind.FOLDER
        if suffix in kinds:
            raise TargetError(f"the output {text} is a folder, but its name is that of a file")
    elif suffix in kinds:
        kind = kinds[suffix]
    else:
        _refuse_foreign(text, suffix, kinds)
        kind = TargetKind.FOLDER
    return Target(kind, path)


def _refuse_foreign(text: str, suffix: str, kinds: Mapping[str, TargetKind]) -> None:
    if suffix in _FOREIGN_SUFFIXES:
        raise TargetError(
            f"the output {text} would be a {suffix} file, which is not supported; use "
            f"{', '.join(kinds)} or a folder (with a trailing / if it is really meant as one)"
        )


def prepare_target(target: Target, input_path: Path | None = None) -> None:
    """Check that `target` can take results and is not the input, and create its folders.

    Raises TargetError with one sentence that names the place and the reason.
    """
    if target.url is not None:
        _prepare_remote(target)
        return
    if target.path is None or target.folder is None or target.state_folder is None:
        return
    if target.kind is TargetKind.FOLDER:
        if target.path.exists() and not target.path.is_dir():
            raise TargetError(f"the output {target.path} is a file, not a folder")
    elif target.path.exists() and not target.path.is_file():
        raise TargetError(f"the output {target.path} is not a regular file")
    _refuse_input(target, input_path)
    _refuse_missing_parent(target.path)
    if target.state_folder.is_symlink():
        raise TargetError(f"the state folder {target.state_folder} is a symbolic link; remove it")
    try:
        target.folder.mkdir(exist_ok=True)
        target.state_folder.mkdir(exist_ok=True)
    except FileExistsError as error:
        raise TargetError(f"{error.filename} is in the way: it is not a folder") from error
    except OSError as error:
        raise TargetError(
            f"the output {target.path} cannot be written: {_reason(error)}"
        ) from error
    for folder in (target.folder, target.state_folder):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise TargetError(f"the output folder {folder} is not writable")


def _prepare_remote(target: Target) -> None:
    """Find out now whether objects can be written, listed and deleted there."""
    from jobs.object_folder import ObjectFolder  # Arrow takes time to load

    assert target.url is not None
    assert target.state_folder is not None
    try:
        target.state_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        objects = ObjectFolder.from_url(remote_state_url(target))
        name = f"probe-{secrets.token_hex(8)}"
        objects.put(name, b"headrace\n")
        objects.listing()
        objects.delete([name])
    except OSError as error:
        raise TargetError(
            f"the folder {target.state_folder}, which the output {target} needs, cannot be "
            f"made: {_reason(error)}"
        ) from error
    except StoreError as error:
        raise TargetError(f"the output cannot be used: {error}") from error


def remote_state_url(target: Target) -> str:
    """The prefix of what a run keeps in the object store, next to its results."""
    url, _, query = (target.url or "").partition("?")
    if target.kind is TargetKind.FOLDER:
        url = f"{url}/.headrace"
    else:
        url = f"{url.removesuffix(target.name)}.{target.name}.headrace"
    return f"{url}?{query}" if query else url


def _refuse_input(target: Target, input_path: Path | None) -> None:
    """Links of both kinds count: what matters is that the same bytes would be replaced."""
    if input_path is None or not input_path.exists():
        return
    for path in target.final_files():
        if path.samefile(input_path):
            raise TargetError(f"the output {path} is the input file {input_path}")


def _refuse_missing_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise TargetError(f"the folder {path.parent} of the output {path.name} does not exist")


def _reason(error: OSError) -> str:
    reasons = {errno.EROFS: "the file system is read-only", errno.ENOSPC: "the disk is full"}
    return reasons.get(error.errno or 0) or (error.strerror or str(error)).lower()
