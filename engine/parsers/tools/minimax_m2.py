"""MiniMax M2:

    <minimax:tool_call>
    <invoke name="get_weather">
    <parameter name="city">Paris</parameter>
    </invoke>
    </minimax:tool_call>

Owns: its tags. Must not know: how markup is read (engine/parsers/markup.py), other families. The
format is that of the tool calling guide and chat template of MiniMaxAI/MiniMax-M2. One wrapper
holds all calls. Values are taken as they stand, white space and all. Names may come without quotes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.contract import ParsedTools, ToolSyntax
from engine.parsers.markup import read_markup
from engine.parsers.markup_tags import MarkupFormat
from engine.parsers.stripped import stripped

__all__ = ["PARSER", "MinimaxM2Parser"]

_START = "<minimax:tool_call>"
_END = "</minimax:tool_call>"
_FORMAT = MarkupFormat(
    open=_START,
    close=_END,
    function=r"<invoke name=(?P<function_name>[^<>\n]*+)>",
    end="</invoke>",
    parameter=r"<parameter name=(?P<parameter_name>[^<>\n]*+)>",
    parameter_end="</parameter>",
    broken="<invoke name=",
)
_SYNTAX = ToolSyntax(
    starts=(_START, "<invoke name="), ends=("</invoke>", _END), markers=(_START, _END)
)


@dataclass(frozen=True, slots=True)
class MinimaxM2Parser:
    """A `ToolParser`."""

    name: str = "minimax_m2"
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        return stripped(read_markup(text, _FORMAT, tools))


PARSER = MinimaxM2Parser()
