"""Phi-4-mini: functools[{"name": ..., "arguments": {...}}, ...].

Owns: that format, and the form <|tool_call|>[...]<|/tool_call|> of the same model's card. Must not
know: other families. `functools` is ordinary text in the tokenizer, so the bracket belongs to the
start; without it the word is a word.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.contract import ParsedTools, ToolSyntax
from engine.parsers.found import Found
from engine.parsers.json_calls import read_calls, skip_space

__all__ = ["PARSER", "Phi4MiniParser"]

_TAG = "<|tool_call|>"
_END = "<|/tool_call|>"
_START = re.compile(r"functools(?=\s*\[)|<\|tool_call\|>")
_SYNTAX = ToolSyntax(starts=("functools", _TAG), ends=("}",), markers=(_TAG, _END))


@dataclass(frozen=True, slots=True)
class Phi4MiniParser:
    """A `ToolParser`."""

    name: str = "phi4_mini_json"
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        found = Found()
        position = 0
        while (start := _START.search(text, position)) is not None:
            found.add_content(text[position : start.start()])
            position = _read_block(text, start, found)
        found.add_content(text[position:])
        return found.result(text)


def _read_block(text: str, start: re.Match[str], found: Found) -> int:
    calls = read_calls(text, start.end())
    calls.add_to(found, text)
    if calls.failure is None:
        end = skip_space(text, calls.end)
        return end + len(_END) if text.startswith(_END, end) else calls.end
    following = _START.search(text, max(calls.end, start.end()))
    stop = following.start() if following is not None else len(text)
    found.add_failure(text[calls.end if calls.items else start.start() : stop], calls.failure)
    return stop


PARSER = Phi4MiniParser()
