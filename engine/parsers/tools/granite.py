"""IBM Granite: 3.x writes <|tool_call|> and a list of calls, 4 writes Hermes' format.

Owns: both. Must not know: other families than Hermes. Granite 3.0 has a token <|tool_call|>, 3.1
the text <tool_call>, and either may leave it out and answer with the bare list.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.contract import ParsedTools, ToolSyntax
from engine.parsers.found import Found
from engine.parsers.json_calls import looks_like_call, read_calls, skip_space
from engine.parsers.tools.hermes import HermesParser

__all__ = ["GRANITE", "GRANITE4", "GraniteParser"]

_STARTS = ("<|tool_call|>", "<tool_call>")
_START = re.compile("|".join(map(re.escape, _STARTS)))
_ENDS = ("<|end_of_tool_call|>", "</tool_call>")
_SYNTAX = ToolSyntax(starts=(*_STARTS, "["), ends=("}",), markers=(*_STARTS, *_ENDS))


@dataclass(frozen=True, slots=True)
class GraniteParser:
    """A `ToolParser` for Granite 3."""

    name: str = "granite"
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        found = Found()
        position = _read_bare_list(text, found)
        while (start := _next_start(text, position)) >= 0:
            found.add_content(text[position:start])
            position = _read_block(text, start, found)
        found.add_content(text[position:])
        return found.result(text)


def _read_bare_list(text: str, found: Found) -> int:
    """A list at the very beginning, if there are calls in it; else it is an answer."""
    if not text.lstrip().startswith("["):
        return 0
    calls = read_calls(text, 0)
    if not calls.calls and not looks_like_call(text, 0):
        return 0
    if calls.failure is not None and not calls.items:
        return _fail(text, 0, calls.failure, found)
    calls.add_to(found, text)
    return _finish(text, calls.end, calls.failure, found)


def _read_block(text: str, start: int, found: Found) -> int:
    marker = next(marker for marker in _STARTS if text.startswith(marker, start))
    calls = read_calls(text, start + len(marker))
    if calls.failure is not None and not calls.items:
        return _fail(text, start, calls.failure, found)
    calls.add_to(found, text)
    return _finish(text, calls.end, calls.failure, found)


def _finish(text: str, end: int, failure: str | None, found: Found) -> int:
    if failure is not None:
        return _fail(text, end, failure, found)
    following = skip_space(text, end)
    for marker in _ENDS:
        if text.startswith(marker, following):
            return following + len(marker)
    return end


def _fail(text: str, start: int, reason: str, found: Found) -> int:
    """Everything up to the next call is the raw text of this one."""
    following = _next_start(text, start + 1)
    end = following if following >= 0 else len(text)
    found.add_failure(text[start:end], reason)
    return end


def _next_start(text: str, position: int) -> int:
    start = _START.search(text, position)
    return start.start() if start is not None else -1


GRANITE = GraniteParser()
GRANITE4 = HermesParser("granite4", needs_end=True)
