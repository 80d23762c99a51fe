"""AI21 Jamba: <tool_calls>[{"name": ..., "arguments": {...}}, ...]</tool_calls>.

Owns: that format. Must not know: other families.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.contract import ParsedTools, ToolSyntax
from engine.parsers.found import Found, read_marked
from engine.parsers.json_calls import read_calls, skip_space

__all__ = ["PARSER", "JambaParser"]

_START = "<tool_calls>"
_END = "</tool_calls>"
_SYNTAX = ToolSyntax(starts=(_START,), ends=("}",), markers=(_START, _END))


@dataclass(frozen=True, slots=True)
class JambaParser:
    """A `ToolParser`. The closing tag may be missing at the end of the text."""

    name: str = "jamba"
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        return read_marked(text, _START, _read_block)


def _read_block(text: str, start: int, found: Found) -> int:
    calls = read_calls(text, start + len(_START))
    calls.add_to(found, text)
    end = skip_space(text, calls.end)
    reason = calls.failure
    if reason is None and (end == len(text) or text.startswith(_END, end)):
        return min(end + len(_END), len(text))
    close = text.find(_END, calls.end)
    stop = close + len(_END) if close >= 0 else len(text)
    found.add_failure(
        text[calls.end if calls.items else start : stop],
        reason or "calls are followed by something else than </tool_calls>",
    )
    return stop


PARSER = JambaParser()
