"""Zhipu GLM 4.5 and 4.6:

    <tool_call>get_weather
    <arg_key>city</arg_key>
    <arg_value>Paris</arg_value>
    </tool_call>

and GLM 4.7 and 5, the same on one line without line breaks.

Owns: its tags. Must not know: how markup is read (engine/parsers/markup.py), other families. The
format is that of the chat templates of zai-org/GLM-4.5 and zai-org/GLM-4.7. Both parsers read both.
The name stands right behind the first tag, there is no wrapper. Values are taken as they stand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.contract import ParsedTools, ToolSyntax
from engine.parsers.markup import read_markup
from engine.parsers.markup_tags import MarkupFormat
from engine.parsers.stripped import stripped

__all__ = ["GLM45", "GLM47", "GlmParser"]

_START, _END = "<tool_call>", "</tool_call>"
_FORMAT = MarkupFormat(
    open=_START,
    close="(?!)",
    function=rf"{_START}(?P<function_name>[^<>]*+)(?=<arg_key>|{_END})",
    end=_END,
    parameter=r"<arg_key>(?P<parameter_name>[^<>]*+)</arg_key>\s*+<arg_value>",
    parameter_end="</arg_value>",
    broken="<arg_key>",
    is_bare=True,
)
_SYNTAX = ToolSyntax(
    starts=(_START,),
    ends=(_END,),
    markers=(
        _START,
        _END,
        "<arg_key>",
        "</arg_key>",
        "<arg_value>",
        "</arg_value>",
    ),
)


@dataclass(frozen=True, slots=True)
class GlmParser:
    """A `ToolParser`."""

    name: str
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        return stripped(read_markup(text, _FORMAT, tools))


GLM45 = GlmParser("glm45")
GLM47 = GlmParser("glm47")
