"""The files of a table: one file, or all files of one format in a folder, on this machine or in an
object store.

Owns: which files those are, in which order, their format, what their folders' names say
(`year=2024/`), and what tells one state of them from another. Must not know: what is in them.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from jobs.errors import InputError

__all__ = ["TableFile", "TableFormat", "TablePlace", "find_table", "is_table_name", "local_path"]

_OURS = "run.json"  # beside results.parquet in an output folder, which may be the next run's input
_HIDDEN = (".", "_")
_LOGS = {"_delta_log": "Delta", ".hoodie": "Hudi"}  # which say what of the folder is the table
_COMPRESSIONS = (".gz", ".bz2", ".zst", ".lz4")


class TableFormat(StrEnum):
    """How the files of a table are written."""

    PARQUET = "parquet"
    ARROW = "arrow"
    CSV = "csv"
    JSONL = "jsonl"

    @property
    def is_text(self) -> bool:
        return self in (self.CSV, self.JSONL)


_SUFFIXES = {
    ".parquet": TableFormat.PARQUET, ".pq": TableFormat.PARQUET,
    ".arrow": TableFormat.ARROW, ".arrows": TableFormat.ARROW,
    ".feather": TableFormat.ARROW, ".ipc": TableFormat.ARROW,
    ".csv": TableFormat.CSV, ".tsv": TableFormat.CSV,
    ".jsonl": TableFormat.JSONL, ".ndjson": TableFormat.JSONL, ".json": TableFormat.JSONL,
}  # fmt: skip
_MAGIC = {b"PAR1": TableFormat.PARQUET, b"ARROW1": TableFormat.ARROW}


@dataclass(frozen=True, slots=True)
class TableFile:
    """One file. `name` is its path inside the table, `partition` what its folders say by column."""

    path: str
    name: str
    num_bytes: int
    partition: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePlace:
    """The files of one table, by path. `name` is what the user calls it; `partitions` types the
    columns that come from folders' names.
    """

    name: str
    filesystem: fs.FileSystem
    format: TableFormat
    files: tuple[TableFile, ...]
    partitions: pa.Schema
    digest: str


def is_table_name(location: str) -> bool:
    """Whether a name can only be that of a table: lines of JSON may also be requests."""
    if "://" in location or Path(location).is_dir():
        return True
    return _format_of(location) not in (None, TableFormat.JSONL)


def local_path(location: str) -> Path | None:
    """Where a path or URL leads on this machine; None if it leads elsewhere, or nowhere."""
    try:
        filesystem, path = _filesystem(location)
    except (pa.ArrowException, OSError, ValueError):
        return None
    return Path(path) if isinstance(filesystem, fs.LocalFileSystem) else None


def find_table(location: str) -> TablePlace:
    """The table at a path or URL (file://, s3://, gs://, and what else pyarrow.fs knows).

    Raises InputError with one sentence: missing, empty, of no known format, of several.
    """
    if not location or "\0" in location:
        raise InputError("the input is empty; give a file, a folder or a URL")
    try:
        filesystem, path = _filesystem(location)
        info = filesystem.get_file_info(path)
        infos = _files_in(filesystem, info, location)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"the input {location} cannot be read: {_one_line(error)}") from error
    is_folder = info.type == fs.FileType.Directory
    base = info.path if is_folder else str(PurePosixPath(info.path).parent)
    names = [str(PurePosixPath(each.path).relative_to(base)) for each in infos]
    found = _common_format(filesystem, infos, names, location)
    partitions, values = _partitions(filesystem, infos, base if is_folder else "", location)
    return TablePlace(
        name=location,
        filesystem=filesystem,
        format=found,
        files=tuple(
            TableFile(each.path, name, each.size or 0, partition)
            for each, name, partition in zip(infos, names, values, strict=True)
        ),
        partitions=partitions,
        digest=_digest(infos, names),
    )


def _filesystem(location: str) -> tuple[fs.FileSystem, str]:
    if "://" in location:
        return fs.FileSystem.from_uri(location)
    return fs.LocalFileSystem(), str(Path(location).absolute())


def _files_in(filesystem: fs.FileSystem, info: fs.FileInfo, location: str) -> Sequence[fs.FileInfo]:
    """The file itself, or the folder's, sorted; hidden ones (as Spark's _SUCCESS) are left out."""
    if info.type == fs.FileType.NotFound:
        raise InputError(f"the input {location} does not exist")
    if info.type == fs.FileType.File:
        return [info]
    if info.type != fs.FileType.Directory:
        raise InputError(f"the input {location} is neither a file nor a folder")
    found: list[fs.FileInfo] = []
    for each in filesystem.get_file_info(fs.FileSelector(info.path, recursive=True)):
        steps = PurePosixPath(each.path).relative_to(info.path).parts
        if steps[0] in _LOGS:
            raise InputError(
                f"the input folder {location} is a {_LOGS[steps[0]]} table, whose files also hold "
                "rows that were deleted or replaced; write its rows to Parquet files first"
            )
        is_hidden = any(step.startswith(_HIDDEN) for step in steps) or steps == (_OURS,)
        if each.type == fs.FileType.File and not is_hidden:
            found.append(each)
    if not found:
        raise InputError(f"the input folder {location} holds no files of a table")
    return sorted(found, key=lambda each: each.path)


def _common_format(
    filesystem: fs.FileSystem,
    infos: Sequence[fs.FileInfo],
    names: Sequence[str],
    location: str,
) -> TableFormat:
    formats: dict[TableFormat, str] = {}
    for info, name in zip(infos, names, strict=True):
        found = _format_of(name) or _format_inside(filesystem, info, location)
        if found is None:
            is_itself = PurePosixPath(location).name == name
            where = f"the input {location}" if is_itself else f"{name} in {location}"
            raise InputError(
                f"{where} has no format that is known; tables are {', '.join(_SUFFIXES)} files "
                "(text also compressed: .csv.gz) and folders of them"
            )
        formats.setdefault(found, name)
    if len(formats) > 1:
        shown = " and ".join(formats.values())
        raise InputError(f"the input folder {location} holds files of several formats: {shown}")
    return next(iter(formats))


def _format_of(name: str) -> TableFormat | None:
    stem = _stem(name)
    found = _SUFFIXES.get(PurePosixPath(stem).suffix.lower())
    return found if stem == name or (found is not None and found.is_text) else None


def _stem(name: str) -> str:
    """`name` without the suffix of a compression."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in _COMPRESSIONS else name


