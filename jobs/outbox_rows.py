"""From an outbox entry to the row that a sink stores.

Owns: the rows of lines that were never answered (cancelled, expired, given up), and what becomes of
a payload that cannot be read. Must not know: Redis, files.
"""

import json
import logging
from collections.abc import Sequence

import pyarrow as pa
from pydantic import ValidationError

from jobs.queue import OutboxEntry, Outcome
from jobs.result_table import rows_to_table
from schemas.batch import UNANSWERED
from schemas.result import ResultRow

__all__ = ["entry_to_row", "storable"]

_log = logging.getLogger(__name__)

_MAX_ATTEMPT = 32_767  # what the column holds

_UNANSWERED = {Outcome.CANCELLED: "batch_cancelled", Outcome.EXPIRED: "batch_expired"}


def entry_to_row(entry: OutboxEntry) -> ResultRow:
    """The row of `entry`. Never raises: a payload that is no ResultRow (another version of the
    program, a foreign hand) becomes a row with status 500, since every line ends in one row.
    """
    if entry.outcome in _UNANSWERED:
        code = _UNANSWERED[entry.outcome]
        return ResultRow(
            idx=entry.idx,
            custom_id=entry.custom_id,
            error_code=code,
            error_message=UNANSWERED[code],
            attempt=min(entry.attempt, _MAX_ATTEMPT),
            worker=entry.worker or None,
            attempts_json=entry.attempts_json,
        )
    if not entry.payload:
        return _failed_row(
            entry, "max_deliveries_exceeded", f"Given up after {entry.attempt} attempts."
        )
    try:
        row = ResultRow.decode(entry.payload)
    except (ValidationError, UnicodeDecodeError):
        _log.warning("the result of line index %d cannot be read", entry.idx)
        return _unreadable_row(entry)
    return _as_told(entry, row)


def _as_told(entry: OutboxEntry, row: ResultRow) -> ResultRow:
    """`row` with what the queue knows better than the worker whose payload it is."""
    told: dict[str, object] = {"idx": entry.idx, "custom_id": entry.custom_id}
    if entry.attempts_json is not None:
        told["attempts_json"] = entry.attempts_json
    if entry.deduped_from is not None:
        told["deduped_from"] = entry.deduped_from
    is_right = all(getattr(row, name) == value for name, value in told.items())
    return row if is_right else row.model_copy(update=told)


def storable(entries: Sequence[OutboxEntry], rows: Sequence[ResultRow]) -> list[ResultRow]:
    """`rows` (one per entry) with those replaced that do not fit their columns: one absurd number
    must not keep the other rows of its flush from the disk.
    """
    return [
        row if _fits(row) else _unreadable_row(entry)
        for entry, row in zip(entries, rows, strict=True)
    ]


def _fits(row: ResultRow) -> bool:
    try:
        rows_to_table([row])
    except (pa.ArrowException, ValueError, OverflowError):
        return False
    return True


def _unreadable_row(entry: OutboxEntry) -> ResultRow:
    return _failed_row(entry, "result_unreadable", "The worker's result could not be read.")


def _failed_row(entry: OutboxEntry, code: str, message: str) -> ResultRow:
    error = {"message": message, "type": "server_error", "param": None, "code": code}
    return ResultRow(
        idx=entry.idx,
        custom_id=entry.custom_id,
        status_code=500,
        error_code=code,
        error_message=message,
        attempt=min(entry.attempt, _MAX_ATTEMPT),
        worker=entry.worker or None,
        response_json=json.dumps({"error": error}),
    )
