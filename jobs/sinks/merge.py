"""All rows of a store in input order, in flat memory.

An external bucket sort: the rows are dealt into scratch files by ranges of line numbers, then each
range is sorted in memory. A range that is still too large (long rows may stand together) is dealt
again, so memory is bounded by bytes, not by rows.

Owns: the order and the scratch files. Must not know: output formats.
"""

import shutil
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.durable import storage_error
from jobs.result_store import ResultStore
from jobs.result_table import RESULT_SCHEMA

__all__ = ["MergeSettings", "rows_in_order"]

_MAX_BUCKETS = 256
# Arrow's threads would each keep memory of their own.
_WRITE_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_READ_OPTIONS = pa.ipc.IpcReadOptions(use_threads=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSettings:
    """How much of the result is sorted in memory at once: rows, and bytes of their columns."""

    max_rows: int = 2_048
    max_bytes: int = 2 << 20


@dataclass(slots=True)
class _Bucket:
    """A range of line numbers `[first, end)` whose rows lie in `path`."""

    path: Path
    first: int
    end: int
    raw_bytes: int = 0
    num_rows: int = 0


def rows_in_order(
    store: ResultStore, scratch: Path, *, settings: MergeSettings | None = None
) -> Generator[pa.Table]:
    """Tables in `RESULT_SCHEMA`, ascending by idx within and between them.

    `scratch` is a folder of ours: emptied now, removed at the end. Raises StoreDamagedError if a
    part cannot be read, StoreWriteError if the scratch files cannot be written.
    """
    settings = settings or MergeSettings()
    if not store.parts:
        return
    whole = _Bucket(
        scratch,
        first=0,
        end=max(part.last_idx for part in store.parts) + 1,
        raw_bytes=sum(part.raw_bytes for part in store.parts),
        num_rows=sum(part.num_rows for part in store.parts),
    )
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(parents=True)
        yield from _ordered(map(store.read, store.parts), whole, scratch, settings)
    except OSError as error:
        raise storage_error("sort results in", scratch, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _ordered(
    tables: Iterable[pa.Table], bucket: _Bucket, scratch: Path, settings: MergeSettings
) -> Iterator[pa.Table]:
    span = bucket.end - bucket.first
    fits = bucket.raw_bytes <= settings.max_bytes and bucket.num_rows <= settings.max_rows
    if fits or span == 1:
        yield _sorted(pa.concat_tables(tables))
        return
    for smaller in _deal(tables, bucket, _width(bucket, settings), scratch):
        yield from _ordered(_read_bucket(smaller.path), smaller, scratch, settings)
        smaller.path.unlink()


def _width(bucket: _Bucket, settings: MergeSettings) -> int:
    """How many line numbers a smaller bucket spans: whole row groups where rows are short."""
    span = bucket.end - bucket.first
    num_by_bytes = -(-bucket.raw_bytes // settings.max_bytes)
    num_by_rows = -(-span // settings.max_rows)
    num_buckets = min(max(num_by_bytes, num_by_rows, 2), _MAX_BUCKETS)
    width = -(-span // num_buckets)
    if width >= settings.max_rows:
        width = -(-width // settings.max_rows) * settings.max_rows
    return min(width, span - 1)


def _deal(tables: Iterable[pa.Table], bucket: _Bucket, width: int, scratch: Path) -> list[_Bucket]:
    """Write each row to the file of its range; the ranges that got rows, ascending."""
    dealt: dict[int, _Bucket] = {}
    for table in tables:
        numbers = (table.column("idx").to_numpy() - bucket.first) // width
        order = np.argsort(numbers, kind="stable")
        grouped = table.take(order)
        values, starts = np.unique(numbers[order], return_index=True)
        ends = [*starts[1:], table.num_rows]
        for value, start, end in zip(values.tolist(), starts.tolist(), ends, strict=True):
            smaller = dealt.get(value)
            if smaller is None:
                first = bucket.first + value * width
                path = scratch / f"rows-{first}-{width}.arrows"
                smaller = _Bucket(path, first, min(first + width, bucket.end))
                dealt[value] = smaller
            piece = grouped.slice(start, int(end) - start)
            _append_piece(smaller.path, piece)
            smaller.raw_bytes += piece.nbytes
            smaller.num_rows += piece.num_rows
    return [dealt[value] for value in sorted(dealt)]


def _append_piece(path: Path, piece: pa.Table) -> None:
    with (
        path.open("ab") as file,
        pa.ipc.new_stream(file, piece.schema, options=_WRITE_OPTIONS) as out,
    ):
        out.write_table(piece)


def _read_bucket(path: Path) -> Iterator[pa.Table]:
    """The pieces of a scratch file: Arrow streams one after another."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            yield pa.ipc.open_stream(file, options=_READ_OPTIONS).read_all()


def _sorted(table: pa.Table) -> Any:
    indexes = table.column("idx").to_numpy()
    order = np.argsort(indexes, kind="stable")
    assert not (np.diff(indexes[order]) == 0).any(), "two rows for one line"
    return table.select(RESULT_SCHEMA.names).combine_chunks().take(order)
