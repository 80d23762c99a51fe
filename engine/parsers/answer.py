"""From output tokens to an answer: reasoning, content, calls.

Owns: the order of the steps, and what becomes of calls that no tool answers to. Must not know: the
formats (tools/, reasoning/), jobs, the wire.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from engine.detokenizer import MessageHeads
from engine.parsers.contract import (
    ParsedTools,
    ReasoningParser,
    SplitReasoning,
    ToolCall,
    ToolParser,
)
from engine.parsers.output import Output, OutputReader
from engine.parsers.reasoning.harmony import PARSER as HARMONY_REASONING
from engine.parsers.reasoning.tags import TagReasoning
from engine.parsers.response_template import ResponseTemplateParser
from engine.parsers.tools.harmony import HarmonyParser, message_heads
from engine.tokenizer import Tokenizer

__all__ = ["AnswerForm", "AnswerParser", "ParsedAnswer", "callable_tools"]

_TAIL_TOKENS = 64  # where a template writes the beginning of an answer
_CONTINUED_TOKENS = 4096
_NO_TOOLS: Sequence[Mapping[str, Any]] = ({},)  # none of which has a name


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """What an output says. `content` is None if it says nothing but calls or reasoning.

    `error`: something that looked like a call is none; its raw text is in `content`.
    """

    content: str | None
    reasoning: str | None = None
    calls: tuple[ToolCall, ...] = ()
    error: str | None = None
    num_reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerForm:
    """What is known about one output besides its tokens.

    `tools` are the functions it may call, None where it may call none. `prompt_token_ids` is the
    prompt it goes on from; `is_continued`: the prompt's last message is the beginning of this one.
    The last `num_hidden_characters` are not shown: a stop string and what came with it.
    """

    tools: Sequence[Mapping[str, Any]] | None = None
    prompt_token_ids: Sequence[int] = ()
    is_continued: bool = False
    num_hidden_characters: int = 0
    skip_special_tokens: bool = True


class AnswerParser:
    """Parses the outputs of one model. Each parser may be missing. Thread safe.

    `template`, the checkpoint's own, comes first; the others read what it cannot.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        tools: ToolParser | None = None,
        reasoning: ReasoningParser | None = None,
        template: ResponseTemplateParser | None = None,
    ) -> None:
        self.tool_parser = tools
        self.reasoning_parser = reasoning
        self.template_parser = template
        self._tokenizer = tokenizer
        always: list[str] = list(reasoning.markers) if reasoning is not None else []
        if template is not None:
            always += template.markers
        calling = [*always, *(tools.syntax.markers if tools is not None else ())]
        self._plain = OutputReader(tokenizer, calling if self.wraps_answers else always)
        self._calling = OutputReader(tokenizer, calling)

    @property
    def wraps_answers(self) -> bool:
        """Whether plain answers need a tool parser too."""
        return self.tool_parser is not None and self.tool_parser.syntax.wraps_answers

    @property
    def finds_calls(self) -> bool:
        """Whether answers are searched for calls."""
        return self.tool_parser is not None or self.template_parser is not None

    @cached_property
    def heads(self) -> MessageHeads | None:
        """What stands in front of messages and is no text of any, None where nothing does."""
        return message_heads(self._tokenizer.added_token_ids) if self.wraps_answers else None

    def needs(self, form: AnswerForm) -> bool:
        """Whether there is anything to parse for."""
        if self.reasoning_parser is not None or self.template_parser is not None:
            return True
        return self.tool_parser is not None and (form.tools is not None or self.wraps_answers)

    def parse(self, token_ids: Sequence[int], form: AnswerForm) -> ParsedAnswer:
        """The answer of a whole output, without the token that ended it."""
        output = self.reader(form).read(token_ids, skip_special_tokens=form.skip_special_tokens)
        text = _cut(output, form)
        split, parsed = self._read(text, form)
        answer = _merge(split, parsed)
        spans = split.spans
        if split.reasoning is None and parsed.reasoning is not None:
            spans = HARMONY_REASONING.split(text).spans
        return ParsedAnswer(
            content=output.clean(answer.content) if answer.content is not None else None,
            reasoning=output.clean(answer.reasoning) if answer.reasoning is not None else None,
            calls=tuple(_clean(call, output) for call in answer.calls),
            error=output.clean(answer.error) if answer.error is not None else None,
            num_reasoning_tokens=sum(output.num_tokens(*span) for span in spans),
        )

    def read_text(self, text: str, form: AnswerForm) -> ParsedAnswer:
        """The same for an output that is text already, with its markers guarded."""
        return _merge(*self._read(text, form))

    def read_tools(self, text: str, form: AnswerForm) -> ParsedTools:
        """The calls in a text without reasoning, and what else it says."""
        parser = self.tool_parser
        if parser is None or (form.tools is None and not parser.syntax.wraps_answers):
            return ParsedTools(text)
        tools = callable_tools(form)
        if isinstance(parser, HarmonyParser):
            return parser.parse_known(text, tools)
        parsed = parser.parse(text, tools)
        return _without_strangers(parsed, text, tools)

    def reader(self, form: AnswerForm) -> OutputReader:
        """What turns the tokens of such an output into text."""
        return self._plain if form.tools is None else self._calling

    def reasoning_is_open(self, form: AnswerForm) -> bool | None:
        """Whether the prompt ended inside the reasoning; None if it does not say. A message that
        goes on counts as far as it is in sight.
        """
        if not isinstance(self.reasoning_parser, TagReasoning):
            return None
        tail = self._prompt_tail(form).rstrip()
        starts, ends = self.reasoning_parser.starts, self.reasoning_parser.ends
        if form.is_continued:
            opened = max(map(tail.rfind, starts))
            closed = max(map(tail.rfind, ends))
            return None if opened == closed else opened > closed
        if tail.endswith(starts):
            return True
        return False if tail.endswith(ends) else None

    def _prompt_tail(self, form: AnswerForm) -> str:
        num_tokens = _CONTINUED_TOKENS if form.is_continued else _TAIL_TOKENS
        tail = list(form.prompt_token_ids[-num_tokens:])
        return self._tokenizer.decode(tail, skip_special_tokens=False) if tail else ""

    def _read(self, text: str, form: AnswerForm) -> tuple[SplitReasoning, ParsedTools]:
        if self.template_parser is not None:
            tools = form.tools or ()
            answer = self.template_parser.parse(text, self._prompt_tail(form), tools)
            if answer is not None and (form.tools is not None or not answer.calls):
                content = answer.split.content
                parsed = ParsedTools(content if content.strip() else None, answer.calls)
                if not answer.calls:
                    parsed = ParsedTools(content)
                return answer.split, _without_strangers(parsed, text, tools)
        split = self._split(text, form)
        return split, self.read_tools(split.content, form)

    def _split(self, text: str, form: AnswerForm) -> SplitReasoning:
        if self.reasoning_parser is None:
            return SplitReasoning(None, text)
        return self.reasoning_parser.split(text, is_open=self.reasoning_is_open(form))


