"""Reasoning between two texts: <think> ... </think> and the like.

Owns: all families that write it so; they differ in the texts, in whether the model thinks without
saying so, and in what wraps the answer behind it. Must not know: tool calls, beyond the markers at
which a thought may end without its closing text.
"""

from dataclasses import dataclass

from engine.parsers.contract import SplitReasoning

__all__ = [
    "DEEPSEEK_R1",
    "DEEPSEEK_V3",
    "ERNIE45",
    "GLM45",
    "GLM47",
    "GRANITE",
    "HOLO2",
    "HUNYUAN_A13B",
    "KIMI_K2",
    "MIMO",
    "MINIMAX_M2",
    "MISTRAL",
    "NEMOTRON_V3",
    "OLMO3",
    "QWEN3",
    "SEED_OSS",
    "STEP3",
    "TagReasoning",
    "first_of",
]

_BREAK = "\n"


@dataclass(frozen=True, slots=True)
class TagReasoning:
    """A `ReasoningParser`.

    `starts` and `ends` are what opens and closes a thought, in any of its spellings.
    `is_implicit`: where nobody knows whether the prompt opened one, it did (the family's templates
    do, or its models think from their first token on). `breaks` end a thought that is never
    closed: a tool call that begins. `wrapper` is taken off the answer.
    `trims`: thoughts stand on lines of their own, whose breaks are none of them.
    """

    name: str
    starts: tuple[str, ...] = ("<think>",)
    ends: tuple[str, ...] = ("</think>",)
    is_implicit: bool = False
    breaks: tuple[str, ...] = ()
    wrapper: tuple[str, str] | None = None
    trims: bool = False

    @property
    def markers(self) -> tuple[str, ...]:
        return (*self.starts, *self.ends, *self.breaks, *(self.wrapper or ()))

    def split(self, text: str, *, is_open: bool | None = None) -> SplitReasoning:
        begin = self.beginning(text, is_open=is_open)
        if begin is None:
            return SplitReasoning(None, self._unwrapped(text))
        if (closing := first_of(self.ends, text, begin)) is not None:
            place, end = closing
            return self._result(text, begin, place, place + len(end))
        if (broken := first_of(self.breaks, text, begin)) is not None:
            return self._result(text, begin, broken[0], broken[0])
        return self._result(text, begin, len(text), len(text), is_open=True)

    def beginning(self, text: str, *, is_open: bool | None) -> int | None:
        """Where the reasoning begins, None if there is none. A start opens it only at the very
        beginning of the answer: later ones are something the model writes about.
        """
        first = len(text) - len(text.lstrip())
        for start in self.starts:
            if text.startswith(start, first):
                return first + len(start)
        return 0 if (self.is_implicit if is_open is None else is_open) else None

    def _result(
        self, text: str, begin: int, end: int, rest: int, *, is_open: bool = False
    ) -> SplitReasoning:
        reasoning = text[begin:end]
        if self.trims:
            reasoning = reasoning.removeprefix("\n").removesuffix("\n")
        return SplitReasoning(
            reasoning if reasoning.strip() else None,
            self._unwrapped(text[rest:]),
            ((begin, end),) if end > begin else (),
            is_open,
        )

    def _unwrapped(self, content: str) -> str:
        """What is wrapped, and on a line of its own what stands behind it: calls, say."""
        if self.wrapper is None:
            return content
        opening, closing = self.wrapper
        stripped = content.strip()
        if not stripped.startswith(opening):
            return content
        inner, _, behind = stripped.removeprefix(opening).partition(closing)
        return f"{inner.strip(_BREAK)}\n{behind.strip()}" if behind else inner.strip(_BREAK)


def first_of(marks: tuple[str, ...], text: str, start: int) -> tuple[int, str] | None:
    """The first place at or behind `start` where one of the marks stands, and which."""
    places = [(place, mark) for mark in marks if (place := text.find(mark, start)) >= 0]
    return min(places, default=None)


_HERMES_CALL = ("<tool_call>",)

DEEPSEEK_R1 = TagReasoning("deepseek_r1", is_implicit=True)
DEEPSEEK_V3 = TagReasoning("deepseek_v3")
ERNIE45 = TagReasoning("ernie45", is_implicit=True, wrapper=("<response>", "</response>"))
GLM45 = TagReasoning("glm45", is_implicit=True, breaks=_HERMES_CALL)
GLM47 = TagReasoning("glm47", is_implicit=True, breaks=_HERMES_CALL)
GRANITE = TagReasoning(  # ordinary words, no tokens
    "granite",
    starts=("Here is my thought process:", "Here's my thought process:"),
    ends=("Here is my response:", "Here's my response:"),
)
HOLO2 = TagReasoning("holo2", is_implicit=True)
HUNYUAN_A13B = TagReasoning("hunyuan_a13b", wrapper=("<answer>", "</answer>"), trims=True)
KIMI_K2 = TagReasoning("kimi_k2", is_implicit=True, breaks=("<|tool_calls_section_begin|>",))
MIMO = TagReasoning("mimo", breaks=_HERMES_CALL)
MINIMAX_M2 = TagReasoning("minimax_m2", is_implicit=True, breaks=("<minimax:tool_call>",))
MISTRAL = TagReasoning("mistral", starts=("[THINK]",), ends=("[/THINK]",))
NEMOTRON_V3 = TagReasoning("nemotron_v3", is_implicit=True, breaks=_HERMES_CALL)
OLMO3 = TagReasoning("olmo3", is_implicit=True)
QWEN3 = TagReasoning("qwen3", is_implicit=True, breaks=_HERMES_CALL)
SEED_OSS = TagReasoning(
    "seed_oss",
    starts=("<seed:think>",),
    ends=("</seed:think>",),
    is_implicit=True,
    breaks=("<seed:tool_call>",),
)
STEP3 = TagReasoning("step3", is_implicit=True, breaks=("<\uff5ctool_calls_begin\uff5c>",))