def _format_inside(
    filesystem: fs.FileSystem, info: fs.FileInfo, location: str
) -> TableFormat | None:
    """The format of a file whose name says nothing, by its first bytes."""
    try:
        with filesystem.open_input_stream(info.path, compression=None) as file:
            start = file.read(8)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"the input {location} cannot be read: {_one_line(error)}") from error
    return next((found for magic, found in _MAGIC.items() if start.startswith(magic)), None)


def _partitions(
    filesystem: fs.FileSystem, infos: Sequence[fs.FileInfo], base: str, location: str
) -> tuple[pa.Schema, list[dict[str, Any]]]:
    """The columns in the names of folders below `base`, and each file's values."""
    if not base:
        return pa.schema([]), [{} for _ in infos]
    dataset: Any = ds  # its stubs lack what is used here
    options = dataset.FileSystemFactoryOptions(
        partition_base_dir=base, partitioning=ds.HivePartitioning.discover()
    )
    try:
        factory = dataset.FileSystemDatasetFactory(
            filesystem, [each.path for each in infos], ds.IpcFileFormat(), options
        )
        schema = factory.inspect(fragments=0)  # names of folders only, no file is opened
        found = {
            fragment.path: ds.get_partition_keys(fragment.partition_expression)
            for fragment in factory.finish(schema).get_fragments()
        }
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"the folders in {location} do not agree about their columns: {_one_line(error)}"
        ) from error
    return schema, [found[each.path] for each in infos]


def _digest(infos: Sequence[fs.FileInfo], names: Sequence[str]) -> str:
    """Sizes and times of change, not bytes: those of a data set need not be read to know it again.
    A copy of the files counts as another state; its rows are found again by what they ask.
    """
    digest = hashlib.sha256()
    for info, name in zip(infos, names, strict=True):
        digest.update(f"{name}\0{info.size}\0{info.mtime_ns}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
