"""Pythonic calls: [get_weather(city='Paris', days=3), get_time()], as Llama 3.2, Llama 4 and
ToolACE write them.

Owns: that format. Must not know: how literals are read (engine/parsers/literals.py), other
families. It is Meta's (the prompt format pages of Llama 3.2 and Llama 4). Llama 4 may put
<|python_start|> and <|python_end|> around the list.

A list counts at the beginning of the answer; further on only if its first function is one of the
tools, since prose has brackets too. One that is cut off inside its first name counts if that begins
the name of a tool. Arguments have names and are literals: a call inside a call,
an expression or an argument without a name makes it no call. Each item is judged by itself.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.parsers.arguments import JSON_ERRORS, arguments_json
from engine.parsers.contract import ParsedTools, ToolCall, ToolSyntax
from engine.parsers.found import Found
from engine.parsers.json_calls import skip_space
from engine.parsers.literals import (
    LITERAL_ERRORS,
    MAX_DEPTH,
    STRING,
    argument_name,
    literal_value,
    parse_source,
)

__all__ = ["LLAMA4", "PARSER", "PythonicParser"]

_START = "<|python_start|>"
_END = "<|python_end|>"
# A name with a dash is none in Python, but may be that of a tool.
_NAME = r"[^\W\d][\w-]*+(?:\.[^\W\d][\w-]*+)*+"
_LIST = re.compile(rf"\[\s*(?P<name>{_NAME})\s*\(")
_CUT_LIST = re.compile(rf"\[\s*(?P<name>{_NAME}\.?)\s*\Z")
_LEAD = re.compile(rf"\s*(?:{re.escape(_START)}\s*)?")
_TOKEN = re.compile(rf"(?P<string>{STRING.pattern})|['\"\[\](){{}},]", re.DOTALL)
_PAIRS = {")": "(", "]": "[", "}": "{"}


@dataclass(slots=True)
class _Items:
    """The items of a list as [start, stop) of the text. `end` is behind the list if `failure` is
    None, else where the unreadable rest stops.
    """

    end: int
    spans: list[tuple[int, int]] = field(default_factory=list)
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class PythonicParser:
    """A `ToolParser`."""

    name: str
    syntax: ToolSyntax

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        found = Found()
        names = {tool.get("name") for tool in tools}
        lead = _LEAD.match(text)
        first = lead.end() if lead is not None else 0
        position = search = 0
        while (opening := _LIST.search(text, search)) is not None:
            is_tool = opening["name"] in names
            search = opening.start() + 1
            if not is_tool and opening.start() != first:
                continue
            items = _split(text, opening.start())
            calls = [_call(text[start:stop]) for start, stop in items.spans]
            if names and not is_tool and not any(isinstance(call, ToolCall) for call in calls):
                continue
            found.add_content(_without_marker(text[position : opening.start()]))
            position = search = _take(text, opening.start(), items, calls, found)
        cut = _CUT_LIST.match(text, first)
        if cut is not None and any(str(name).startswith(cut["name"]) for name in names):
            found.add_failure(text[position:], "a list of calls is not complete")
        else:
            found.add_content(text[position:])
        return found.result(text)


def _take(
    text: str, start: int, items: _Items, calls: Sequence[ToolCall | str], found: Found
) -> int:
    """Add what a list holds; return where the text goes on."""
    for (begin, stop), call in zip(items.spans, calls, strict=True):
        if isinstance(call, ToolCall):
            found.calls.append(call)
        else:
            found.add_failure(text[begin:stop], call)
    if items.failure is not None:
        rest = items.spans[-1][1] if items.spans else start
        found.add_failure(text[rest : items.end], items.failure)
        return items.end
    end = skip_space(text, items.end)
    return end + len(_END) if text.startswith(_END, end) else items.end


def _split(text: str, start: int) -> _Items:
    """Split the list at `start` at its commas."""
    result = _Items(len(text))
    stack = [""]
    begin = start + 1
    for token in _TOKEN.finditer(text, start):
        mark = token[0]
        if token["string"] is not None:
            continue
        if mark in ("'", '"'):
            break
        if mark in ("[", "(", "{"):
            stack.append(mark)
        elif mark != "," and stack.pop() != _PAIRS[mark]:
            result.end, result.failure = token.end(), "brackets in a list of calls do not match"
            return result
        if len(stack) > MAX_DEPTH:
            result.end, result.failure = token.end(), "a list of calls is nested too deep"
            return result
        if (mark == "," and len(stack) == 2) or len(stack) == 1:
            if text[begin : token.start()].strip():
                result.spans.append((begin, token.start()))
            begin = token.end()
        if len(stack) == 1:
            result.end = token.end()
            return result
    result.failure = "a list of calls is not complete"
    return result


def _call(source: str) -> ToolCall | str:
    try:
        node = parse_source(source)
        if not isinstance(node, ast.Call):
            return "an item in a list of calls is no call"
        if node.args or any(keyword.arg is None for keyword in node.keywords):
            return "an argument of a call has no name"
        name = _dotted(node.func)
        arguments = {
            argument_name(str(item.arg)): literal_value(item.value) for item in node.keywords
        }
        return ToolCall(name, arguments_json(arguments))
    except SyntaxError:
        return "a call cannot be read as Python"
    except (*LITERAL_ERRORS, *JSON_ERRORS) as error:
        return f"an argument of a call is not taken: {error}"


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise ValueError("a function without a plain name")
    return ".".join([node.id, *reversed(parts)])


def _without_marker(piece: str) -> str:
    bare = piece.rstrip()
    return bare.removesuffix(_START) if bare.endswith(_START) else piece


PARSER = PythonicParser("pythonic", ToolSyntax(starts=("[", _START), ends=("]",)))
LLAMA4 = PythonicParser(
    "llama4_pythonic", ToolSyntax(starts=("[", _START), ends=("]",), markers=(_START, _END))
)
