"""Tencent Hunyuan A13B: <tool_calls>[{"name": ..., "arguments": {...}}, ...]</tool_calls>.

Owns: that format. Must not know: how calls are read from JSON (engine/parsers/json_calls.py), other
families. It is that of the chat template of tencent/Hunyuan-A13B-Instruct. Calls that the model
tries out in its thoughts are none, and the line breaks in front of calls are none of the answer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.parsers.contract import ParsedTools, ToolSyntax
from engine.parsers.found import Found, read_marked
from engine.parsers.json_calls import read_calls, skip_space
from engine.parsers.thoughts import after_thoughts

__all__ = ["PARSER", "HunyuanA13bParser"]

_START, _END = "<tool_calls>", "</tool_calls>"
_TAG = re.compile("</?tool_calls>")
_SYNTAX = ToolSyntax(starts=(_START,), ends=(_END,), markers=(_START, _END))


@dataclass(frozen=True, slots=True)
class HunyuanA13bParser:
    """A `ToolParser`."""

    name: str = "hunyuan_a13b"
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        return after_thoughts(text, ("<think>", "</think>"), _parse)


def _parse(text: str) -> ParsedTools:
    parsed = read_marked(text, _START, _read_block)
    if not parsed.calls or parsed.content is None:
        return parsed
    return replace(parsed, content=parsed.content.rstrip("\n"))


def _read_block(text: str, start: int, found: Found) -> int:
    """Read the block at `start`; return where the text goes on."""
    calls = read_calls(text, start + len(_START))
    end = skip_space(text, calls.end)
    if calls.failure is None and (end == len(text) or text.startswith(_END, end)):
        calls.add_to(found, text)
        return min(end + len(_END), len(text))
    calls.add_to(found, text)
    reason = calls.failure or "a list of calls is followed by something else than its closing tag"
    tag = _TAG.search(text, calls.end)
    end = len(text) if tag is None else tag.end() if tag[0] == _END else tag.start()
    found.add_failure(text[calls.end if calls.items else start : end], reason)
    return end


PARSER = HunyuanA13bParser()
