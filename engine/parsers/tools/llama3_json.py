"""Llama 3.1 and later: {"name": ..., "parameters": {...}}, several separated by "; " or lines.

Owns: that format, with or without <|python_tag|> in front, also as one list. Must not know: other
families. The objects stand in the open, so each JSON object of the answer is looked at; one that is
no call is content. Only an object that has the keys of a call, or the name of a tool, counts as a
failed one, and behind the tag the call of a tool that is no JSON.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.arguments import JSON_ERRORS, read_json_at
from engine.parsers.contract import ParsedTools, ToolSyntax
from engine.parsers.found import Found
from engine.parsers.json_calls import call_from, looks_like_call, read_calls

__all__ = ["LLAMA4", "PARSER", "LlamaJsonParser"]

_TAG = "<|python_tag|>"
_SEPARATORS = " \t\r\n;,"
_LIST = re.compile(rf"\s*(?:{re.escape(_TAG)}\s*)?(?=\[(?:[ \n]\s*)?\{{)")
_CODE = re.compile(re.escape(_TAG) + r"\s*+(?P<name>[\w-]++)(?:\.call)?\s*+\(")
_TRUNCATED = object()
_NO_JSON = object()
_OBJECT = re.compile(r"""\{\s*+["'}]""")
_MAX_UNREADABLE = 4096  # an answer with more of them is not searched for calls any further
_SYNTAX = ToolSyntax(
    starts=("{", "[{", "[ ", "[\n", _TAG), ends=("}",), markers=(_TAG, "<|eom_id|>")
)


@dataclass(frozen=True, slots=True)
class LlamaJsonParser:
    """A `ToolParser`."""

    name: str = "llama3_json"
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        found = Found()
        names = {tool.get("name") for tool in tools}
        position = search = _read_list(text, found)
        last = len(text.rstrip())
        num_unreadable = 0
        while num_unreadable < _MAX_UNREADABLE and (brace := _OBJECT.search(text, search)):
            start = brace.start()
            value, end = _read(text, start, last)
            num_unreadable += value is _NO_JSON
            call = call_from(value) if isinstance(value, dict) else ""
            if value is _TRUNCATED:
                if looks_like_call(text, start):
                    _add_text(found, text[position:start])
                    found.add_failure(text[start:], "a call is not complete")
                    position = len(text)
                break
            if not isinstance(call, str):
                _add_text(found, text[position:start])
                found.calls.append(call)
                position = end
            elif _is_failed_call(text, start, value, names):
                _add_text(found, text[position:start])
                found.add_failure(text[start:end], call or "a call is not valid JSON")
                position = end
            search = end
        rest = text[position:]
        code = _CODE.search(rest)
        if code is not None and code["name"] in names:
            found.add_failure(rest, "a call is not valid JSON")
        else:
            _add_text(found, rest)
        return found.result(text)


def _read_list(text: str, found: Found) -> int:
    """How far a list goes with which the answer begins, if there are calls in it."""
    opening = _LIST.match(text)
    calls = read_calls(text, opening.end()) if opening is not None else None
    if calls is None or not calls.calls:
        return 0
    calls.add_to(found, text)
    return calls.end


def _read(text: str, start: int, last: int) -> tuple[Any, int]:
    """The value at `start` and its end. What is broken is passed over brace by brace; what the end
    of the text cuts off is not looked into, since what stands in it are no calls, nor is what is
    nested too deep. `last` is where white space at the end of the text begins.
    """
    try:
        return read_json_at(text, start)
    except JSON_ERRORS as error:
        place = getattr(error, "pos", start)
        is_deep = isinstance(error, RecursionError)
        is_cut = is_deep or place >= last or "Unterminated string" in str(error)
        return (_TRUNCATED, len(text)) if is_cut else (_NO_JSON, start + 1)


def _is_failed_call(text: str, start: int, value: Any, names: set[Any]) -> bool:
    if isinstance(value, dict):
        has_keys = "name" in value and ("parameters" in value or "arguments" in value)
        return has_keys or (isinstance(value.get("name"), str) and value["name"] in names)
    return looks_like_call(text, start)


def _add_text(found: Found, piece: str) -> None:
    """Content, unless it only separates calls or announces one."""
    without_tag = piece.replace(_TAG, "")
    if without_tag.strip(_SEPARATORS) or not (found.calls or _TAG in piece):
        found.add_content(without_tag)


PARSER = LlamaJsonParser()
LLAMA4 = LlamaJsonParser("llama4_json")
