r"""Arguments that stand one by one in markup, as plain text, not as JSON.

Owns: making the JSON text of an object out of them, typed by the tool's schema. Must not know: any
family's markers, how JSON Schema says what it says (arguments.py).

Beyond `typed`, some habits of models are undone where the schema asks for an object or an array:
values written as Python prints them ({'a': None}), such a text once more in JSON quotes, and JSON
whose quotes are escaped as if it stood in such quotes ({\"a\": null}).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.arguments import (
    JSON_ERRORS,
    argument_schema,
    arguments_json,
    read_json,
    schema_types,
    typed,
)
from engine.parsers.contract import ToolCall
from engine.parsers.literals import LITERAL_ERRORS, literal_value, parse_source

__all__ = ["Parameter", "call_with", "declared_names"]

_CONTAINERS = {"object": dict, "array": list}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument as it was written. `guess`: without a schema it is whatever JSON it is."""

    name: str
    text: str
    guess: bool = False


def call_with(
    function: str,
    parameters: Iterable[Parameter],
    tools: Sequence[Mapping[str, Any]],
    *,
    wrappers: Sequence[str] = (),
) -> ToolCall | str:
    """The call of `function` with these arguments, or why there is none. A name that comes twice
    has its last value. `wrappers`: see `_unwrapped`.
    """
    arguments = {
        parameter.name: _value(parameter, argument_schema(tools, function, parameter.name))
        for parameter in parameters
    }
    if wrappers:
        arguments = _unwrapped(arguments, declared_names(tools, function), wrappers)
    try:
        return ToolCall(function, arguments_json(arguments))
    except JSON_ERRORS:
        return f"the arguments of {function!r} are nested too deep"


def declared_names(tools: Sequence[Mapping[str, Any]], function: str) -> frozenset[str]:
    """The names of the arguments that a tool declares; empty if it or they are not known."""
    for tool in tools:
        parameters = tool.get("parameters")
        if tool.get("name") != function or not isinstance(parameters, Mapping):
            continue
        properties = parameters.get("properties")
        return frozenset(properties) if isinstance(properties, Mapping) else frozenset()
    return frozenset()


def _value(parameter: Parameter, schema: Mapping[str, Any] | None) -> Any:
    value = typed(parameter.text, schema, guess=parameter.guess)
    if not isinstance(value, str) or schema is None:
        return value
    types = schema_types(schema)
    if "string" in types:
        return value
    wanted = tuple(kind for name, kind in _CONTAINERS.items() if name in types)
    repaired = _container(value) if wanted else None
    return repaired if wanted and isinstance(repaired, wanted) else value


def _container(text: str) -> Any:
    """The object or array that `text` is in JSON or Python, None if it is none."""
    if text.strip()[:1] not in ("{", "[", "("):
        return None
    try:
        return read_json(text)
    except JSON_ERRORS:
        pass
    try:
        return literal_value(parse_source(text))
    except LITERAL_ERRORS:
        pass
    try:
        return read_json(read_json(f'"{text}"'))
    except JSON_ERRORS:
        return None


def _unwrapped(
    arguments: dict[str, Any], names: frozenset[str], wrappers: Sequence[str]
) -> dict[str, Any]:
    """Some models put all arguments as one object into an argument called `arguments`. It is taken
    out if the tool declares no such argument but all that are in it.
    """
    if len(arguments) != 1 or not names:
        return arguments
    ((name, value),) = arguments.items()
    if name not in wrappers or name in names:
        return arguments
    inner = _container(value) if isinstance(value, str) else value
    return inner if isinstance(inner, dict) and inner and names >= set(inner) else arguments
