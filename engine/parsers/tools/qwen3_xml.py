"""Qwen 3 Coder's markup, also that of Qwen 3.5 and of Nemotron 3:

    <tool_call>
    <function=get_weather>
    <parameter=city>
    Paris
    </parameter>
    </function>
    </tool_call>

Owns: its tags. Must not know: how markup is read (engine/parsers/markup.py), other families. The
format is that of the chat template of Qwen/Qwen3-Coder-30B-A3B-Instruct. A value stands on lines of
its own: one line break at either end is none of it, all other white space is. Seed-OSS has the same
tags inside another wrapper.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.contract import ParsedTools, ToolSyntax
from engine.parsers.markup import read_markup
from engine.parsers.markup_tags import MarkupFormat
from engine.parsers.stripped import stripped

__all__ = ["QWEN3_CODER", "QWEN3_XML", "Qwen3XmlParser", "qwen3_format", "qwen3_syntax"]


def qwen3_format(start: str, end: str) -> MarkupFormat:
    """The tags inside the wrapper `start`, `end`, both plain words and signs."""
    return MarkupFormat(
        open=start,
        close=end,
        function=r"<function=(?P<function_name>[^<>\n]*+)>",
        end="</function>",
        parameter=r"<parameter=(?P<parameter_name>[^<>\n]*+)>",
        parameter_end="</parameter>",
        broken="<function=",
        trims=True,
    )


def qwen3_syntax(start: str, end: str) -> ToolSyntax:
    """The fixed texts of the format in the wrapper `start`, `end`."""
    return ToolSyntax(starts=(start, "<function="), ends=("</function>", end), markers=(start, end))


_FORMAT = qwen3_format("<tool_call>", "</tool_call>")
_SYNTAX = qwen3_syntax("<tool_call>", "</tool_call>")


@dataclass(frozen=True, slots=True)
class Qwen3XmlParser:
    """A `ToolParser`."""

    name: str
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        return stripped(read_markup(text, _FORMAT, tools))


QWEN3_CODER = Qwen3XmlParser("qwen3_coder")
QWEN3_XML = Qwen3XmlParser("qwen3_xml")
