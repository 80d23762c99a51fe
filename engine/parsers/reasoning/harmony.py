"""gpt-oss: messages of the channel `analysis` are reasoning, all others the answer.

Owns: telling them apart. Must not know: what the other messages say; they stay wrapped, and
engine/parsers/tools/harmony.py reads them. The format is OpenAI's harmony:
<|channel|>analysis<|message|>...<|end|><|start|>assistant<|channel|>final<|message|>...
A message of `analysis` with a recipient is a call of a built-in tool, which is no reasoning.
"""

import re
from dataclasses import dataclass

from engine.parsers.contract import SplitReasoning

__all__ = ["PARSER", "HarmonyReasoning"]

_MARKERS = (
    "<|start|>",
    "<|channel|>",
    "<|constrain|>",
    "<|message|>",
    "<|end|>",
    "<|call|>",
    "<|return|>",
)
# A message's head cannot hold a marker, so neither pattern looks further than the next one.
_ANALYSIS = re.compile(
    r"(?:<\|start\|>assistant)?\s*<\|channel\|>\s*analysis\s*<\|message\|>", re.ASCII
)
_END = re.compile(r"<\|end\|>|<\|return\|>|<\|call\|>|(?=<\|start\|>)|(?=<\|channel\|>)|\Z")


@dataclass(frozen=True, slots=True)
class HarmonyReasoning:
    """A `ReasoningParser`. Its content is still wrapped in harmony's markers."""

    name: str = "openai_gptoss"
    markers: tuple[str, ...] = _MARKERS

    def split(self, text: str, *, is_open: bool | None = None) -> SplitReasoning:
        spans: list[tuple[int, int]] = []
        rest: list[str] = []
        position, ends_open = 0, False
        if is_open:
            position, ends_open = self._take(text, 0, spans)
        while (head := _ANALYSIS.search(text, position)) is not None:
            rest.append(text[position : head.start()])
            position, ends_open = self._take(text, head.end(), spans)
        rest.append(text[position:])
        reasoning = "\n".join(text[begin:end] for begin, end in spans)
        return SplitReasoning(
            reasoning if reasoning.strip() else None,
            "".join(rest),
            tuple(spans),
            ends_open and position == len(text),
        )

    def _take(self, text: str, begin: int, spans: list[tuple[int, int]]) -> tuple[int, bool]:
        """Take the message whose text begins at `begin`; return where the text goes on, and
        whether the message has no end.
        """
        closing = _END.search(text, begin)
        assert closing is not None
        if closing.start() > begin:
            spans.append((begin, closing.start()))
        return closing.end(), closing.end() == len(text) and not closing[0]


PARSER = HarmonyReasoning()
