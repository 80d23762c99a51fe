"""Moonshot Kimi K2:

    <|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0
    <|tool_call_argument_begin|>{"city": "Paris"}<|tool_call_end|><|tool_calls_section_end|>

Owns: its tokens and its ids. Must not know: how sections are read (engine/parsers/sections.py),
other families. The format is that of the tool calling guide of moonshotai/Kimi-K2-Instruct. The
text in front of the arguments is the call's id, functions.<name>:<number>; the template wants it
back with the result, so it stays the call's id, unless an earlier call has the same. Some
checkpoints write the bare number: then the only tool there is was meant, or the only one that takes
those arguments. Arguments are handed on as the model wrote them.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.parsers.contract import ParsedTools, ToolCall, ToolSyntax
from engine.parsers.parameters import declared_names
from engine.parsers.sections import SectionFormat, object_text, read_sections

__all__ = ["PARSER", "KimiK2Parser"]

_FORMAT = SectionFormat(
    open="<|tool_calls_section_begin|>",
    close="<|tool_calls_section_end|>",
    begin="<|tool_call_begin|>",
    separator="<|tool_call_argument_begin|>",
    end="<|tool_call_end|>",
)
_SYNTAX = ToolSyntax(
    starts=(_FORMAT.open, _FORMAT.begin),
    ends=(_FORMAT.end, _FORMAT.close),
    markers=_FORMAT.markers,
)
_ID = re.compile(r"(?:functions\.)?(?P<name>[^\s:]++):\d++")


@dataclass(frozen=True, slots=True)
class KimiK2Parser:
    """A `ToolParser`."""

    name: str = "kimi_k2"
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        parsed = read_sections(text, _FORMAT, lambda head, body: _call(head, body, tools))
        return replace(parsed, calls=_with_own_ids(parsed.calls))


def _with_own_ids(calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
    """A model may number two calls alike: the later one gets its id from the caller."""
    seen: set[str | None] = set()
    result = []
    for call in calls:
        result.append(replace(call, id=None) if call.id in seen else call)
        seen.add(call.id)
    return tuple(result)


def _call(head: str, body: str, tools: Sequence[Mapping[str, Any]]) -> ToolCall | str:
    call_id = head.strip()
    arguments = object_text(body)
    if arguments is None:
        return f"the arguments of {call_id[:80]!r} are no JSON object"
    matched = _ID.fullmatch(call_id)
    name = matched["name"] if matched is not None else None
    if call_id.isascii() and call_id.isdigit():
        name = _meant(arguments, tools)
    if name is None:
        return f"{call_id[:80]!r} is not the id of a call"
    return ToolCall(name, arguments, call_id)


def _meant(arguments: str, tools: Sequence[Mapping[str, Any]]) -> str | None:
    """The tool that a call without a name means."""
    names = [name for tool in tools if isinstance(name := tool.get("name"), str)]
    if len(names) > 1:
        given = set(json.loads(arguments))
        names = [name for name in names if given and given <= declared_names(tools, name)]
    return names[0] if len(names) == 1 else None


PARSER = KimiK2Parser()
