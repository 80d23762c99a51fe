"""Salesforce xLAM: a list of {"name", "arguments"}, bare or in one of several wrappings.

Owns: that list at the beginning of the answer, behind </think>, in a ```json block, behind
[TOOL_CALLS] and in <tool_call> tags: different xLAM models write each of them. Must not know: other
families.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.contract import ParsedTools, ToolSyntax
from engine.parsers.found import Found
from engine.parsers.json_calls import CallList, looks_like_call, read_calls, skip_space

__all__ = ["PARSER", "XlamParser"]

# What stands in front of a list, and what ends it. The first that matches at a place counts; a
# list in the open is taken only where an answer or a thought has just ended.
_OPENINGS = re.compile(
    r"(?P<block>```(?:json)?\s*(?=[\[{]))"
    r"|(?P<mistral>\[TOOL_CALLS\])"
    r"|(?P<tag><tool_call>)"
    r"|(?P<bare>(?:\A|(?<=</think>))\s*(?=[\[{]))"
)
_CLOSINGS = {"block": "```", "tag": "</tool_call>"}
_SYNTAX = ToolSyntax(
    starts=("```", "[", "{", "<tool_call>"),
    ends=("}",),
    markers=("[TOOL_CALLS]", "<tool_call>", "</tool_call>"),
)


@dataclass(frozen=True, slots=True)
class XlamParser:
    """A `ToolParser`."""

    name: str = "xlam"
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        found = Found()
        position = search = 0
        while (opening := _OPENINGS.search(text, search)) is not None:
            calls = read_calls(text, opening.end())
            is_plain = opening.lastgroup in ("block", "bare") and not calls.calls
            if is_plain and not looks_like_call(text, opening.end()):
                search = max(calls.end, opening.end(), search + 1)
                continue
            found.add_content(text[position : opening.start()])
            position = search = _take(text, opening, calls, found)
        found.add_content(text[position:])
        return _stripped(found.result(text))


def _take(text: str, opening: re.Match[str], calls: CallList, found: Found) -> int:
    calls.add_to(found, text)
    if calls.failure is not None:
        # Behind at least one character: an opening of no width would be found again.
        behind = max(calls.end, opening.end(), opening.start() + 1)
        following = _OPENINGS.search(text, behind)
        stop = following.start() if following is not None else len(text)
        start = calls.end if calls.items else opening.start()
        found.add_failure(text[start:stop], calls.failure)
        return stop
    closing = _CLOSINGS.get(opening.lastgroup or "")
    end = skip_space(text, calls.end)
    if closing is not None and text.startswith(closing, end):
        return end + len(closing)
    return calls.end


def _stripped(parsed: ParsedTools) -> ParsedTools:
    """The line break in front of a block belongs to the block."""
    if not parsed.calls or parsed.content is None:
        return parsed
    return ParsedTools(parsed.content.rstrip(), parsed.calls, parsed.error)


PARSER = XlamParser()
