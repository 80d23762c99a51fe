"""Mistral: [TOOL_CALLS] and then, before tokenizer v11, a list of {"name", "arguments"}; from v11
on the name and the arguments: [TOOL_CALLS]name{...}, from v13 on [TOOL_CALLS]name[ARGS]{...}, with
[CALL_ID]id between them where the model names the call.

Owns: all of them; the text tells them apart. Must not know: other families, call ids (the answer's
come from the job, the model's is dropped with its marker).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.arguments import JSON_ERRORS, arguments_json, read_json_at
from engine.parsers.contract import ParsedTools, ToolCall, ToolSyntax
from engine.parsers.found import Found, read_marked
from engine.parsers.json_calls import read_calls, skip_space

__all__ = ["PARSER", "MistralParser"]

_START = "[TOOL_CALLS]"
_ARGS = "[ARGS]"
_CALL_ID = "[CALL_ID]"
_NAME = re.compile(
    r"\s*([^\s\[\]{}\"]+)\s*(?:\[CALL_ID\]\s*[A-Za-z0-9_-]*\s*)?(?:\[ARGS\])?\s*(?=\{)"
)
_SYNTAX = ToolSyntax(
    starts=(_START,),
    ends=("}",),
    markers=(_START, _ARGS, _CALL_ID, "[TOOL_CONTENT]"),
    has_short_ids=True,
)


@dataclass(frozen=True, slots=True)
class MistralParser:
    """A `ToolParser`."""

    name: str = "mistral"
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        return read_marked(text, _START, _read_block)


def _read_block(text: str, start: int, found: Found) -> int:
    named = _NAME.match(text, start + len(_START))
    if named is not None:
        return _read_named(text, start, named, found)
    body = start + len(_START)
    if not text.startswith(("[", "{"), skip_space(text, body)):
        body = _list_behind_words(text, body, found)
    calls = read_calls(text, body)
    calls.add_to(found, text)
    if calls.failure is None:
        return calls.end
    return _fail(text, calls.end if calls.items else start, calls.end, calls.failure, found)


def _read_named(text: str, start: int, named: re.Match[str], found: Found) -> int:
    try:
        arguments, end = read_json_at(text, named.end())
        call = ToolCall(named[1], arguments_json(arguments))
    except JSON_ERRORS:
        reason = f"the arguments of {named[1]!r} are not valid JSON"
        return _fail(text, start, named.end(), reason, found)
    found.calls.append(call)
    return end


def _list_behind_words(text: str, body: int, found: Found) -> int:
    """Models sometimes write a few words before the list. They are content if a list follows."""
    stop = text.find(_START, body)
    place = text.find("[{", body, stop if stop >= 0 else len(text))
    if place < 0 or not read_calls(text, place).calls:
        return body
    found.add_content(text[body:place])
    return place


def _fail(text: str, start: int, position: int, reason: str, found: Found) -> int:
    """Everything up to the next call is the raw text of this one."""
    following = text.find(_START, max(position, start + len(_START)))
    end = following if following >= 0 else len(text)
    found.add_failure(text[start:end], reason)
    return end


PARSER = MistralParser()
