"""From a JSON schema to the Arrow type of the answers that it accepts.

What has no one Arrow type (several types at once, objects without known keys, recursion) is kept as
JSON text in a string.

Owns: the types, and the step from an answer's JSON value to the value of its column. Must not know:
rows, files, how a schema is enforced.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import SchemaError
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from jobs.errors import TableSettingError
from schemas.wording import show, type_name

__all__ = ["AnswerType", "answer_type"]

_PRIMITIVES: Mapping[str, Any] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
}
_MAX_DEPTH = 32
_dump = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class AnswerType:
    """The Arrow type of a JSON value. `convert` makes of a value that fits the schema what pyarrow
    takes for `arrow` (TypeError if it does not fit); None if any value can stay as it is.
    """

    arrow: Any
    convert: Callable[[Any], Any] | None = None

    def of(self, value: Any) -> Any:
        """The value for the column; a null stays one. Raises TypeError."""
        return value if self.convert is None or value is None else self.convert(value)


_JSON_TEXT = AnswerType(pa.string(), _dump)


def answer_type(schema: Mapping[str, Any], *, name: str = "the schema") -> AnswerType:
    """The type of what `schema` accepts. Raises TableSettingError if it is no JSON schema, or one
    of its references leads nowhere; `name` says which schema it is.
    """
    draft = validators.validator_for(schema, default=Draft202012Validator)
    try:
        draft.check_schema(dict(schema))
        resource: Any = Resource.from_contents(schema, default_specification=DRAFT202012)
        registry: Any = Registry().with_resource("", resource)
        return _Reader(schema).read(schema, registry.resolver_with_root(resource), 0)
    except SchemaError as error:
        place = "".join(f"/{step}" for step in error.path) or "its top"
        message = f"{name} is not a JSON schema: at {place}: {' '.join(error.message.split())}"
        raise TableSettingError(message[:500]) from error
    except Unresolvable as error:
        raise TableSettingError(
            f"{name} refers to {error.ref!r}, which is nowhere in it"
        ) from error
    except RecursionError as error:
        raise TableSettingError(f"{name} is nested too deeply") from error


class _Reader:
    """Reads one schema. `_open` are the identities of the parts that are being read, of those
    that a reference may lead to.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._open = {id(schema)}

    def read(self, schema: Any, resolver: Any, depth: int) -> AnswerType:
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
            return _JSON_TEXT
        if "$ref" in schema:
            return self._reference(schema, resolver, depth)
        if "allOf" in schema:
            return self._together(schema, resolver, depth)
        by_type = self._by_type(schema, resolver, depth)
        if by_type is not _JSON_TEXT:
            return by_type
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self._alternatives(schema[key], resolver, depth)
        if "enum" in schema or "const" in schema:
            return _of_values(schema["enum"] if "enum" in schema else [schema["const"]])
        return _JSON_TEXT

    def _by_type(self, schema: Mapping[str, Any], resolver: Any, depth: int) -> AnswerType:
        kinds = _kinds(schema)
        if kinds == {"integer", "number"}:
            kinds = {"number"}
        if len(kinds) != 1:
            return _JSON_TEXT
        (kind,) = kinds
        if kind in _PRIMITIVES:
            return AnswerType(_PRIMITIVES[kind])
        if kind == "array":
            return self._array(schema, resolver, depth)
        return self._object(schema, resolver, depth)

    def _array(self, schema: Mapping[str, Any], resolver: Any, depth: int) -> AnswerType:
        parts = list(schema.get("prefixItems", []))
        rest = schema.get("items", not parts)
        if rest is not False:
            parts.append(rest)
        item = _same([self.read(part, resolver, depth + 1) for part in parts])
        return _list(_JSON_TEXT if item is None else item)

    def _object(self, schema: Mapping[str, Any], resolver: Any, depth: int) -> AnswerType:
        properties = schema.get("properties")
        if properties:
            fields = {key: self.read(part, resolver, depth + 1) for key, part in properties.items()}
            return _struct(fields)
        values = schema.get("additionalProperties")
        if isinstance(values, Mapping) and values and not schema.get("patternProperties"):
            return _map(self.read(values, resolver, depth + 1))
        return _JSON_TEXT

    def _reference(self, schema: Mapping[str, Any], resolver: Any, depth: int) -> AnswerType:
        found = resolver.lookup(schema["$ref"])
        part = id(found.contents)
        if part in self._open:
            return _JSON_TEXT  # a type that contains itself
        self._open.add(part)
        try:
            return self.read(found.contents, found.resolver, depth + 1)
        finally:
            self._open.discard(part)

    def _alternatives(self, parts: Sequence[Any], resolver: Any, depth: int) -> AnswerType:
        """What all but `null` have in common."""
        parts = [part for part in parts if not _is_null(part)]
        return _same([self.read(part, resolver, depth + 1) for part in parts]) or _JSON_TEXT

    def _together(self, schema: Mapping[str, Any], resolver: Any, depth: int) -> AnswerType:
        """Objects of which each part describes some keys, and single parts with annotations."""
        rest = {key: value for key, value in schema.items() if key != "allOf"}
        parts = [part for part in (*schema["allOf"], rest) if isinstance(part, Mapping)]
        typed = [part for part in parts if not {"type", "properties", "$ref"}.isdisjoint(part)]
        if len(typed) == 1:
            return self.read(typed[0], resolver, depth + 1)
        fields: dict[str, AnswerType] = {}
        for part in typed:
            if "properties" not in part:
                return _JSON_TEXT
            for key, value in part["properties"].items():
                fields[key] = self.read(value, resolver, depth + 1)
        return _struct(fields) if fields else _JSON_TEXT


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    """The JSON types that a schema allows besides null; said, or meant by its keywords."""
    said = schema.get("type")
    if said is None:
        said = "object" if "properties" in schema else "array" if "items" in schema else []
    return {said} - {"null"} if isinstance(said, str) else set(said) - {"null"}


