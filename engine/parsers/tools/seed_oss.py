"""ByteDance Seed-OSS: the markup of Qwen 3 Coder in <seed:tool_call>.

Owns: its wrapper, and that calls inside <seed:think> are thoughts: this model rehearses its calls
there. Must not know: the tags inside (qwen3_xml.py). The format is that of the chat template of
ByteDance-Seed/Seed-OSS-36B-Instruct. The thoughts are cut off before if the reasoning parser runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.contract import ParsedTools, ToolSyntax
from engine.parsers.markup import read_markup
from engine.parsers.thoughts import after_thoughts
from engine.parsers.tools.qwen3_xml import qwen3_format, qwen3_syntax

__all__ = ["PARSER", "SeedOssParser"]

_START = "<seed:tool_call>"
_END = "</seed:tool_call>"
_FORMAT = qwen3_format(_START, _END)
_SYNTAX = qwen3_syntax(_START, _END)


@dataclass(frozen=True, slots=True)
class SeedOssParser:
    """A `ToolParser`."""

    name: str = "seed_oss"
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        return after_thoughts(
            text,
            ("<seed:think>", "</seed:think>"),
            lambda rest: read_markup(rest, _FORMAT, tools),
        )


PARSER = SeedOssParser()
