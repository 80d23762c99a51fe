"""An answer in pieces, while it is written.

Owns: what of an unfinished text is certain. Must not know: families beyond their fixed texts,
tokens, the wire. The text comes as `engine.parsers.token_stream` hands it out, and the end of it is
parsed whole, like any other answer: what was sent before is always a beginning of that, so all
pieces together say exactly what the one-pass parse says.

Never sent early: part of a marker, white space in front of what may be a call, anything behind the
beginning of a call. A call goes out whole, once it is complete.
"""

from dataclasses import dataclass, field

from engine.parsers.answer import AnswerForm, AnswerParser, ParsedAnswer, callable_tools
from engine.parsers.contract import ToolCall
from engine.parsers.harmony_stream import HarmonyProgress
from engine.parsers.reasoning.harmony import HarmonyReasoning
from engine.parsers.reasoning.tags import TagReasoning, first_of

__all__ = ["AnswerDelta", "AnswerStream"]


@dataclass(frozen=True, slots=True)
class AnswerDelta:
    """What is new. `first_call` is the number of the first of `calls` in the whole answer."""

    reasoning: str = ""
    content: str = ""
    calls: tuple[ToolCall, ...] = ()
    first_call: int = 0

    def __bool__(self) -> bool:
        return bool(self.reasoning or self.content or self.calls)


@dataclass(slots=True)
class AnswerStream:
    """One answer. Give it text with `feed`, then `finish`; the token or string that ends the
    answer does not belong to it. `guard` is taken out of what is sent, and stands there once where
    the text has it twice. Not thread safe.
    """

    parser: AnswerParser
    form: AnswerForm
    guard: str = ""
    _text: str = ""
    _reasoning: int = 0  # characters sent
    _content: int = 0
    _calls: int = 0
    _is_open: bool | None = None
    _rest: int | None = None  # where the content begins, once that is known
    _call: int | None = None  # where the first call may begin
    _finished: ParsedAnswer | None = field(default=None)
    _channels: HarmonyProgress | None = None

    def __post_init__(self) -> None:
        self._is_open = self.parser.reasoning_is_open(self.form)
        reasoning = self.parser.reasoning_parser
        if isinstance(reasoning, HarmonyReasoning) and self.parser.wraps_answers:
            tools = callable_tools(self.form)
            self._channels = HarmonyProgress(reasoning, tools, self._is_open)

    @property
    def answer(self) -> ParsedAnswer:
        """The whole answer, after `finish`; it knows of no tokens."""
        assert self._finished is not None
        return self._finished

    def feed(self, text: str) -> AnswerDelta:
        """Take the next piece of text; return what has become certain."""
        self._text += text
        if not text or self.parser.template_parser is not None:
            return AnswerDelta()
        if self._channels is not None:
            marks = self._channels.parser.markers
            new = self._channels.advance(
                self._text[: len(self._text) - _partial(self._text, marks)]
            )
            return self._sent(new.reasoning, new.content, ())
        reasoning = self._certain_reasoning()
        content = ""
        calls: tuple[ToolCall, ...] = ()
        if self._rest is not None:
            content = self._certain_content()
            if self._call is not None and self._completes_call(text):
                calls = self._complete_calls()
        return self._sent(reasoning, content, calls)

    def finish(self) -> AnswerDelta:
        """The rest of the answer."""
        answer = self._finished = self.parser.read_text(self._text, self.form)
        return self._sent(
            (answer.reasoning or "")[self._reasoning :],
            (answer.content or "")[self._content :],
            answer.calls[self._calls :],
        )

    def _sent(self, reasoning: str, content: str, calls: tuple[ToolCall, ...]) -> AnswerDelta:
        delta = AnswerDelta(
            self._clean(reasoning),
            self._clean(content),
            tuple(
                ToolCall(self._clean(call.name), self._clean(call.arguments), call.id)
                for call in calls
            ),
            self._calls,
        )
        self._reasoning += len(reasoning)
        self._content += len(content)
        self._calls += len(calls)
        return delta

    def _clean(self, text: str) -> str:
        if not self.guard or self.guard not in text:
            return text
        # A guard in a marker has no guard next to it, so those that are two stand side by side.
        parts = text.split(2 * self.guard)
        return self.guard.join(part.replace(self.guard, "") for part in parts)

    def _certain_reasoning(self) -> str:
        """New reasoning. Finds out where the content begins."""
        parser = self.parser.reasoning_parser
        if self._rest is not None:
            return ""
        if parser is None:
            self._rest = 0
            return ""
        if isinstance(parser, HarmonyReasoning):
            return self._certain_analysis(parser)
        if isinstance(parser, TagReasoning) and parser.wrapper is None:
            return self._certain_thought(parser)
        return ""

    def _certain_thought(self, parser: TagReasoning) -> str:
        text = self._text
        first = text.lstrip()
        if any(len(first) < len(start) and start.startswith(first) for start in parser.starts):
            return ""
        begin = parser.beginning(text, is_open=self._is_open)
        if begin is None:
            self._rest = 0
            return ""
        sent = begin + self._reasoning  # no mark begins in front of this
        closing = first_of(parser.ends, text, sent)
        broken = first_of(parser.breaks, text, sent)
        if closing is not None:
            end = closing[0]
            self._rest = end + len(closing[1])
        elif broken is not None:  # reasoning after all, should the end follow later
            end = broken[0]
        else:
            end = len(text) - _partial(text, (*parser.ends, *parser.breaks))
        thought = text[sent:end]
        return thought if self._reasoning or thought.strip() else ""

    def _certain_analysis(self, parser: HarmonyReasoning) -> str:
        safe = self._text[: len(self._text) - _partial(self._text, parser.markers)]
        reasoning = parser.split(safe, is_open=self._is_open).reasoning or ""
        return reasoning[self._reasoning :]

    def _certain_content(self) -> str:
        """New content in front of the first call."""
        assert self._rest is not None
        text, tools = self._text, self.parser.tool_parser
        sent = self._rest + self._content  # no call begins in front of this
        if tools is None or (self.form.tools is None and not self.parser.wraps_answers):
            return text[sent:]
        if self._call is None:
            begin = first_of(tools.syntax.starts, text, sent)
            self._call = begin[0] if begin is not None else None
        if not tools.syntax.starts:
            self._call = self._rest
        end = self._call
        if end is None:
            end = len(text) - _partial(text, tools.syntax.starts)
        return text[sent:end].rstrip()

    def _completes_call(self, text: str) -> bool:
        tools = self.parser.tool_parser
        if tools is None:
            return False
        longest = max(map(len, tools.syntax.ends), default=0)
        seen = self._text[-(len(text) + longest) :]
        return any(end in seen for end in tools.syntax.ends)

    def _complete_calls(self) -> tuple[ToolCall, ...]:
        """New calls. Only what stands in front of an end is looked at: behind it, another call may
        have begun.
        """
        assert self._rest is not None
        tools = self.parser.tool_parser
        assert tools is not None
        places = [
            self._text.rfind(end) + len(end) for end in tools.syntax.ends if end in self._text
        ]
        answer = self.parser.read_tools(self._text[self._rest : max(places)], self.form)
        return answer.calls[self._calls :]


def _partial(text: str, marks: tuple[str, ...]) -> int:
    """How many characters at the end of the text may be the beginning of a mark."""
    for length in range(min(len(text), max(map(len, marks), default=1) - 1), 0, -1):
        tail = text[-length:]
        if any(len(mark) > length and mark.startswith(tail) for mark in marks):
            return length
    return 0
