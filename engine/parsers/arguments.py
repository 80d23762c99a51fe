"""Arguments of calls: from what a model wrote to the JSON text of an object.

Owns: reading JSON that models write, and giving plain texts the types that a tool's schema asks
for. Must not know: any family's markers. Nothing here raises on bad input; schemas are looked into
only as far as needed to choose a type, with a limit on depth (they come from clients).
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "JSON_ERRORS",
    "argument_schema",
    "arguments_json",
    "read_json",
    "read_json_at",
    "schema_types",
    "typed",
]

JSON_ERRORS = (ValueError, RecursionError)
"""What `json` raises on text: malformed, too long a number, nested too deep."""

_WINDOW = 4096
_LONGEST_TOKEN = 16
_MAX_SCHEMA_DEPTH = 8
_MAX_EXACT = 2.0**53  # the floats below it are exact where they are whole
_ALTERNATIVES = ("anyOf", "oneOf", "allOf")
_ALL_TYPES = frozenset(("null", "boolean", "integer", "number", "object", "array", "string"))
# Names that tool definitions use for JSON Schema's types, as in other engines.
_TYPE_ALIASES = {
    "str": "string", "text": "string", "varchar": "string", "char": "string", "enum": "string",
    "int": "integer", "int32": "integer", "int64": "integer", "uint": "integer", "long": "integer",
    "float": "number", "double": "number", "decimal": "number",
    "bool": "boolean", "binary": "boolean",
    "dict": "object", "map": "object",
    "list": "array", "arr": "array", "tuple": "array", "sequence": "array",
    "none": "null",
}  # fmt: skip


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large a number")
    return value


# Models write line breaks and tabs into strings as they are.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite, strict=False)


def arguments_json(arguments: Mapping[str, Any]) -> str:
    """The JSON text of the arguments, on one line. Characters outside ASCII stay as they are, but
    for halves of surrogate pairs, which no UTF-8 text can hold.
    """
    text = json.dumps(arguments, ensure_ascii=False)
    return _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def read_json(text: str) -> Any:
    """The value that `text` is, white space around it aside. Control characters inside strings are
    taken. Raises one of JSON_ERRORS.
    """
    return _DECODER.decode(text)


def read_json_at(text: str, start: int) -> tuple[Any, int]:
    """The value that begins at `start` (white space is skipped) and where it ends. Raises one of
    JSON_ERRORS.
    """
    while start < len(text) and text[start] in " \t\r\n":
        start += 1
    # An error counts the lines in front of it, which costs quadratic time where one follows the
    # other. So the text is given out in windows; what a window may have cut off is read again.
    size = _WINDOW
    while True:
        window = text[start : start + size]
        is_whole = start + size >= len(text)
        try:
            value, end = _DECODER.raw_decode(window)
            if is_whole or end < size:
                return value, start + end
        except json.JSONDecodeError as error:
            is_cut = error.pos > size - _LONGEST_TOKEN or error.msg.startswith("Unterminated")
            if is_whole or not is_cut:
                error.pos += start
                raise
        size *= 8


def argument_schema(
    tools: Sequence[Mapping[str, Any]], function: str, argument: str
) -> Mapping[str, Any] | None:
    """The schema of one argument, local references resolved, also of one that is not declared if
    those have a schema; None if there is none.
    """
    for tool in tools:
        if tool.get("name") != function:
            continue
        parameters = tool.get("parameters")
        if not isinstance(parameters, Mapping):
            return None
        properties = parameters.get("properties")
        if isinstance(properties, Mapping) and argument in properties:
            return _resolved(properties[argument], parameters)
        others = parameters.get("additionalProperties")
        return _resolved(others, parameters) if isinstance(others, Mapping) else None
    return None


def schema_types(schema: Mapping[str, Any]) -> frozenset[str]:
    """The JSON types that a schema lets through, as far as it says plainly; empty if it does not
    say.
    """
    return frozenset(_types(schema, _MAX_SCHEMA_DEPTH) & _ALL_TYPES)


def typed(text: str, schema: Mapping[str, Any] | None, *, guess: bool = False) -> Any:
    """The value that `text`, written without quotes, stands for under the argument's schema.

    A text that fits none of the schema's types stays a string, so that nothing is lost (it will
    not validate). A schema that names no type, or None, makes it a string too, or with `guess`
    whatever JSON it is.
    """
    types = schema_types(schema) if schema is not None else frozenset[str]()
    if not types:
        return _guessed(text) if guess else text
    plain = text.strip()
    if "null" in types and plain.lower() in ("null", "none"):
        return None
    if "boolean" in types and plain.lower() in ("true", "false"):
        return plain.lower() == "true"
    value = _value_or_none(plain)
    if _is_number(value) and types & {"integer", "number"}:
        if isinstance(value, int):
            return value
        if value.is_integer() and abs(value) < _MAX_EXACT:  # 5.0 is an integer to JSON Schema
            return int(value)
        if "number" in types:
            return value
    if isinstance(value, dict) and "object" in types:
        return value
    if isinstance(value, list) and "array" in types:
        return value
    if isinstance(value, str) and "string" not in types:
        return value
    return text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _guessed(text: str) -> Any:
    try:
        return read_json(text)
    except JSON_ERRORS:
        return text


def _value_or_none(text: str) -> Any:
    try:
        return read_json(text)
    except JSON_ERRORS:
        return None


def _resolved(schema: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    for _ in range(_MAX_SCHEMA_DEPTH):
        if not isinstance(schema, Mapping):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return _with_alternatives(schema, root)
        target: Any = root
        for step in reference[2:].split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            target = target.get(step) if isinstance(target, Mapping) else None
        schema = target
    return {}


def _with_alternatives(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """References directly inside anyOf and its kin resolved too: that is how optional models come
    out of pydantic.
    """
    changed: dict[str, Any] = {}
    for key in _ALTERNATIVES:
        parts = schema.get(key)
        if isinstance(parts, list):
            changed[key] = [_plain_reference(part, root) for part in parts]
    return {**schema, **changed} if changed else schema


def _plain_reference(schema: Any, root: Mapping[str, Any]) -> Any:
    if isinstance(schema, Mapping) and isinstance(schema.get("$ref"), str):
        bare = {key: value for key, value in schema.items() if key not in _ALTERNATIVES}
        return _resolved(bare, root) if bare.get("$ref") != "#" else {"type": "object"}
    return schema


def _types(schema: Any, depth: int) -> set[str]:
    if not isinstance(schema, Mapping) or depth == 0:
        return set()
    named = schema.get("type")
    if isinstance(named, str):
        return {_TYPE_ALIASES.get(named.lower(), named.lower())}
    if isinstance(named, list):
        return {
            _TYPE_ALIASES.get(name.lower(), name.lower()) for name in named if isinstance(name, str)
        }
    found: set[str] = set()
    for key in _ALTERNATIVES:
        parts = schema.get(key)
        if isinstance(parts, list):
            for part in parts[:64]:
                found |= _types(part, depth - 1)
    if found:
        return found
    if isinstance(schema.get("enum"), list):
        return {_type_of(value) for value in schema["enum"][:1024]}
    if "const" in schema:
        return {_type_of(schema["const"])}
    if "properties" in schema or "additionalProperties" in schema:
        return {"object"}
    return {"array"} if "items" in schema else set()


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
