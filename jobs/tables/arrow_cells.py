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
    if pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    return _without_views(kind, has_dictionaries=False)


def _without_views(kind: Any, *, has_dictionaries: bool) -> Any:
    """`kind` without views at any level (Arrow cannot pick rows of them), and without dictionaries
    unless `has_dictionaries`: then only their values become plain.
    """

    def plain(inner: Any) -> Any:
        return _without_views(inner, has_dictionaries=has_dictionaries)

    def plain_field(field: Any) -> Any:
        return pa.field(field.name, plain(field.type), field.nullable)

    if pa.types.is_dictionary(kind):
        values = plain(kind.value_type)
        return pa.dictionary(kind.index_type, values) if has_dictionaries else values
    if pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([plain_field(field) for field in kind])
    if pa.types.is_map(kind):
        make: Any = pa.map_  # its stubs lack what is used here
        return make(plain(kind.key_type), plain_field(kind.item_field), kind.keys_sorted)
    if pa.types.is_list(kind):
        return pa.list_(plain_field(kind.value_field))
    if pa.types.is_large_list(kind):
        return pa.large_list(plain_field(kind.value_field))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(plain_field(kind.value_field), kind.list_size)
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
        # Dictionaries of views, as polars has for categories, are not decoded by a cast.
        column = column.cast(_without_views(column.type, has_dictionaries=True))
        # Where files differ, integers may have been widened to floats, which may round them.
        return column.cast(field.type, safe=not pa.types.is_floating(field.type))
    except (pa.ArrowException, ValueError) as error:
        raise InputError(f"{name}: column {field.name!r} cannot be read: {error}") from error
