"""Hermes and Qwen: <tool_call>{"name": ..., "arguments": {...}}</tool_call>, one for each call.

Owns: that format, also for Granite 4, which writes it too. Must not know: other families. The
format is that of Nous Research's Hermes 2 Pro; Qwen 2.5, Qwen 3 and many others follow it.

The closing tag may be missing where the text ends or the next call begins: some models stop there.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.contract import ParsedTools, ToolSyntax
from engine.parsers.found import Found, read_marked
from engine.parsers.json_calls import read_calls, skip_space

__all__ = ["PARSER", "HermesParser"]

_START = "<tool_call>"
_END = "</tool_call>"
_TAG = re.compile("</?tool_call>")
_SYNTAX = ToolSyntax(starts=(_START,), ends=(_END,), markers=(_START, _END))


@dataclass(frozen=True, slots=True)
class HermesParser:
    """A `ToolParser`. `needs_end`: a call without its closing tag is none."""

    name: str
    needs_end: bool = False
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        return read_marked(text, _START, self._read_block)

    def _read_block(self, text: str, start: int, found: Found) -> int:
        """Read the block at `start`; return where the text goes on."""
        calls = read_calls(text, start + len(_START))
        end = skip_space(text, calls.end)
        reason = calls.failure
        if reason is None:
            if text.startswith(_END, end):
                calls.add_to(found, text)
                return end + len(_END)
            if not self.needs_end and (end == len(text) or text.startswith(_START, end)):
                calls.add_to(found, text)
                return end
            reason = "a call is followed by something else than its closing tag"
        end = _block_end(text, calls.end)
        found.add_failure(text[start:end], reason)
        return end


def _block_end(text: str, position: int) -> int:
    """Where an unreadable block ends: behind its closing tag, before the next call, or never."""
    tag = _TAG.search(text, position)
    if tag is None:
        return len(text)
    return tag.end() if tag[0] == _END else tag.start()


PARSER = HermesParser("hermes")
