"""What one argument of a call may be where calls write arguments one by one, without quotes.

Owns: splitting the schema of an argument into plain texts, other plain values and JSON, so that
whoever reads the text under the same schema finds the value that was meant. Must not know: the
formats of families. Which types a schema lets through is decided by the reader's own rules
(engine/parsers/arguments.py): a text under a schema without a type is a string there.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.errors import GrammarError
from engine.parsers.arguments import argument_schema, schema_types
from engine.structured_output.grammar import quoted
from engine.structured_output.keywords import ANNOTATIONS, FORMATS, subschemas
from engine.structured_output.plain_text import PlainText

__all__ = ["ArgumentValues", "argument_json", "argument_values"]

_PLACES = ("$defs", "definitions")
_OF_STRINGS = frozenset(("format", "maxLength", "minLength", "pattern"))
_OF_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_APPLICATORS = (
    *("$dynamicRef", "$recursiveRef", "$ref", "allOf", "anyOf", "else", "if", "not", "oneOf"),
    *("then",),
)
_TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
_NUMBER = "/-?(?:0|[1-9][0-9]{0,17})"
_TERMINALS = {
    "boolean": '("true" | "false")',
    "integer": _NUMBER + "/",
    "null": '"null"',
    "number": _NUMBER + r"(?:\.[0-9]{1,17})?/",
}
_SPACE = r"[\s\x1c-\x1f]*"
_NOT_NUMBER = rf"~/{_SPACE}-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?{_SPACE}/"
# Texts that a reader does not take for a value of another type. A complement of all that begins
# with a sign would cost the library much: it is one of bytes, and has to be found empty.
_UNLIKE = {
    "array": rf"/{_SPACE}(?:[^\[\s\x1c-\x1f](?s:.)*)?/",
    "boolean": rf"~/{_SPACE}(?i:true|false){_SPACE}/",
    "integer": _NOT_NUMBER,
    "null": rf"~/{_SPACE}(?i:null|none){_SPACE}/",
    "number": _NOT_NUMBER,
    "object": rf"/{_SPACE}(?:[^{{\s\x1c-\x1f](?s:.)*)?/",
}


@dataclass(slots=True)
class ArgumentValues:
    """Alternatives: `texts`, terminals of `others` (null, numbers...), JSON under `schemas`."""

    texts: list[PlainText] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    schemas: list[dict[str, Any]] = field(default_factory=list)
    types: frozenset[str] = frozenset()

    def text_terminal(self, *, guesses: bool = False) -> str | None:
        """The expression of all texts that are read back as such, None if there are none.
        `guesses`: a reader that knows no type takes JSON for what it is.
        """
        if not self.texts:
            return None
        strange = self.types - {"string"}
        if not self.types and guesses:
            strange = frozenset(_UNLIKE)
        texts = " | ".join(text.terminal() for text in self.texts)
        unlike = dict.fromkeys(_UNLIKE[name] for name in sorted(strange))
        return " & ".join((f"({texts})", *unlike))


def argument_values(function: Mapping[str, Any], name: str) -> ArgumentValues:
    """The values of argument `name`. Raises GrammarError for what cannot be told apart."""
    given = _given(function, name)
    if given is False:
        raise GrammarError(f"the schema of the argument {name!r} lets no value through")
    schema = argument_schema([function], function["name"], name) or {}
    _check_reference(given, schema)
    values = ArgumentValues(types=schema_types(schema))
    if values.types and "string" not in values.types:
        values.schemas.append(argument_json(function, name))
        return values
    _split(schema, values)
    root = function.get("parameters") or {}
    values.schemas = [_with_definitions(part, root) for part in values.schemas]
    return values


def argument_json(function: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The schema of argument `name` on its own, definitions and all."""
    given = _given(function, name)
    if given is True:
        return {}
    if not isinstance(given, dict):
        raise GrammarError(f"the schema of the argument {name!r} lets no value through")
    return _with_definitions(given, function.get("parameters") or {})


def _given(function: Mapping[str, Any], name: str) -> Any:
    parameters = function.get("parameters") or {}
    properties = parameters.get("properties") or {}
    return properties.get(name, parameters.get("additionalProperties", True))


def _check_reference(given: Any, schema: Mapping[str, Any]) -> None:
    if not isinstance(given, dict) or "$ref" not in given:
        return
    if not schema:
        raise GrammarError(f"the reference '{given['$ref']}' leads to no schema")
    if extra := sorted(set(given) - {"$ref", *ANNOTATIONS}):
        raise GrammarError(f"the keyword '{extra[0]}' beside '$ref' is not supported")


