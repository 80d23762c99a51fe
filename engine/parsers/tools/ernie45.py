"""Baidu ERNIE 4.5 Thinking: <tool_call>{"name": ..., "arguments": {...}}</tool_call>, one for each
call, each tag on a line of its own.

Owns: that the line breaks in front of the calls are none of the answer. Must not know: the format
itself, which is Hermes' (hermes.py). It is that of the chat template of
baidu/ERNIE-4.5-21B-A3B-Thinking.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.parsers.contract import ParsedTools, ToolSyntax
from engine.parsers.tools.hermes import PARSER as HERMES

__all__ = ["PARSER", "Ernie45Parser"]


@dataclass(frozen=True, slots=True)
class Ernie45Parser:
    """A `ToolParser`."""

    name: str = "ernie45"
    syntax: ToolSyntax = HERMES.syntax

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        parsed = HERMES.parse(text, tools)
        if not parsed.calls or parsed.content is None:
            return parsed
        return replace(parsed, content=parsed.content.rstrip("\n"))


PARSER = Ernie45Parser()
