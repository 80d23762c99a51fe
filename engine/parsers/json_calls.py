"""Calls written as JSON: {"name": ..., "arguments": {...}}, alone or in a list.

Owns: what counts as such an object, and reading lists of them item by item, so that one bad or cut
off item does not take its neighbours with it. Must not know: the markers around them.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from engine.parsers.arguments import JSON_ERRORS, arguments_json, read_json, read_json_at
from engine.parsers.contract import ToolCall
from engine.parsers.found import Found

__all__ = ["CallItem", "CallList", "call_from", "looks_like_call", "read_calls", "skip_space"]

_SPACE = re.compile(r"\s*")
_KEYS = ("name", "parameters", "arguments", "function", "type")
_CUT_KEYS = sorted({key[:length] for key in _KEYS for length in range(2, len(key) + 1)})
# A key of a call; one that the end of the text cuts off; or the keys as Python would quote them.
_LOOKS_LIKE_CALL = re.compile(
    r"\s*(?:\[\s*)?\{\s*(?:"
    rf'"(?:{"|".join(_KEYS)})"\s*:|"(?:{"|".join(_CUT_KEYS)})"?\s*\Z'
    r"|'name'\s*:\s*'[^']*+'\s*,\s*'(?:parameters|arguments)'\s*:)"
)
_ARGUMENTS = ("arguments", "parameters")


@dataclass(frozen=True, slots=True)
class CallItem:
    """One item at [start, end) of the text: a call, or the reason why it is none."""

    start: int
    end: int
    call: ToolCall | None
    reason: str = ""


@dataclass(slots=True)
class CallList:
    """The items read from one place, and where reading stopped. `failure` says why it stopped
    before the value was complete; then `end` is where the unreadable item begins.
    """

    end: int
    items: list[CallItem] = field(default_factory=list)
    failure: str | None = None

    @property
    def calls(self) -> list[ToolCall]:
        return [item.call for item in self.items if item.call is not None]

    def add_to(self, found: Found, text: str) -> None:
        """The calls become calls, the other items content."""
        for item in self.items:
            if item.call is not None:
                found.calls.append(item.call)
            else:
                found.add_failure(text[item.start : item.end], item.reason)


def call_from(value: Any) -> ToolCall | str:
    """The call that a JSON value is, or why it is none.

    Takes `arguments` or `parameters`, an object or the JSON text of one; also OpenAI's
    {"function": {...}} around both. A call without arguments has to say so with an empty object,
    null or an empty text: otherwise any object with a name would be a call.
    """
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict):
        return "a call has to be a JSON object"
    name = value.get("name")
    if not isinstance(name, str) or not name.strip() or not _is_text(name):
        return "a call has no name"
    key = next((key for key in _ARGUMENTS if key in value), None)
    if key is None:
        return f"the call of {name!r} has no arguments"
    arguments = value[key]
    if isinstance(arguments, str):
        arguments = _inner_object(arguments)
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        return f"the arguments of {name!r} are no JSON object"
    try:
        return ToolCall(name.strip(), arguments_json(arguments))
    except RecursionError:
        return f"the arguments of {name!r} are nested too deep"


def looks_like_call(text: str, start: int) -> bool:
    """Whether what begins at `start` was meant as a call, readable or not."""
    return _LOOKS_LIKE_CALL.match(text, start) is not None


def read_calls(text: str, start: int) -> CallList:
    """The calls in the JSON value at `start`: an object, or a list of objects."""
    start = skip_space(text, start)
    if text[start : start + 1] != "[":
        result = CallList(start)
        _read_item(text, start, result)
        return result
    result = CallList(start)
    position = skip_space(text, start + 1)
    if text[position : position + 1] == "]":
        return CallList(start, failure="an empty list of calls")
    while _read_item(text, position, result):
        position = skip_space(text, result.end)
        separator = text[position : position + 1]
        if separator == "]":
            result.end = position + 1
            return result
        if separator != ",":
            result.end = position
            result.failure = "a list of calls is not complete"
            return result
        position = skip_space(text, position + 1)
    return result


def _read_item(text: str, start: int, result: CallList) -> bool:
    result.end = start
    if text[start : start + 1] != "{":
        result.failure = "a call has to be a JSON object"
        return False
    try:
        value, end = read_json_at(text, start)
    except JSON_ERRORS as error:
        result.failure = f"a call is not valid JSON: {_reason(error)}"
        return False
    call = call_from(value)
    if isinstance(call, str):
        result.items.append(CallItem(start, end, None, call))
    else:
        result.items.append(CallItem(start, end, call))
    result.end = end
    return True


def _reason(error: Exception) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else str(error).split(":")[0]


def _inner_object(text: str) -> Any:
    if not text.strip():
        return {}
    try:
        return read_json(text)
    except JSON_ERRORS:
        return text


def _is_text(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


def skip_space(text: str, position: int) -> int:
    """The first place at or behind `position` that holds no white space, or the end."""
    match = _SPACE.match(text, position)
    assert match is not None
    return match.end()
