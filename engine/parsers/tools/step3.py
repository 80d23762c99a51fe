"""StepFun Step 3:

    <｜tool_calls_begin｜>
    <｜tool_call_begin｜>function<｜tool_sep｜><steptml:invoke name="get_weather">
    <steptml:parameter name="city">Paris</steptml:parameter>
    </steptml:invoke><｜tool_call_end｜><｜tool_calls_end｜>

Owns: its tags. Must not know: how markup is read (engine/parsers/markup.py), other families. The
format is that of the chat template of stepfun-ai/step3. The kind of call (always function) and the
signs between calls may be missing, and the name may stand once more in front of the tag. Values
are taken as they stand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.contract import ParsedTools, ToolSyntax
from engine.parsers.markup import read_markup
from engine.parsers.markup_tags import MarkupFormat
from engine.parsers.stripped import stripped

__all__ = ["PARSER", "Step3Parser"]

_START, _END = "<｜tool_calls_begin｜>", "<｜tool_calls_end｜>"
_CALL, _CALL_END, _SEPARATOR = "<｜tool_call_begin｜>", "<｜tool_call_end｜>", "<｜tool_sep｜>"
_NAMED = '<steptml:invoke name="'
_AHEAD = rf'(?P<ahead>[^\s<"]++)\s*+(?={_NAMED}(?P=ahead)")'
_KIND = rf"{_CALL}\s*+(?:function\s*+(?:{_SEPARATOR}\s*+(?:{_AHEAD})?)?)?"
_FORMAT = MarkupFormat(
    open=_START,
    close=_END,
    function=rf'(?:{_KIND})?{_NAMED}(?P<function_name>[^<>"\n]*+)">',
    end=rf"</steptml:invoke>(?:\s*+{_CALL_END})?(?:\s*+{_SEPARATOR})?",
    parameter=r'<steptml:parameter name="(?P<parameter_name>[^<>"\n]*+)">',
    parameter_end="</steptml:parameter>",
    broken=rf"{_CALL}|<steptml:invoke",
)
_SYNTAX = ToolSyntax(
    starts=(_START, _CALL, "<steptml:invoke"),
    ends=("</steptml:invoke>", _CALL_END, _END),
    markers=(_START, _END, _CALL, _CALL_END, _SEPARATOR),
)


@dataclass(frozen=True, slots=True)
class Step3Parser:
    """A `ToolParser`."""

    name: str = "step3"
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        return stripped(read_markup(text, _FORMAT, tools))


PARSER = Step3Parser()
