"""Result rows as Arrow tables.

Owns: `RESULT_SCHEMA`, the one place where the columns' Arrow types stand, and the step from rows
to columns. Must not know: files, Redis.
"""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.result import ResultRow

__all__ = [
    "ADDED_COLUMNS",
    "RESULT_SCHEMA",
    "line_indexes",
    "ok_mask",
    "rows_to_table",
    "table_to_rows",
]

_TOOL_CALL = pa.struct([("id", pa.string()), ("name", pa.string()), ("arguments", pa.string())])

_FIELDS: "list[pa.Field[Any]]" = [
    pa.field("idx", pa.int64()),
    pa.field("custom_id", pa.string()),
    pa.field("status_code", pa.int16()),
    pa.field("model", pa.string()),
    pa.field("finish_reason", pa.string()),
    pa.field("content", pa.string()),
    pa.field("reasoning", pa.string()),
    pa.field("tool_calls", pa.list_(_TOOL_CALL)),
    pa.field("tool_arguments_valid", pa.bool_()),
    pa.field("error_code", pa.string()),
    pa.field("error_message", pa.string()),
    pa.field("prompt_tokens", pa.int32()),
    pa.field("cached_tokens", pa.int32()),
    pa.field("completion_tokens", pa.int32()),
    pa.field("reasoning_tokens", pa.int32()),
    pa.field("attempt", pa.int16()),
    pa.field("worker", pa.string()),
    pa.field("fingerprint", pa.string()),
    pa.field("queue_s", pa.float32()),
    pa.field("ttft_s", pa.float32()),
    pa.field("e2e_s", pa.float32()),
    pa.field("request_hash", pa.string()),
    pa.field("deduped_from", pa.int64()),
    pa.field("response_json", pa.string()),
    pa.field("attempts_json", pa.string()),
]

RESULT_SCHEMA = pa.schema(_FIELDS)

ADDED_COLUMNS = ("attempts_json",)
"""Columns that the first version did not have: its parts are read without them."""

_cells = attrgetter(*RESULT_SCHEMA.names)
_TOOL_CALLS_COLUMN = RESULT_SCHEMA.get_field_index("tool_calls")


def rows_to_table(rows: Sequence[ResultRow]) -> pa.Table:
    """One table with a record batch of `rows`. Raises ValueError or OverflowError (pa.ArrowInvalid
    is a ValueError) if a number does not fit its column.
    """
    columns: list[Any] = [list(column) for column in zip(*map(_cells, rows), strict=True)]
    if not columns:
        return RESULT_SCHEMA.empty_table()
    columns[_TOOL_CALLS_COLUMN] = [
        None if calls is None else [call.model_dump() for call in calls]
        for calls in columns[_TOOL_CALLS_COLUMN]
    ]
    arrays = [
        pa.array(column, type=field.type)
        for column, field in zip(columns, RESULT_SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=RESULT_SCHEMA)


def table_to_rows(table: pa.Table) -> list[ResultRow]:
    """The inverse of `rows_to_table`; columns that the table lacks become None."""
    known = [name for name in table.column_names if name in ResultRow.model_fields]
    return [ResultRow.model_validate(cells) for cells in table.select(known).to_pylist()]


def line_indexes(table: pa.Table) -> list[int]:
    """The idx column as plain integers."""
    indexes: list[Any] = table.column("idx").to_pylist()
    return indexes


def ok_mask(table: pa.Table) -> "pa.ChunkedArray[pa.BooleanScalar]":
    """True for the rows with status 200, never null."""
    filled: Any = pc.coalesce(table.column("status_code"), pa.scalar(0, pa.int16()))
    mask: pa.ChunkedArray[pa.BooleanScalar] = pc.equal(filled, pa.scalar(200, pa.int16()))
    return mask
