"""Rows for the lines of a batch that have none when it ends.

Owns: what such a row says. Must not know: Redis, final files. That no line may be left out is the
callers' reason to ask; which lines these are, the store knows.
"""

from collections.abc import Iterator

from jobs.producers.fanout import Producer
from jobs.queue import FinishedRow
from jobs.result_store import ResultStore
from schemas.batch import UNANSWERED
from schemas.result import ResultRow

__all__ = ["fill_gaps"]

_ROWS_AT_ONCE = 1000
_LOST = "The answer was lost before it reached the results; send the request again."


def fill_gaps(
    store: ResultStore, producer: Producer | None, *, total: int, code: str | None
) -> int:
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
    store: ResultStore, producer: Producer | None, total: int, code: str | None
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
