"""What a constrained request carries: which tokens may come next.

Owns: the order of reasoning and grammar, the matcher of one request, and what happens if no token
is left. Must not know: how grammars are compiled, the other requests. Not thread safe: a constraint
belongs to whoever holds its request.
"""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher

from engine.structured_output.thinking import AnalysisBudget, ThinkingState

__all__ = ["OutputConstraint"]

_NO_TOKEN = "No token can come next: the grammar leaves none that is not banned."  # noqa: S105
_ALL = np.int32(-1)


class OutputConstraint:
    """Follows one answer: reasoning first, if the model reasons, then the grammar, if there is one.

    `num_tokens` is the size of the vocabulary. `end_ids` end an answer; while a grammar waits for
    the reasoning to end, they are banned. With `ignores_ends` they are banned always, and only a
    complete grammar ends the request. `budget` is for reasoning that is a part of the grammar.
    """

    def __init__(
        self,
        matcher: LLMatcher | None,
        thinking: ThinkingState | None,
        *,
        num_tokens: int,
        end_ids: Collection[int] = (),
        ignores_ends: bool = False,
        budget: AnalysisBudget | None = None,
    ) -> None:
        self.num_words = -(-num_tokens // 32)
        self._matcher = matcher
        self._thinking = thinking
        self._end_ids = tuple(end_ids)
        self._ignores_ends = ignores_ends
        self._budget = budget
        self.error: str | None = None

    def append(self, token_id: int) -> bool:
        """Take one output token; True if the answer is complete: nothing may follow it.

        After a token that could not come, `error` is set.
        """
        if self._thinking is not None and self._thinking.append(token_id):
            return False
        if self._matcher is None or self.error is not None:
            return False
        if not self._matcher.consume_token(token_id):
            self.error = f"The grammar failed at an output token: {self._reason()}"
            return False
        if self._budget is not None:
            self._budget.append(token_id)
        return self._matcher.is_stopped()

    def fill(self, row: npt.NDArray[np.int32], banned: Collection[int]) -> bool:
        """Write the mask of the next token: bit t of `row` [num_words] stands for token t.

        False: any token may come, and `row` is not to be used. `banned` are tokens that may not
        come whatever the grammar says. If none is left, `error` is set.
        """
        if self.error is not None:
            return False
        if self._thinking is not None and self._thinking.is_open:
            return self._fill_reasoning(row)
        if self._matcher is None:
            return False
        self._matcher.unsafe_compute_mask_ptr(row.ctypes.data, row.nbytes)
        if self._matcher.is_error():
            self.error = f"The grammar became too expensive: {self._reason()}"
            return False
        if self._thinking is not None and self._thinking.opening_id is not None:
            _allow(row, self._thinking.opening_id)
        forced_id = self._budget.forced_id if self._budget is not None else None
        if forced_id is not None and _allows(row, forced_id):  # not inside of a character
            row[:] = 0
            _allow(row, forced_id)
        _ban(row, banned)
        if self._ignores_ends:
            _ban(row, self._end_ids)
        if not row.any():
            self.error = _NO_TOKEN
        return self.error is None

    def _fill_reasoning(self, row: npt.NDArray[np.int32]) -> bool:
        assert self._thinking is not None
        forced_id = self._thinking.forced_id
        if forced_id is not None:
            row[:] = 0
            _allow(row, forced_id)
            return True
        if self._matcher is None:
            return False
        row[:] = _ALL
        _ban(row, self._end_ids)
        return True

    def _reason(self) -> str:
        assert self._matcher is not None
        text = self._matcher.get_error() or self._matcher.stop_reason()
        return text.partition("\n")[0]


def _allows(row: npt.NDArray[np.int32], token_id: int) -> bool:
    return bool(row.view(np.uint32)[token_id >> 5] & np.uint32(1 << (token_id & 31)))


def _allow(row: npt.NDArray[np.int32], token_id: int) -> None:
    row.view(np.uint32)[token_id >> 5] |= np.uint32(1 << (token_id & 31))


def _ban(row: npt.NDArray[np.int32], token_ids: Collection[int]) -> None:
    words = row.view(np.uint32)
    for token_id in token_ids:
        words[token_id >> 5] &= np.uint32(~(1 << (token_id & 31)) & 0xFFFF_FFFF)
