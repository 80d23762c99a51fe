"""DeepSeek V3, R1 and V3.1:

    <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather
    ```json
    {"city": "Paris"}
    ```<｜tool▁call▁end｜><｜tool▁calls▁end｜>

and since V3.1, shorter,

    <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris"}
    <｜tool▁call▁end｜><｜tool▁calls▁end｜>

Owns: these two. Must not know: how sections are read (engine/parsers/sections.py), V3.2 and later
(deepseek_dsml.py). The formats are those of the chat templates of deepseek-ai/DeepSeek-V3-0324 and
deepseek-ai/DeepSeek-V3.1. Both parsers read both: which one a call has is plain from the call.
Arguments are handed on as the model wrote them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.parsers.contract import ParsedTools, ToolCall, ToolSyntax
from engine.parsers.sections import SectionFormat, object_text, read_sections

__all__ = ["DEEPSEEK_V3", "DEEPSEEK_V31", "DeepseekParser"]

_FORMAT = SectionFormat(
    open="<｜tool▁calls▁begin｜>",
    close="<｜tool▁calls▁end｜>",
    begin="<｜tool▁call▁begin｜>",
    separator="<｜tool▁sep｜>",
    end="<｜tool▁call▁end｜>",
)
_SYNTAX = ToolSyntax(
    starts=(_FORMAT.open, _FORMAT.begin),
    ends=(_FORMAT.end, _FORMAT.close),
    markers=_FORMAT.markers,
)
_FENCED = re.compile(
    r"\s*(?P<name>[^\s`{][^\n`{]*+)\n\s*```(?:json)?\s*(?P<arguments>.*)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class DeepseekParser:
    """A `ToolParser`."""

    name: str
    syntax: ToolSyntax = _SYNTAX

    def parse(self, text: str, tools: Sequence[Mapping[str, Any]]) -> ParsedTools:
        return read_sections(text, _FORMAT, _call)


def _call(head: str, body: str) -> ToolCall | str:
    name, arguments = head.strip(), body
    fenced = _FENCED.match(body) if name in ("", "function") else None
    if fenced is not None:
        name = fenced["name"].strip()
        arguments = fenced["arguments"].rstrip().removesuffix("```")
    if not name:
        return "a call has no name"
    text = object_text(arguments)
    if text is None:
        return f"the arguments of {name!r} are no JSON object"
    return ToolCall(name, text)


DEEPSEEK_V3 = DeepseekParser("deepseek_v3")
DEEPSEEK_V31 = DeepseekParser("deepseek_v31")
