"""An output as text in which markers mean what they say.

Owns: telling a marker that was generated as its token from the same characters written out, and
from which token each place of the text comes. Must not know: any family, requests.

A model that spells "<tool_call>" letter by letter, because a user wrote it or asked for it, calls
nothing. Such a spelling gets an invisible character into it, so that parsers can search plain text;
`Output.clean` takes it out of what they found.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engine.tokenizer import Tokenizer

__all__ = ["GUARD", "Output", "OutputReader"]

# Private-use characters: a text that holds one of its own gets another.
_GUARDS = tuple(map(chr, range(0xF0003, 0xF0013)))
GUARD = _GUARDS[0]
"""The guard of a text that is not known to its end yet; one that the text holds is doubled."""


@dataclass(frozen=True, slots=True)
class Output:
    """`text` with guarded markers. `guard` is the character in them, "" where there are none.

    `places` are known (character, token) pairs, ascending: the text of the first `token` of
    `token_ids` is `character` characters long.
    """

    text: str
    token_ids: Sequence[int]
    guard: str
    places: tuple[tuple[int, int], ...]
    tokenizer: Tokenizer

    def clean(self, text: str) -> str:
        """`text`, a part of this output or made of parts, as the model wrote it."""
        return text.replace(self.guard, "") if self.guard else text

    def num_tokens(self, start: int, end: int) -> int:
        """How many tokens the characters [start, end) took."""
        return max(0, self._token_at(end) - self._token_at(start))

    def _token_at(self, character: int) -> int:
        """How many tokens the first `character` characters took; a token that reaches beyond
        counts.
        """
        index = bisect_left(self.places, (character, 0))
        if index < len(self.places) and self.places[index][0] == character:
            return self.places[index][1]
        if self.guard:
            character -= self.text.count(self.guard, 0, character)
        low, high = 0, len(self.token_ids)
        while low < high:
            middle = (low + high) // 2
            if len(self._decode(middle)) < character:
                low = middle + 1
            else:
                high = middle
        return low

    def _decode(self, stop: int) -> str:
        return self.tokenizer.decode(list(self.token_ids[:stop]), skip_special_tokens=False)


class OutputReader:
    """Reads the outputs of one model for parsers with the given markers. Thread safe."""

    def __init__(self, tokenizer: Tokenizer, markers: Iterable[str]) -> None:
        self._tokenizer = tokenizer
        self._marker_of = {
            tokenizer.added_token_ids[marker]: marker
            for marker in markers
            if marker in tokenizer.added_token_ids
        }
        longest_first = sorted(self._marker_of.values(), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def keeps(self, token_id: int, *, skip_special_tokens: bool) -> bool:
        """Whether a token is shown to parsers."""
        return (
            not skip_special_tokens
            or token_id in self._marker_of
            or token_id not in self._tokenizer.special_token_ids
        )

    def marker(self, token_id: int) -> str | None:
        """The marker that a token is."""
        return self._marker_of.get(token_id)

    def guarded(self, text: str, guard: str) -> str:
        """`text`, none of whose markers were generated as such."""
        return self._pattern.sub(lambda match: _with_guard(match[0], guard), text)

    def num_undecided(self, text: str) -> int:
        """How many characters at the end of `text` may be the beginning of a marker."""
        markers = tuple(self._marker_of.values())
        for length in range(min(len(text), max(map(len, markers), default=1) - 1), 0, -1):
            if any(len(mark) > length and mark.startswith(text[-length:]) for mark in markers):
                return length
        return 0

    def read(self, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> Output:
        """The text of the tokens. Special tokens that are no markers are left out, unless they are
        to be kept.
        """
        kept = [
            token_id
            for token_id in token_ids
            if self.keeps(token_id, skip_special_tokens=skip_special_tokens)
        ]
        text = self._decode(kept)
        written = list(self._pattern.finditer(text))
        generated = [index for index, token_id in enumerate(kept) if token_id in self._marker_of]
        real = self._pair(kept, written, generated)
        return self._guarded(text, kept, written, real)

    def _pair(
        self, token_ids: list[int], written: list[re.Match[str]], generated: list[int]
    ) -> dict[int, int]:
        """Which of the spellings in the text are generated markers: index in `written` to index of
        the token. Where there are more spellings than tokens, the place tells.
        """
        real: dict[int, int] = {}
        is_exact = len(written) == len(generated)
        following = token_behind = place_behind = 0
        for token in generated:
            between = token_ids[token_behind:token]
            place = place_behind + len(self._decode(between)) if not is_exact else place_behind
            marker = self._marker_of[token_ids[token]]
            best = _nearest(written, following, marker, place)
            if best is None:
                continue
            real[best] = token
            following, token_behind, place_behind = best + 1, token + 1, written[best].end()
        return real

    def _decode(self, token_ids: list[int]) -> str:
        return self._tokenizer.decode(token_ids, skip_special_tokens=False)

    def _guarded(
        self,
        text: str,
        token_ids: list[int],
        written: list[re.Match[str]],
        real: dict[int, int],
    ) -> Output:
        forged = [match for index, match in enumerate(written) if index not in real]
        guard = next((mark for mark in _GUARDS if mark not in text), "") if forged else ""
        pieces: list[str] = []
        places = [(0, 0)]
        position = shift = 0
        for index, match in enumerate(written):
            if index in real:
                token = real[index]
                places += [(match.start() + shift, token), (match.end() + shift, token + 1)]
            elif guard:
                cut = match.start() + 1
                pieces += (text[position:cut], guard)
                position, shift = cut, shift + 1
        pieces.append(text[position:])
        places.append((len(text) + shift, len(token_ids)))
        return Output("".join(pieces), token_ids, guard, tuple(places), self._tokenizer)


def _nearest(written: list[re.Match[str]], first: int, marker: str, place: int) -> int | None:
    """The spelling of `marker`, from the index `first` on, that stands nearest to `place`."""
    best: int | None = None
    for index in range(first, len(written)):
        if written[index][0] != marker:
            continue
        distance = abs(written[index].start() - place)
        if best is not None and distance >= abs(written[best].start() - place):
            break  # from here on they are further and further behind it
        best = index
    return best


def _with_guard(marker: str, guard: str) -> str:
    return marker[:1] + guard + marker[1:]
