"""InternLM 2: <|action_start|><|plugin|>{"name": ..., "parameters": {...}}<|action_end|>.

Owns: that format. Must not know: other families. An action of the interpreter
(<|action_start|><|interpreter|>) holds code, not a call, and stays text.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.contract import ParsedTools, ToolSyntax
from engine.parsers.found import Found, read_marked
from engine.parsers.json_calls import read_calls, skip_space

__all__ = ["PARSER", "InternlmParser"]

_START = "<|action_start|>"
_PLUGIN = "<|plugin|>"
_END = "<|action_end|>"
_OPENING = re.compile(r"<\|action_start\|>\s*<\|plugin\|>")
_SYNTAX = ToolSyntax(
    starts=(_START,), ends=(_END,), markers=(_START, _PLUGIN, "<|interpreter|>", _END)
)


@dataclass(frozen=True, slots=True)
class InternlmParser:
    """A `ToolParser`."""

    name: str = "internlm"
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        return read_marked(text, _START, _read_action)


def _read_action(text: str, start: int, found: Found) -> int:
    opening = _OPENING.match(text, start)
    reason: str | None
    if opening is None:
        reason = "an action is no call of a plugin"
    else:
        calls = read_calls(text, opening.end())
        reason = calls.failure
        end = skip_space(text, calls.end)
        if reason is None and (end == len(text) or text.startswith(_END, end)):
            calls.add_to(found, text)
            return min(end + len(_END), len(text))
        reason = reason or "a call is followed by something else than <|action_end|>"
    close = text.find(_END, start)
    end = close + len(_END) if close >= 0 else len(text)
    found.add_failure(text[start:end], reason)
    return end


PARSER = InternlmParser()