def _with_definitions(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as a root of its own: with the definitions that it refers to."""
    result = dict(schema)
    references = _references(result)
    if not references:
        return result
    definitions = {place: root[place] for place in _PLACES if isinstance(root.get(place), dict)}
    for items in definitions.values():
        references |= _references({"$defs": items})
    for reference in sorted(references):
        if not reference.startswith(tuple(f"#/{place}/" for place in _PLACES)):
            raise GrammarError(
                f"the reference '{reference}' is not supported: in this model's calls, references "
                "lead into '$defs' or 'definitions'"
            )
    return {**result, **definitions}


def _references(schema: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    open_schemas: list[Any] = [schema]
    while open_schemas:
        item = open_schemas.pop()
        if isinstance(item, dict):
            if isinstance(item.get("$ref"), str):
                found.add(item["$ref"])
            open_schemas += [inner for _, _, inner in subschemas(item)]
    return found


def _split(schema: Mapping[str, Any], values: ArgumentValues) -> None:
    """Add what the schema, of which some values are strings, lets through."""
    _check_types(schema)
    if schema.keys() & {"enum", "const"}:
        _split_constants(schema, values)
        return
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            _split_branches(key, schema, values)
            return
    if isinstance(schema.get("allOf"), list) and len(schema["allOf"]) == 1:
        _check_beside("allOf", schema)
        _split(_branch(schema["allOf"][0]), values)
        return
    _refuse(schema, _APPLICATORS)
    types = schema_types(schema) or {"string"}
    if "string" in types:
        values.texts.append(_plain_text(schema))
    for name in sorted(types - {"string"}):
        if name in _TERMINALS:
            _refuse(schema, _OF_NUMBERS if name in ("integer", "number") else ())
            values.others.append(_TERMINALS[name])
        else:
            values.schemas.append({**schema, "type": name})


def _check_types(schema: Mapping[str, Any]) -> None:
    named = schema.get("type", [])
    for name in named if isinstance(named, list) else [named]:
        if name not in _TYPES:
            raise GrammarError(f"{name!r} is not a type; types are {', '.join(_TYPES)}")


def _split_branches(key: str, schema: Mapping[str, Any], values: ArgumentValues) -> None:
    _check_beside(key, schema)
    branches = [_branch(item) for item in schema[key]]
    num_strings = sum("string" in (schema_types(item) or {"string"}) for item in branches)
    if key == "oneOf" and num_strings > 1:
        raise GrammarError("'oneOf' with several branches of strings is not supported")
    for item in branches:
        if not schema_types(item):
            raise GrammarError(f"a branch of '{key}' has no type")
        _split(item, values)


def _branch(schema: Any) -> Mapping[str, Any]:
    if not isinstance(schema, dict):
        raise GrammarError("a branch that is no object is not supported")
    return schema


def _check_beside(key: str, schema: Mapping[str, Any]) -> None:
    if extra := sorted(schema.keys() - {key, *ANNOTATIONS}):
        raise GrammarError(f"the keyword '{extra[0]}' beside '{key}' is not supported")


def _split_constants(schema: Mapping[str, Any], values: ArgumentValues) -> None:
    _refuse(schema, _APPLICATORS)
    constants = schema["enum"] if "enum" in schema else [schema["const"]]
    if not isinstance(constants, list):
        raise GrammarError("'enum' has to be a list")
    if "enum" in schema and "const" in schema:
        constants = [value for value in constants if value == schema["const"]]
    named = schema.get("type")
    names = [named] if isinstance(named, str) else named
    strings = [value for value in constants if isinstance(value, str)]
    if strings and (names is None or "string" in names):
        bounds = {key: item for key, item in schema.items() if key in _OF_STRINGS}
        text = _plain_text(bounds)
        values.texts.append(
            PlainText(
                tuple(dict.fromkeys(strings)),
                text.min_length,
                text.max_length,
                text.pattern,
                text.format,
            )
        )
    for value in constants:
        if not isinstance(value, str) and (names is None or _type_of(value) & set(names)):
            values.others.append(quoted(json.dumps(value, ensure_ascii=False)))


def _type_of(value: Any) -> set[str]:
    """The names of the type of a value that is no string."""
    if value is None:
        return {"null"}
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, int):
        return {"integer", "number"}
    if isinstance(value, float):
        return {"integer", "number"} if value.is_integer() else {"number"}
    return {"array"} if isinstance(value, list) else {"object"}


def _plain_text(schema: Mapping[str, Any]) -> PlainText:
    low, high = schema.get("minLength", 0), schema.get("maxLength")
    for name, value in (("minLength", low), ("maxLength", high)):
        if value is not None and (not isinstance(value, int | float) or value < 0 or value % 1):
            raise GrammarError(f"'{name}' has to be a whole number, got {value!r}")
    for name in ("pattern", "format"):
        if not isinstance(schema.get(name, ""), str):
            raise GrammarError(f"'{name}' has to be a string, got {schema[name]!r}")
    form = schema.get("format")
    return PlainText(
        None,
        int(low),
        None if high is None else int(high),
        schema.get("pattern"),
        form if form in FORMATS else None,
    )


def _refuse(schema: Mapping[str, Any], keywords: Sequence[str]) -> None:
    for keyword in keywords:
        if keyword in schema:
            raise GrammarError(
                f"the keyword '{keyword}' is not supported for an argument that may be a string"
            )
