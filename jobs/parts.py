"""One part of the results: an immutable Parquet file and what the manifest says about it.

Owns: the bytes of a part (zstd Parquet in `RESULT_SCHEMA`, page checksums, the batch's id in its
metadata) and the checks on reading it back. Must not know: manifests, which lines have results.
"""

import errno
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from jobs.durable import read_plain_file
from jobs.errors import StoreDamagedError
from jobs.result_table import ADDED_COLUMNS, RESULT_SCHEMA

__all__ = [
    "Part",
    "decode_part",
    "decode_published",
    "describe_part",
    "encode_part",
    "read_part",
]

_BATCH_KEY = b"headrace.batch_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A published part. `num_bytes` is the file's size, `raw_bytes` that of its columns in
    memory; `checksum` is xxh3-128 over the file.
    """

    file: str
    num_rows: int
    num_bytes: int
    raw_bytes: int
    first_idx: int
    last_idx: int
    checksum: str


def encode_part(table: pa.Table, batch_id: str) -> bytes:
    """The file's bytes for a table in `RESULT_SCHEMA`."""
    sink = pa.BufferOutputStream()
    marked = table.replace_schema_metadata({_BATCH_KEY: batch_id.encode()})
    pq.write_table(marked, sink, compression="zstd", write_page_checksum=True)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def describe_part(file: str, table: pa.Table, data: bytes) -> Part:
    """The manifest's entry for `data`, which encodes `table` (at least one row)."""
    indexes = table.column("idx").to_numpy()
    return Part(
        file=file,
        num_rows=table.num_rows,
        num_bytes=len(data),
        raw_bytes=table.nbytes,
        first_idx=int(indexes.min()),
        last_idx=int(indexes.max()),
        checksum=xxhash.xxh3_128_hexdigest(data),
    )


def read_part(folder: Path, part: Part, columns: list[str] | None = None) -> pa.Table:
    """The rows of a published part, whole file verified. Raises StoreDamagedError."""
    path = folder / part.file
    return decode_published(path, part, _read(path), columns)


def decode_published(
    path: Path | str, part: Part, data: bytes, columns: list[str] | None = None
) -> pa.Table:
    """The rows of a published part with these bytes, verified. Raises StoreDamagedError; `path`
    names the part in its text.
    """
    if len(data) != part.num_bytes or xxhash.xxh3_128_hexdigest(data) != part.checksum:
        raise StoreDamagedError(
            f"{path} is damaged: its {len(data)} bytes are not the {part.num_bytes} that were "
            f"written; run the same command again, and its {part.num_rows} rows are recomputed",
            path=path,
        )
    names = columns or RESULT_SCHEMA.names
    return _with_columns(_parse(path, data, columns), names).select(names)


def decode_part(path: Path, batch_id: str) -> pa.Table | None:
    """The rows of a part that no manifest vouches for; None if it belongs to another batch.
    Raises StoreDamagedError if it is torn or is no part at all.
    """
    table = _parse(path, _read(path), None)
    if (table.schema.metadata or {}).get(_BATCH_KEY) != batch_id.encode():
        return None
    table = _with_columns(table, RESULT_SCHEMA.names)
    if not table.schema.remove_metadata().equals(RESULT_SCHEMA):
        raise StoreDamagedError(f"{path} does not have the columns of a result part", path=path)
    return table.replace_schema_metadata(None)


def _with_columns(table: pa.Table, names: list[str]) -> pa.Table:
    """`names` of a part; those that it lacks because an earlier version wrote it are null."""
    for name in ADDED_COLUMNS:
        if name in names and name not in table.column_names:
            field = RESULT_SCHEMA.field(name)
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.select(names) if set(names) == set(table.column_names) else table


def _read(path: Path) -> bytes:
    try:
        return read_plain_file(path)
    except FileNotFoundError as error:
        raise StoreDamagedError(f"{path} is missing", path=path) from error
    except OSError as error:
        reason = "a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise StoreDamagedError(f"{path} cannot be read: {reason}", path=path) from error


def _parse(path: Path | str, data: bytes, columns: list[str] | None) -> pa.Table:
    try:
        file = pq.ParquetFile(
            pa.BufferReader(data), page_checksum_verification=True, pre_buffer=False
        )
        table: pa.Table = file.read(columns=columns, use_threads=False)
        return table
    except (pa.ArrowException, OSError, KeyError) as error:
        raise StoreDamagedError(f"{path} is not a readable Parquet file", path=path) from error
