"""Rows of any shape: where a data set keeps what a suite asks for.

`fields` of a suite maps the short form's keys to the data set's: the name of a field, or a Jinja
template over all fields (`"Q: {{ question }}"`). Only what it names is taken.

Owns: this mapping. Must not know: what the keys mean.
"""

from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined
from jinja2.exceptions import TemplateError
from jinja2.sandbox import SandboxedEnvironment

__all__ = ["FieldMap"]

_KEYS = ("id", "input", "prompt", "target", "choices", "task", "tags")


class FieldMap:
    """Turns a data set's row into a short row of a suite."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        """Compile the templates. Raises ValueError for a key or template that cannot be used."""
        unknown = sorted(set(fields) - set(_KEYS))
        if unknown:
            raise ValueError(f"'fields.{unknown[0]}' is unknown; use {', '.join(_KEYS)}")
        self._environment = SandboxedEnvironment(
            undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
        )
        self._sources = {key: self._source(key, given) for key, given in fields.items()}

    def apply(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The short row. Raises ValueError if the row lacks a field."""
        return {key: self._value(key, source, row) for key, source in self._sources.items()}

    def _source(self, key: str, given: Any) -> Any:
        if key == "tags":
            names = [given] if isinstance(given, str) else given
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise ValueError(f"'fields.tags' is {given!r}; give a list of fields")
            return names
        if not isinstance(given, str):
            raise ValueError(f"'fields.{key}' is {given!r}; give a field or a template")
        if "{{" not in given and "{%" not in given:
            return given
        try:
            return self._environment.from_string(given)
        except TemplateError as error:
            raise ValueError(f"'fields.{key}' is no template: {error}") from error

    def _value(self, key: str, source: Any, row: Mapping[str, Any]) -> Any:
        if isinstance(source, list):
            return {name: _text(_field(row, name, key)) for name in source}
        if isinstance(source, str):
            value = _field(row, source, key)
            return _text(value) if key in ("input", "prompt", "task") else value
        try:
            return source.render(row)
        except TemplateError as error:
            raise ValueError(f"'fields.{key}' cannot be filled in: {error}") from error


def _field(row: Mapping[str, Any], name: str, key: str) -> Any:
    if name not in row:
        raise ValueError(f"it has no field {name!r}, which 'fields.{key}' names")
    return row[name]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)
