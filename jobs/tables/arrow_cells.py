"""Columns as Arrow has them, made plain.

Dictionary, run-end and view encodings are ways of storing a column, not types that every format and
reader has; so the columns of a table are those of their values.

Owns: plain types, batches brought to one schema, cells as Python values. Must not know: files.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.errors import InputError
from jobs.tables.source import Row

__all__ = ["cells_of", "conform", "plain_schema"]


def plain_schema(schema: pa.Schema, name: str) -> pa.Schema:
    """The columns of `schema` with plain types and without the file's own metadata.

    Raises InputError if two have the same name.
    """
    seen: set[str] = set()
    for column in schema.names:
        if column in seen:
            raise InputError(f"{name} has two columns that are called {column!r}; rename one")
        seen.add(column)
    return pa.schema([pa.field(field.name, plain_type(field.type)) for field in schema])


def plain_type(kind: Any) -> Any:
    """The type of the column's values, however they are stored."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    return kind


def conform(
    batch: pa.RecordBatch, schema: pa.Schema, constants: Mapping[str, Any], name: str
) -> pa.RecordBatch:
    """`batch` with exactly the columns of `schema`: from `constants` (by column), else its own cast
    to their types, else nulls. Raises InputError if a cell does not fit.
    """
    columns: list[Any] = []
    for field in schema:
        if field.name in constants:
            scalar = pa.scalar(constants[field.name], field.type)
            columns.append(pa.repeat(scalar, batch.num_rows))
        elif field.name in batch.schema.names:
            columns.append(_cast(batch.column(field.name), field, name))
        else:
            columns.append(pa.nulls(batch.num_rows, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def cells_of(batch: pa.RecordBatch, name: str) -> list[Row]:
    """The rows of `batch` as Python values. Raises InputError if Python has no such value."""
    try:
        rows: list[Row] = list(batch.to_pylist())
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise InputError(f"{name} has a cell that cannot be read: {error}") from error
    return rows


def _cast(column: Any, field: Any, name: str) -> Any:
    if column.type == field.type:
        return column
    try:
        if pa.types.is_run_end_encoded(column.type):
            column = pc.call_function("run_end_decode", [column])
        elif pa.types.is_dictionary(column.type):  # casting as it is knows no views (of polars)
            values = column.dictionary.cast(plain_type(column.type.value_type))
            column = values.take(column.indices)
        # Where files differ, integers may have been widened to floats, which may round them.
        return column.cast(field.type, safe=not pa.types.is_floating(field.type))
    except (pa.ArrowException, ValueError) as error:
        raise InputError(f"{name}: column {field.name!r} cannot be read: {error}") from error