def callable_tools(form: AnswerForm) -> Sequence[Mapping[str, Any]]:
    """The tools for a parser: where there are none, there is one that nobody can call."""
    return form.tools or _NO_TOOLS


def _merge(split: SplitReasoning, parsed: ParsedTools) -> ParsedAnswer:
    reasoning = split.reasoning if split.reasoning is not None else parsed.reasoning
    content = parsed.content
    if not content:
        content = None if reasoning is not None or parsed.calls else ""
    return ParsedAnswer(content, reasoning, parsed.calls, parsed.error)


def _without_strangers(
    parsed: ParsedTools, text: str, tools: Sequence[Mapping[str, Any]]
) -> ParsedTools:
    """A call of a function that the request does not have is none: nobody could answer it. Its
    text is kept by keeping the whole text as content; the other calls stay.
    """
    names = {tool.get("name") for tool in tools}
    known = tuple(call for call in parsed.calls if call.name in names)
    if len(known) == len(parsed.calls):
        return parsed
    stranger = next(call.name for call in parsed.calls if call.name not in names)
    reason = f"the request has no tool {stranger!r}"
    return ParsedTools(text, known, parsed.error or reason, parsed.reasoning)


def _cut(output: Output, form: AnswerForm) -> str:
    """The text that is shown. Guards are not among the characters that are counted."""
    end = len(output.text)
    for _ in range(form.num_hidden_characters):
        end -= 1
        while output.guard and output.text[end - 1 : end] == output.guard:
            end -= 1
    return output.text[: max(end, 0)]


def _clean(call: ToolCall, output: Output) -> ToolCall:
    return ToolCall(output.clean(call.name), output.clean(call.arguments), call.id)
