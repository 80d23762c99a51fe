"""Where reasoning ends, and how it is made to end.

Owns: the markers of the families whose reasoning stands between tokens of their own, whether a
prompt leaves it open, and the count of its tokens. Must not know: grammars, text of answers.

Reasoning is open if the prompt ends inside it, or once the first token of the answer opens it.
Harmony's answers come in channels: there, all before the final channel counts as reasoning, unless
a grammar holds all messages; then the first one can be made to end.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.tokenizer import Tokenizer

__all__ = ["AnalysisBudget", "ThinkingMarkers", "ThinkingState", "find_thinking_markers"]

_PAIRS = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
)
_FINAL_CHANNEL = "<|channel|>final<|message|>"
_ANALYSIS_HEAD = "<|channel|>analysis<|message|>"
_TAIL_TOKENS = 4
_CONTINUED_TOKENS = 4096
_HARMONY = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingMarkers:
    """`start_id` opens reasoning, None: it is open from the start of the turn. `end_ids` close it;
    `forced_ids` are written to close it, and end with `end_ids`.
    """

    start_id: int | None
    end_ids: tuple[int, ...]
    forced_ids: tuple[int, ...]


def find_thinking_markers(tokenizer: Tokenizer) -> ThinkingMarkers | None:
    """The markers that the tokenizer has as tokens; None for a model that has none."""
    added = tokenizer.added_token_ids
    if all(token in added for token in _HARMONY):
        end = tuple(tokenizer.encode_prompt(_FINAL_CHANNEL))
        forced = tuple(tokenizer.encode_prompt(f"<|end|><|start|>assistant{_FINAL_CHANNEL}"))
        return ThinkingMarkers(start_id=None, end_ids=end, forced_ids=forced)
    for start, end_text in _PAIRS:
        if start in added and end_text in added:
            end = (added[end_text],)
            return ThinkingMarkers(start_id=added[start], end_ids=end, forced_ids=end)
    return None


def _open_at_end(
    markers: ThinkingMarkers, prompt: Sequence[int], *, is_continued: bool
) -> bool | None:
    """Whether a prompt ends inside reasoning; None if it says nothing about it. A template opens or
    closes reasoning at the very end; markers before that are somebody's text, or history.
    """
    if markers.start_id is None:
        return tuple(prompt[-len(markers.end_ids) :]) != markers.end_ids
    tail = prompt[-(_CONTINUED_TOKENS if is_continued else _TAIL_TOKENS) :]
    for token_id in reversed(tail):
        if token_id in (markers.start_id, markers.end_ids[0]):
            return token_id == markers.start_id
    return None


class ThinkingState:
    """Follows one answer to `prompt`. `budget` is how many tokens of reasoning may come before its
    end is forced; None: any number. `is_off`: the answer may not open reasoning by itself.
    `is_continued`: the prompt's last message is the beginning of the answer.
    """

    def __init__(
        self,
        markers: ThinkingMarkers,
        prompt: Sequence[int],
        *,
        budget: int | None = None,
        is_off: bool = False,
        is_continued: bool = False,
    ) -> None:
        is_open = _open_at_end(markers, prompt, is_continued=is_continued)
        self.is_open = bool(is_open)
        self._is_first = is_open is None and not is_off and not is_continued
        self._markers = markers
        self._budget = budget
        self._num_tokens = 0
        self._num_forced = 0
        self._tail: list[int] = []

    @property
    def opening_id(self) -> int | None:
        """The token that may open reasoning now."""
        return self._markers.start_id if self._is_first else None

    @property
    def forced_id(self) -> int | None:
        """The only token that may come now, once the budget is used up."""
        if not self.is_open or self._budget is None or self._num_tokens < self._budget:
            return None
        return self._markers.forced_ids[self._num_forced]

    def append(self, token_id: int) -> bool:
        """Take one token; False if it is no part of the reasoning."""
        is_first, self._is_first = self._is_first, False
        if not self.is_open:
            self.is_open = is_first and token_id == self._markers.start_id
            return self.is_open
        if self.forced_id is not None:
            self._num_forced += 1
        self._num_tokens += 1
        end = self._markers.end_ids
        self._tail = [*self._tail, token_id][-len(end) :]
        if tuple(self._tail) == end:
            self.is_open = False
        return True


class AnalysisBudget:
    """Ends the first message of an answer in channels after `budget` tokens, at least 1, if that is
    its reasoning: `head` are the ids of the tokens in front of such a text.
    """

    def __init__(self, tokenizer: Tokenizer, budget: int) -> None:
        self._head = tuple(tokenizer.encode_prompt(_ANALYSIS_HEAD))
        self._end_id = tokenizer.added_token_ids["<|end|>"]
        self._budget = budget
        self._num_tokens = 0
        self._is_open = True

    @property
    def forced_id(self) -> int | None:
        """The only token that may come now, once the budget is used up."""
        is_over = self._num_tokens >= len(self._head) + self._budget
        return self._end_id if self._is_open and is_over else None

    def append(self, token_id: int) -> None:
        """Take one token."""
        if not self._is_open:
            return
        place = self._num_tokens
        is_head = place >= len(self._head) or self._head[place] == token_id
        self._is_open = is_head and token_id != self._end_id
        self._num_tokens += 1
