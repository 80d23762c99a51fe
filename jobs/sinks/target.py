"""What `-o` names: the kind of output, its files, and the state folder next to them.

Owns: parsing and checking of the target, the names of state folders. Must not know: what the
files hold.
"""

import errno
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from jobs.errors import TargetError

__all__ = ["Target", "TargetKind", "parse_target", "prepare_target"]

_FOREIGN_SUFFIXES = {
    ".arrow", ".bz2", ".csv", ".db", ".feather", ".gz", ".json", ".jsonlines", ".ndjson",
    ".sqlite", ".tsv", ".txt", ".xlsx", ".xz", ".yaml", ".zip", ".zst",
}  # fmt: skip
_FOLDER_FILES = ("output.jsonl", "errors.jsonl", "results.parquet", "run.json")


class TargetKind(StrEnum):
    """One JSONL file, one Parquet file, a folder with both and a manifest, or rows that stay in
    Redis.
    """

    JSONL = "jsonl"
    PARQUET = "parquet"
    FOLDER = "folder"
    REDIS = "redis"


@dataclass(frozen=True, slots=True)
class Target:
    """Where results go. `path` and `state_folder` are absolute, and set unless `kind` is REDIS.
    A symbolic link is followed: the file that it points to is what gets replaced.
    """

    kind: TargetKind
    path: Path | None = None

    @property
    def state_folder(self) -> Path | None:
        if self.path is None:
            return None
        if self.kind is TargetKind.FOLDER:
            return self.path / ".headrace"
        return self.path.with_name(f".{self.path.name}.headrace")

    @property
    def folder(self) -> Path | None:
        """The folder that the final files lie in."""
        if self.path is None or self.kind is TargetKind.FOLDER:
            return self.path
        return self.path.parent

    def final_files(self) -> list[Path]:
        """The files of this target that exist now."""
        if self.path is None:
            return []
        if self.kind is not TargetKind.FOLDER:
            return [self.path] if self.path.exists() else []
        named = [self.path / name for name in _FOLDER_FILES if (self.path / name).exists()]
        return named + sorted(self.path.glob("results-[0-9][0-9][0-9][0-9][0-9]*.parquet"))


def parse_target(text: str) -> Target:
    """The target that `text` names; nothing is created. Raises TargetError."""
    if text == "redis":
        return Target(TargetKind.REDIS)
    if not text.strip() or "\0" in text:
        raise TargetError("the output is empty; give a .jsonl or .parquet file, a folder or redis")
    if "://" in text:
        raise TargetError(f"the output {text} is a URL; results are written to local paths only")
    try:
        path = Path(text).expanduser().resolve()
    except (OSError, RuntimeError) as error:
        raise TargetError(f"the output {text} cannot be resolved: {error}") from error
    suffix = path.suffix.lower()
    kinds = {".jsonl": TargetKind.JSONL, ".parquet": TargetKind.PARQUET}
    if text.endswith(("/", os.sep)) or path.is_dir():
        kind = TargetKind.FOLDER
        if suffix in kinds:
            raise TargetError(f"the output {text} is a folder, but its name is that of a file")
    elif suffix in kinds:
        kind = kinds[suffix]
    elif suffix in _FOREIGN_SUFFIXES:
        raise TargetError(
            f"the output {text} would be a {suffix} file, which is not supported; use .jsonl, "
            ".parquet or a folder (with a trailing / if it is really meant as one)"
        )
    else:
        kind = TargetKind.FOLDER
    return Target(kind, path)


def prepare_target(target: Target, input_path: Path | None = None) -> None:
    """Check that `target` can take results and is not the input, and create its folders.

    Raises TargetError with one sentence that names the path and the reason.
    """
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
