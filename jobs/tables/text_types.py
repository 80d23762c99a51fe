"""The types of columns that were written as text.

Found by looking at every row, not at the first ones, so that no cell can turn up later that has no
place in its column.

Owns: which type fits all cells, and the arrays. Must not know: files, rows that are none.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["CsvTypes", "JsonTypes", "TextTypes"]

_ROWS_WITH_ZEROS = r"^[+-]?0[0-9xX]"  # 007 is a name, not a number; 0x10 is not 16
_LONG_NUMBERS = r"^[+-]?[0-9]{16,}$"  # a float would round it
_CANDIDATES: Sequence[Any] = (pa.int64(), pa.float64(), pa.bool_())
_MAX_LEVELS = 40  # readers of Parquet stop at 100, and a list of objects counts for three
_NOT_BOOLEAN = re.compile("[^01]")
_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class TextTypes(Protocol):
    """Types of columns, from all their cells."""

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Look at some more rows."""
        ...

    def schema(self) -> pa.Schema:
        """The columns in the order in which they came up."""
        ...

    def array(self, cells: Sequence[Any], kind: Any) -> Any:
        """Cells of a column of that type; those that were looked at fit."""
        ...


class CsvTypes:
    """int64, float64 or bool where every cell that is not empty is one, written as one; else
    strings.
    """

    def __init__(self) -> None:
        self._fitting: dict[str, list[Any]] = {}
        self._has_cells: set[str] = set()

    def expect(self, names: Sequence[str]) -> None:
        """There are columns of these names, even if no row follows."""
        for name in names:
            self._fitting.setdefault(name, list(_CANDIDATES))

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """See TextTypes. The rows of one piece are of one file: all have the same columns."""
        self.expect(list(rows[0]) if rows else [])
        for name in rows[0] if rows else ():
            fitting = self._fitting[name]
            cells = pa.array([row[name] for row in rows], pa.string()).drop_null()
            if len(cells):
                self._has_cells.add(name)
                fitting[:] = [kind for kind in fitting if _fits(cells, kind)]

    def schema(self) -> pa.Schema:
        """See TextTypes."""
        return pa.schema(
            [
                pa.field(name, kinds[0] if kinds and name in self._has_cells else pa.string())
                for name, kinds in self._fitting.items()
            ]
        )

    def array(self, cells: Sequence[Any], kind: Any) -> Any:
        """See TextTypes."""
        return pa.array(cells, pa.string()).cast(kind)


class JsonTypes:
    """The Arrow types of JSON values. Columns whose values have no type in common (strings and
    numbers, objects without keys), or one that is nested too deeply for files, are strings: text as
    it is, anything else as JSON.
    """

    def __init__(self) -> None:
        self._types: dict[str, Any] = {}

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """See TextTypes."""
        cells: dict[str, list[Any]] = {}
        for row in rows:
            for name, value in row.items():
                cells.setdefault(name, []).append(value)
        for name, values in cells.items():
            before = self._types.get(name, pa.null())
            if before is not None:  # None: nothing in common
                self._types[name] = _common_type(before, values)

    def schema(self) -> pa.Schema:
        """See TextTypes."""
        return pa.schema([(name, _column_type(kind)) for name, kind in self._types.items()])

    def array(self, cells: Sequence[Any], kind: Any) -> Any:
        """See TextTypes."""
        if pa.types.is_string(kind):
            cells = [
                cell if cell is None or isinstance(cell, str) else _dump(cell) for cell in cells
            ]
        elif pa.types.is_float64(kind):
            cells = [None if cell is None else float(cell) for cell in cells]
        try:
            return pa.array(cells, type=kind)
        except pa.ArrowInvalid:  # a whole number that no float holds exactly, among decimal ones
            return pa.array([_with_floats(cell, kind) for cell in cells], type=kind)


def _with_floats(value: Any, kind: Any) -> Any:
    """The numbers in `value` as floats where its type has floats."""
    if pa.types.is_float64(kind) and isinstance(value, int):
        return float(value)
    if pa.types.is_list(kind) and isinstance(value, list):
        return [_with_floats(each, kind.value_type) for each in value]
    if pa.types.is_struct(kind) and isinstance(value, dict):
        return {field.name: _with_floats(value.get(field.name), field.type) for field in kind}
    return value


def _fits(cells: Any, kind: Any) -> bool:
    if kind != pa.bool_():
        for pattern in (_ROWS_WITH_ZEROS, _LONG_NUMBERS if kind == pa.float64() else None):
            if pattern and pc.any(pc.match_substring_regex(cells, pattern)).as_py():
                return False
    elif not all(_NOT_BOOLEAN.match(cell) for cell in cells.to_pylist()):
        return False
    try:
        cells.cast(kind)
    except (pa.ArrowException, ValueError):
        return False
    return True


def _common_type(before: Any, values: Sequence[Any]) -> Any:
    """The type of `values` and what came before; None if there is none."""
    try:
        found = pa.array(values).type
        if _has_boolean(values, pa.list_(found)):
            return None
        fields = [pa.schema([("x", kind)]) for kind in (before, found)]
        return pa.unify_schemas(fields, promote_options="permissive").field(0).type
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        return None


def _has_boolean(value: Any, kind: Any) -> bool:
    """Whether a boolean stands where a type has floats: Arrow would make a 1.0 of it."""
    if pa.types.is_list(kind) and isinstance(value, list):
        if pa.types.is_float64(kind.value_type):
            return bool in map(type, value)
        is_nested = pa.types.is_nested(kind.value_type)
        return is_nested and any(_has_boolean(each, kind.value_type) for each in value)
    if pa.types.is_struct(kind) and isinstance(value, dict):
        return any(_has_boolean(value.get(field.name), field.type) for field in kind)
    return pa.types.is_float64(kind) and isinstance(value, bool)


def _column_type(kind: Any) -> Any:
    return pa.string() if kind is None or _is_unknown(kind) else kind


def _is_unknown(kind: Any, level: int = 0) -> bool:
    """Whether a type says nothing about some of its values, or is one that files cannot hold."""
    if pa.types.is_null(kind) or level > _MAX_LEVELS:
        return True
    if pa.types.is_struct(kind):
        return kind.num_fields == 0 or any(_is_unknown(field.type, level + 1) for field in kind)
    return pa.types.is_list(kind) and _is_unknown(kind.value_type, level + 1)
