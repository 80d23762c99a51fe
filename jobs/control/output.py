"""The output and error files of a batch, from its stored rows.

Owns: which rows go into which file, in input order; rows for lines that have none. Must not know:
Redis, records, where the bytes end up. Writing again gives the same bytes.
"""

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from jobs.durable import storage_error
from jobs.producers.fanout import Producer
from jobs.queue import FinishedRow
from jobs.result_table import ok_mask
from jobs.sinks.counts import RowCounts
from jobs.sinks.jsonl import JsonlWriter
from jobs.sinks.merge import rows_in_order
from jobs.store import PartStore
from schemas.batch import UNANSWERED
from schemas.result import ResultRow

__all__ = ["OutputFiles", "fill_gaps", "write_output"]

_ROWS_AT_ONCE = 1000
_LOST = "The queue lost the request before it had an answer."


@dataclass(frozen=True, slots=True)
class OutputFiles:
    """Files in a scratch folder; None where no row belongs into one. `counts` are theirs."""

    output: Path | None
    error: Path | None
    counts: RowCounts


def write_output(store: PartStore, folder: Path) -> OutputFiles:
    """Write both files into `folder`, which is emptied first. Blocks.

    Raises StoreWriteError, StoreDamagedError.
    """
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise storage_error("write results to", folder, error) from error
    output = JsonlWriter(folder / "output.jsonl", store.batch_id)
    errors = JsonlWriter(folder / "error.jsonl", store.batch_id)
    counts = RowCounts()
    try:
        with closing(rows_in_order(store, folder / "sort")) as tables:
            for table in tables:
                counts.add(table)
                is_ok = ok_mask(table)
                output.write(table.filter(is_ok))
                errors.write(table.filter(pc.invert(is_ok)))
                pa.default_memory_pool().release_unused()
        output.close()
        errors.close()
    except BaseException:
        output.abandon()
        errors.abandon()
        raise
    return OutputFiles(_only(output.paths), _only(errors.paths), counts)


def fill_gaps(store: PartStore, producer: Producer | None, *, total: int, code: str | None) -> int:
    """Store a row for each of `total` lines that has none; how many. Blocks.

    `code` is why they were never answered: batch_cancelled or batch_expired; None: nobody knows.
    Without a producer the input is gone, and those rows have no custom_id. Raises StoreError, and
    what the producer raises.
    """
    if len(store.done) >= total:
        return 0
    num_filled = 0
    for rows in _missing_rows(store, producer, total, code):
        num_filled += store.append(rows).num_rows
    return num_filled


def _missing_rows(
    store: PartStore, producer: Producer | None, total: int, code: str | None
) -> Iterator[list[ResultRow]]:
    if producer is None:
        missing = [_unanswered(idx, None, code) for idx in store.done.missing(total)]
        for first in range(0, len(missing), _ROWS_AT_ONCE):
            yield missing[first : first + _ROWS_AT_ONCE]
        return
    for chunk in producer.chunks():
        yield [
            ResultRow.decode(item.payload)
            if isinstance(item, FinishedRow)
            else _unanswered(item.idx, item.custom_id, code)
            for item in chunk
            if item.idx not in store.done
        ]


def _unanswered(idx: int, custom_id: str | None, code: str | None) -> ResultRow:
    if code is not None:
        return ResultRow(
            idx=idx, custom_id=custom_id, error_code=code, error_message=UNANSWERED[code]
        )
    return ResultRow(
        idx=idx, custom_id=custom_id, status_code=500, error_code="job_lost", error_message=_LOST
    )


def _only(paths: list[Path]) -> Path | None:
    return paths[0] if paths else None
