"""Which tokens a request itself lets through: a list of allowed ones, and words it does not want.

Owns: the masks that say so, on top of another constraint if there is one. Must not know: grammars,
text. Not thread safe: a filter belongs to whoever holds its request. The masks travel and are
applied as those of grammars are (engine/structured_output/masks.py).

A word is a sequence of tokens: its last token is banned where the output ends with all before it.
"""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from engine.request import TokenConstraint

__all__ = ["TokenFilter", "token_mask"]

_NO_TOKEN = "No token can come next: none is allowed that is not banned."  # noqa: S105
_ALL = np.int32(-1)


def token_mask(token_ids: Collection[int], num_words: int) -> npt.NDArray[np.int32]:
    """The mask [num_words] of these tokens; those beyond it are left out."""
    mask = np.zeros(num_words, np.uint32)
    for token_id in token_ids:
        if token_id >> 5 < num_words:
            mask[token_id >> 5] |= np.uint32(1 << (token_id & 31))
    return mask.view(np.int32)


class TokenFilter:
    """A `TokenConstraint`.

    `allowed` is the mask of the only tokens that may come, None for all. `words` are the sequences
    of tokens that must not come, none of them empty. `inner` is followed too.
    """

    def __init__(
        self,
        *,
        num_words: int,
        allowed: npt.NDArray[np.int32] | None = None,
        words: Sequence[Sequence[int]] = (),
        inner: TokenConstraint | None = None,
    ) -> None:
        self.num_words = num_words
        self._allowed = allowed
        self._words = [tuple(word) for word in words]
        self._inner = inner
        self._longest = max(map(len, self._words), default=1) - 1
        self._tail: tuple[int, ...] = ()
        self._error: str | None = None

    @property
    def error(self) -> str | None:
        """Why nothing can come next any more."""
        return self._error or (self._inner.error if self._inner is not None else None)

    def append(self, token_id: int) -> bool:
        """Take one output token; True if the answer is complete."""
        if self._longest:
            self._tail = (*self._tail, token_id)[-self._longest :]
        return self._inner.append(token_id) if self._inner is not None else False

    def fill(self, row: npt.NDArray[np.int32], banned: Collection[int]) -> bool:
        """Write the mask of the next token, as `TokenConstraint.fill`."""
        if self._inner is None or not self._inner.fill(row, banned):
            if self.error is not None:
                return False
            row[:] = _ALL
            _ban(row, banned)
        if self._allowed is not None:
            row &= self._allowed
        _ban(row, [word[-1] for word in self._words if self._ends_with(word[:-1])])
        if not row.any():
            self._error = _NO_TOKEN
        return self._error is None

    def _ends_with(self, tokens: tuple[int, ...]) -> bool:
        return not tokens or self._tail[-len(tokens) :] == tokens


def _ban(row: npt.NDArray[np.int32], token_ids: Collection[int]) -> None:
    words = row.view(np.uint32)
    for token_id in token_ids:
        if token_id >> 5 < len(words):
            words[token_id >> 5] &= np.uint32(~(1 << (token_id & 31)) & 0xFFFF_FFFF)
