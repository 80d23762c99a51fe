"""Exercises of token ids: find what belongs to a key or fits a description, and copy it.

Owns: sequences that mean nothing but hold one answer. Must not know: text, tasks, the model.
Every task of the demo model comes down to finding a name in the prompt and copying what belongs to
it, or to choosing the entry of a list that shares a word with the question. In text few tokens
teach that, and short cuts exist (frequent words, fixed places). Here a third of all tokens can be
known only by looking them up, so the circuits form in a few million tokens.
"""

from collections.abc import Sequence
from random import Random

__all__ = ["exercise"]

_FEW = 0.4  # share of exercises with a small alphabet
_SMALLEST_ALPHABET, _LARGEST_ALPHABET = 16, 120


class _Writer:
    """Tokens of one exercise and which of them are learnt."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.learnt: list[bool] = []

    def add(self, tokens: Sequence[int], *, learnt: bool = False) -> None:
        self.tokens += tokens
        self.learnt += [learnt] * len(tokens)


def exercise(rng: Random, vocabulary: Sequence[int], length: int) -> tuple[list[int], list[bool]]:
    """`length` + 1 token ids of `vocabulary` and, for each, whether it can be known."""
    alphabet = vocabulary
    if rng.random() < _FEW:  # few tokens come again and again: one token before does not identify
        alphabet = rng.sample(vocabulary, rng.randint(_SMALLEST_ALPHABET, _LARGEST_ALPHABET))
    make = rng.choices((_pairs, _choices, _repeats), (3, 4, 1))[0]
    writer = _Writer()
    while len(writer.tokens) <= length:
        make(rng, writer, vocabulary, alphabet, length + 1 - len(writer.tokens))
    return writer.tokens[: length + 1], writer.learnt[: length + 1]


def _words(
    rng: Random, alphabet: Sequence[int], count: int, longest: int, avoid: set[int]
) -> list[tuple[int, ...]]:
    """`count` different words of up to `longest` tokens."""
    usable = [token for token in alphabet if token not in avoid]
    found: dict[tuple[int, ...], None] = {}
    while len(found) < count:
        found[tuple(rng.choices(usable, k=rng.randint(1, longest)))] = None
    return list(found)


def _pairs(
    rng: Random, writer: _Writer, vocabulary: Sequence[int], alphabet: Sequence[int], room: int
) -> None:
    """A list of keys and values, then keys whose values are asked for."""
    longest_key, longest_value = rng.randint(1, 3), rng.randint(1, 7)
    each = (longest_key + longest_value) // 2 + 4
    count = rng.randint(2, max(2, min(16, room // (2 * each))))
    marks = rng.sample(vocabulary, 4)
    link, end, asked_link, asked_end = ([mark] * rng.choice((1, 1, 1, 0)) for mark in marks)
    end, asked_end = [marks[1]], [marks[3]]
    if rng.random() < 0.4:
        asked_link, asked_end = link, end
    if not asked_link:
        asked_link = [marks[2]]
    keys = _words(rng, alphabet, count, longest_key, set(marks))
    values = [tuple(_words(rng, alphabet, 1, longest_value, set(marks))[0]) for _ in range(count)]
    backwards = bool(link) and rng.random() < 0.2
    for key, value in zip(keys, values, strict=True):
        first, second = (value, key) if backwards else (key, value)
        writer.add([*first, *link, *second, *end])
    order = list(range(count))
    rng.shuffle(order)
    for index in order:
        writer.add([*keys[index], *asked_link])
        writer.add([*values[index], *asked_end], learnt=True)


def _choices(
    rng: Random, writer: _Writer, vocabulary: Sequence[int], alphabet: Sequence[int], room: int
) -> None:
    """A list of labels with features, then descriptions: the label that shares a feature is right.

    Half of the lists have no features but the labels' own tokens, as tools are asked for by the
    words of their names.
    """
    count = rng.randint(2, 6)
    marks = rng.sample(vocabulary, 5)
    own = rng.random() < 0.5
    longest = rng.randint(2, 3) if own else rng.randint(1, 3)
    num_features = longest if own else rng.randint(1, 3)
    each = 2 * (longest + num_features)  # half of them only stand around in questions
    if len(alphabet) < count * each + len(marks):
        alphabet = vocabulary
    usable = [token for token in alphabet if token not in marks]
    count = min(count, len(usable) // each)
    tokens = rng.sample(usable, count * each)
    labels, features = [], []
    for _ in range(count):
        label = [tokens.pop() for _ in range(rng.randint(2, longest) if own else longest)]
        labels.append(label)
        features.append(label if own else [tokens.pop() for _ in range(num_features)])
    backwards = not own and rng.random() < 0.3
    for label, described in zip(labels, features, strict=True):
        parts = [label] if own else [label, [marks[0]], described]
        for part in reversed(parts) if backwards else parts:
            writer.add(part)
        writer.add([marks[1]])
    for _ in range(max(2, (room - count * each // 2) // 12)):
        chosen = rng.randrange(count)
        shown = [[token] for token in features[chosen]]
        if not own:
            shown = rng.sample(shown, rng.randint(1, len(shown)))
        for _ in range(rng.randint(0, 5)):
            shown.insert(rng.randint(0, len(shown)), [rng.choice(tokens)])
        writer.add([marks[2], *(token for part in shown for token in part), marks[3]])
        writer.add([*labels[chosen], marks[4]], learnt=True)


def _repeats(
    rng: Random, writer: _Writer, vocabulary: Sequence[int], alphabet: Sequence[int], room: int
) -> None:
    """Passages, then the same in another order: known from the second token on."""
    longest = rng.randint(3, 14)
    count = rng.randint(1, max(1, min(12, room // (longest + 2))))
    mark = rng.choice(vocabulary)
    passages = [
        [tokens[0], *tokens] if len(tokens) == 1 else list(tokens)
        for tokens in _words(rng, alphabet, count, longest, {mark})
    ]
    for passage in passages:
        writer.add([*passage, mark])
    rng.shuffle(passages)
    for passage in passages:
        known = min(3 if len(alphabet) < len(vocabulary) else 1, len(passage))
        writer.add(passage[:known])
        writer.add([*passage[known:], mark], learnt=True)