def _is_null(schema: Any) -> bool:
    if not isinstance(schema, Mapping):
        return False
    return schema.get("type") == "null" or ("const" in schema and schema["const"] is None)


def _of_values(values: Sequence[Any]) -> AnswerType:
    """The type of some JSON values."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        kinds = {float}
    types: dict[type, Any] = {
        str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()
    }  # fmt: skip
    kind = types.get(kinds.pop()) if len(kinds) == 1 else None
    return _JSON_TEXT if kind is None else AnswerType(kind)


def _same(types: Sequence[AnswerType]) -> AnswerType | None:
    """The one type that all are of; None if they differ, or there are none."""
    if not types or any(each.arrow != types[0].arrow for each in types[1:]):
        return None
    is_text = [each is _JSON_TEXT for each in types]
    return types[0] if all(is_text) or not any(is_text) else None


def _struct(fields: Mapping[str, AnswerType]) -> AnswerType:
    converted = {key: each for key, each in fields.items() if each.convert is not None}

    def convert(value: Any) -> Any:
        changes = {key: converted[key].of(value[key]) for key in converted if key in value}
        return {**value, **changes} if changes else value

    arrow = pa.struct([pa.field(key, each.arrow) for key, each in fields.items()])
    return AnswerType(arrow, _only(dict, convert))


def _map(values: AnswerType) -> AnswerType:
    def convert(value: Any) -> Any:
        return [(key, values.of(each)) for key, each in value.items()]

    return AnswerType(pa.map_(pa.string(), values.arrow), _only(dict, convert))


def _list(items: AnswerType) -> AnswerType:
    def convert(value: Any) -> Any:
        return value if items.convert is None else [items.of(each) for each in value]

    return AnswerType(pa.list_(items.arrow), _only(list, convert))


def _only(kind: type, convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`convert` for values of one kind. pyarrow alone would take a list of pairs for a struct."""

    def checked(value: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError(f"{show(value)} is not {type_name(kind())}")
        return convert(value)

    return checked
