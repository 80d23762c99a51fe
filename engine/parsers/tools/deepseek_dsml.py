"""DeepSeek V3.2, whose markup is called DSML:

    <｜DSML｜function_calls>
    <｜DSML｜invoke name="get_weather">
    <｜DSML｜parameter name="city" string="true">Paris</｜DSML｜parameter>
    <｜DSML｜parameter name="days" string="false">3</｜DSML｜parameter>
    </｜DSML｜invoke>
    </｜DSML｜function_calls>

Owns: its tags. Must not know: how markup is read (engine/parsers/markup.py), the formats up to V3.1
(deepseek.py). The format is that of the encoding scripts that come with deepseek-ai/DeepSeek-V3.2.
string="true" says that a value is a plain text, "false" that it is JSON; the tool's schema has the
last word. V3.2 at times puts all arguments into one called `arguments` or `input`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.contract import ParsedTools, ToolSyntax
from engine.parsers.markup import read_markup
from engine.parsers.markup_tags import MarkupFormat

__all__ = ["DEEPSEEK_V32", "DeepseekDsmlParser"]

_DSML = "｜DSML｜"
_START, _END = f"<{_DSML}function_calls>", f"</{_DSML}function_calls>"
_FORMAT = MarkupFormat(
    open=_START,
    close=_END,
    function=rf'<{_DSML}invoke name="(?P<function_name>[^<>"\n]*+)">',
    end=f"</{_DSML}invoke>",
    parameter=rf'<{_DSML}parameter name="(?P<parameter_name>[^<>"\n]*+)"'
    r'(?: string="(?P<is_string>true|false)")?>',
    parameter_end=f"</{_DSML}parameter>",
    broken=f"<{_DSML}invoke",
    wrappers=("arguments", "input"),
)
_SYNTAX = ToolSyntax(
    starts=(_START, f"<{_DSML}invoke"),
    ends=(f"</{_DSML}invoke>", _END),
    markers=(_DSML, _START, _END),
)


@dataclass(frozen=True, slots=True)
class DeepseekDsmlParser:
    """A `ToolParser`."""

    name: str
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        return read_markup(text, _FORMAT, tools)


DEEPSEEK_V32 = DeepseekDsmlParser("deepseek_v32")
