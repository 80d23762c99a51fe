"""Harmony's answers while they are written: what of the reasoning and the content is certain.

Owns: reading channels from a text whose end may be the beginning of a marker. Must not know: the
format itself (tools/harmony.py, reasoning/harmony.py), calls, which come with the whole answer. A
message is content or reasoning from its head on; a text without a head is nothing certain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from engine.parsers.reasoning.harmony import HarmonyReasoning
from engine.parsers.tools.harmony import content_so_far

__all__ = ["HarmonyProgress", "NewText"]


@dataclass(frozen=True, slots=True)
class NewText:
    """What has become certain."""

    reasoning: str = ""
    content: str = ""


class _Open(StrEnum):
    """What the message at the end of the text is."""

    NOTHING = "nothing"
    REASONING = "reasoning"
    CONTENT = "content"


@dataclass(slots=True)
class HarmonyProgress:
    """One answer. `tools` as for its parser; `is_open` as for `ReasoningParser.split`."""

    parser: HarmonyReasoning
    tools: Sequence[Mapping[str, Any]]
    is_open: bool | None = None
    _place: int = 0  # everything in front of it is out, or was held back for good
    _open: _Open = field(default=_Open.NOTHING)
    _reasoning: int = 0  # characters handed out
    _content: int = 0

    def advance(self, safe: str) -> NewText:
        """`safe` is the text so far, without what may be the beginning of a marker at its end."""
        new = safe[self._place :]
        if self._open is _Open.NOTHING or any(mark in new for mark in self.parser.markers):
            found = self._read(safe)
        elif self._open is _Open.REASONING:
            found = NewText(reasoning=new)
        else:
            found = NewText(content=new)
        self._place = len(safe)
        self._reasoning += len(found.reasoning)
        self._content += len(found.content)
        return found

    def _read(self, safe: str) -> NewText:
        split = self.parser.split(safe, is_open=self.is_open)
        reasoning = split.reasoning or ""
        content, is_open = content_so_far(split.content, self.tools)
        if not content.strip():
            content, is_open = "", False
        self._open = _Open.CONTENT if is_open else _Open.NOTHING
        if split.is_open:
            has_begun = bool(reasoning) and split.spans[-1][1] == len(safe)
            self._open = _Open.REASONING if has_begun else _Open.NOTHING
        return NewText(reasoning[self._reasoning :], content[self._content :])
