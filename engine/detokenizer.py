"""Stop strings, found while tokens come in.

Owns: turning output tokens into text piece by piece, and looking for stop strings in it. Must not
know: requests, steps, formats. Only requests with stop strings pay for this; all others are decoded
once, at their end. Follows the two-offset scheme of text-generation-inference: a window of tokens
is decoded again with each new one, because what a token looks like can depend on its left
neighbours, and a character may need several tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.tokenizer import Tokenizer

__all__ = ["MessageHeads", "StopStringMatcher"]

_REPLACEMENT = "\ufffd"  # what bytes are shown as that form no character (yet)
# Tokens without a whole character at their end, after which they are taken for noise. A character
# has at most 4 bytes, but text may really hold replacement characters.
_MAX_PENDING = 96
_KEPT_PENDING = 4


@dataclass(frozen=True, slots=True)
class _Match:
    """A stop string in the text, at characters [start, end)."""

    stop_string: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class MessageHeads:
    """Tokens of a format whose messages have heads, which nobody sees. `end` ends a head; each of
    `marks` does not belong to a message's text, and a head may follow it.
    """

    end: int
    marks: frozenset[int]

    def is_open(self, prompt: Sequence[int]) -> bool:
        """Whether the output goes on inside a head, or where one may begin. Not if the prompt knows
        nothing of heads.
        """
        for token_id in reversed(prompt):
            if token_id == self.end:
                return False
            if token_id in self.marks:
                return True
        return False


class StopStringMatcher:
    """An `engine.request.StopMatcher`. Work for each token is constant, however long the text.

    The stop string that is complete first wins, and of those that end together the longest, so the
    answer does not depend on where one token ends and the next begins. If the caller appends more
    after a match, it did not want that match (`min_tokens`), and the search goes on behind it.
    Nothing is found in `heads`, nor across them; `in_head`: the output begins in one.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stop_strings: Sequence[str],
        *,
        include_stop_string: bool = False,
        skip_special_tokens: bool = True,
        heads: MessageHeads | None = None,
        in_head: bool = False,
    ) -> None:
        if not stop_strings or not all(stop_strings):
            raise ValueError("stop strings must not be empty")
        self._tokenizer = tokenizer
        self._stop_strings = tuple(stop_strings)
        self._include_stop_string = include_stop_string
        self._skip_special_tokens = skip_special_tokens
        self._heads = heads
        self._in_head = in_head
        self._overlap = max(map(len, stop_strings)) - 1
        self._token_ids: list[int] = []
        # The window: tokens [context, read) are in the settled text already and decode to
        # `context_text` there; tokens [read, ...) decode to `pending`.
        self._context = 0
        self._read = 0
        self._context_text = ""
        self._settled: list[str] = []
        self._num_settled = 0
        self._tail = ""
        self._pending = ""
        self._search_from = 0
        self._match: _Match | None = None

    @property
    def text(self) -> str:
        """The text so far, cut before the stop string, or behind it if it is to be included."""
        if self._match is None:
            return self._decode(0, len(self._token_ids))
        cut = self._match.end if self._include_stop_string else self._match.start
        return "".join([*self._settled, self._pending])[:cut]

    @property
    def stop_string(self) -> str | None:
        """The stop string that matched."""
        return self._match.stop_string if self._match else None

    def append(self, token_id: int) -> bool:
        """Take one more token; True if a stop string is complete."""
        if self._match is not None:
            self._search_from = self._match.end
            self._match = None
        self._token_ids.append(token_id)
        num_tokens = len(self._token_ids)
        window = self._decode(self._context, num_tokens)
        self._pending = window[len(self._context_text) :]
        if self._heads is not None and self._is_in_head(token_id, self._heads):
            self._search_from = self._num_settled + len(self._pending)
        else:
            self._match = self._find()
        if self._pending and not self._pending.endswith(_REPLACEMENT):
            self._settle(num_tokens, self._pending)
        elif num_tokens - self._read >= _MAX_PENDING:
            self._settle_some(window)
        return self._match is not None

    def _is_in_head(self, token_id: int, heads: MessageHeads) -> bool:
        """Whether the next token is no part of a message's text."""
        if token_id == heads.end:
            self._in_head = False
            return True
        self._in_head = self._in_head or token_id in heads.marks
        return self._in_head

    def _find(self) -> _Match | None:
        """Look where a match can be new: in what is pending, and what could begin before it."""
        text = self._tail + self._pending.rstrip(_REPLACEMENT)
        offset = self._num_settled - len(self._tail)
        start_at = max(0, self._search_from - offset)
        found = [
            _Match(stop, offset + start, offset + start + len(stop))
            for stop in self._stop_strings
            if (start := text.find(stop, start_at)) >= 0
        ]
        return min(found, key=lambda match: (match.end, match.start), default=None)

    def _settle(self, stop: int, text: str) -> None:
        """The tokens up to `stop` decode to `text`, whatever follows."""
        self._settled.append(text)
        self._num_settled += len(text)
        self._tail = (self._tail + text)[-self._overlap :] if self._overlap else ""
        self._pending = self._pending[len(text) :]
        self._context, self._read = self._read, stop
        self._context_text = self._decode(self._context, self._read)

    def _settle_some(self, window: str) -> None:
        """Many tokens and still no whole character: they are noise, not a beginning. Settle all but
        the last few, if the text can be cut there.
        """
        stop = len(self._token_ids) - _KEPT_PENDING
        head = self._decode(self._context, stop)
        rest = window[len(head) :]
        later = self._decode(self._read, len(self._token_ids))
        if window.startswith(head) and later == self._decode(self._read, stop) + rest:
            self._settle(stop, head[len(self._context_text) :])

    def _decode(self, start: int, stop: int) -> str:
        return self._tokenizer.decode(
            self._token_ids[start:stop], skip_special_tokens=self._skip_special_tokens
        )
