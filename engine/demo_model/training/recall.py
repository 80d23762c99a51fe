"""Exercises of token ids: find what belongs to a key or fits a description, and copy it.

Owns: sequences that mean nothing but hold one answer. Must not know: tasks, the model.
Every task of the demo model comes down to finding a name in the prompt and copying what belongs to
it, or to choosing the entry of a list that shares a word with the question. In text few tokens
teach that, and short cuts exist (frequent words, fixed places). Here words are random tokens, only
the marks between them are those of prompts and answers, and a third of all tokens can be known only
by looking them up: so the circuits form in a few million tokens.
"""

from collections.abc import Sequence
from random import Random

from engine.demo_model.training.call_recall import call_exercise
from engine.demo_model.training.curriculum import Lesson
from engine.demo_model.training.exercise_writer import ASKED, Encode, Writer

__all__ = ["exercise"]

_FEW = 0.4  # share of exercises with a small alphabet
_LOOSE_SHARE = 0.25
_BACKWARD_SHARE, _MIXED_SHARE = 0.35, 0.4
_QUESTION_FIRST_SHARE = 0.35
_SMALLEST_ALPHABET, _LARGEST_ALPHABET = 16, 120
# Between a key and its value, and behind the value.
_PAIR_MARKS = (
    (": ", ", "), (" ", ", "), (" = ", "; "), (" is ", ". "), (" ", " and "), (" (", "), "),
    ("=", " "), (" - ", "\n"), ('": "', '", "'), (" being ", ", "), (": ", "\n"),
    (" the ", ", the "),
)  # fmt: skip
_BACKWARD_MARKS = ((" as ", ", "), (" as the ", " and "), (" for the ", ", "), (" is the ", ". "))
_ANSWER_MARKS = (
    ('": "', '", "'), ('": "', '", "'), ('": ', ', "'), (" is ", "."), (": ", "\n"), ("?\n", "\n"),
)  # fmt: skip
# Before a label, between it and its features, behind them; and a list whose labels have none.
_LIST_MARKS = (("", " (", "), "), ("- ", ": ", "\n"), ("", " = ", "; "), ("", ": ", "; "))
_TOOL_MARKS = (
    '{"type": "function", "function": {"name": "', '", "description": "',
    '", "parameters": {"type": "object", "properties": {"',
)  # fmt: skip
_NAME_MARKS = (("", ", "), ("", " / "), ("", " or "), ("- ", "\n"))


def exercise(
    rng: Random, vocabulary: Sequence[int], encode: Encode, length: int, lesson: Lesson
) -> tuple[list[int], list[bool]]:
    """`length` + 1 token ids and, for each, whether it can be known. Words are of `vocabulary`,
    what stands between them is encoded with `encode`; `lesson` says which exercises there are.
    """
    alphabet = vocabulary
    if rng.random() < _FEW:  # few tokens come again and again: one token before does not identify
        alphabet = rng.sample(vocabulary, rng.randint(_SMALLEST_ALPHABET, _LARGEST_ALPHABET))
    kinds = (lesson.pairs, lesson.choices, lesson.calls, lesson.repeats)
    make = rng.choices((_pairs, _choices, call_exercise, _repeats), kinds)[0]
    writer = Writer(encode, lesson.most_fillers)
    while len(writer.tokens) <= length:
        make(rng, writer, vocabulary, alphabet, length + 1 - len(writer.tokens))
    return writer.tokens[: length + 1], writer.learnt[: length + 1]


def _words(rng: Random, alphabet: Sequence[int], count: int, longest: int) -> list[tuple[int, ...]]:
    """`count` different words of up to `longest` tokens."""
    found: dict[tuple[int, ...], None] = {}
    while len(found) < count:
        found[tuple(rng.choices(alphabet, k=rng.randint(1, longest)))] = None
    return list(found)


def _pairs(
    rng: Random, writer: Writer, vocabulary: Sequence[int], alphabet: Sequence[int], room: int
) -> None:
    """A list of keys and values, then keys whose values are asked for."""
    longest_key, longest_value = rng.randint(1, 3), rng.randint(1, 7)
    each = (longest_key + longest_value) // 2 + 4
    count = rng.randint(2, max(2, min(16, room // (2 * each))))
    keys = _words(rng, alphabet, count, longest_key)
    values = [_words(rng, alphabet, 1, longest_value)[0] for _ in range(count)]
    is_mixed = rng.random() < _MIXED_SHARE
    style = _pair_style(rng, writer, vocabulary)
    for key, value in zip(keys, values, strict=True):
        is_backward, link, end = style
        for part in (value if is_backward else key, link, key if is_backward else value, end):
            writer.add(part)
        if is_mixed:
            style = _pair_style(rng, writer, vocabulary)
    asked_link, asked_end = rng.choice(_ANSWER_MARKS)
    order = list(range(count))
    rng.shuffle(order)
    writer.add(rng.choice((ASKED, "\n", '{"')))
    for index in order:
        writer.add(keys[index])
        writer.add(asked_link)
        writer.add(values[index], learnt=True)
        writer.add(asked_end, learnt=True)


def _pair_style(
    rng: Random, writer: Writer, vocabulary: Sequence[int]
) -> tuple[bool, Sequence[int] | str, str]:
    """Whether the value comes first, what stands between it and its key, and what behind them."""
    is_backward = rng.random() < _BACKWARD_SHARE
    link: Sequence[int] | str
    link, end = rng.choice(_BACKWARD_MARKS if is_backward else _PAIR_MARKS)
    if rng.random() < _LOOSE_SHARE:  # any words
        link = writer.joined([*writer.encoded(" "), *rng.choices(vocabulary, k=2)], " ")
    return is_backward, link, end


def _choices(
    rng: Random, writer: Writer, vocabulary: Sequence[int], alphabet: Sequence[int], room: int
) -> None:
    """A list of labels with features, then descriptions: the label that shares a feature is right.

    Half of the lists have no features but the labels' own tokens, as tools are asked for by the
    words of their names.
    """
    count = rng.randint(2, 6)
    own = rng.random() < 0.5
    longest = rng.randint(2, 3) if own else rng.randint(1, 3)
    num_features = longest if own else rng.randint(1, 3)
    each = 2 * (longest + num_features)  # half of them only stand around in questions
    if len(alphabet) < count * each:
        alphabet = vocabulary
    count = min(count, len(alphabet) // each)
    tokens = rng.sample(alphabet, count * each)
    labels = [
        [tokens.pop() for _ in range(rng.randint(2, longest) if own else longest)]
        for _ in range(count)
    ]
    features = labels
    if not own:
        features = [[tokens.pop() for _ in range(num_features)] for _ in range(count)]
    is_tool = rng.random() < 0.5
    names = labels
    if own and is_tool and rng.random() < 0.8:  # harvest_velvet_seminar
        names = [writer.joined(label, "_") for label in labels]
    before, behind = ('<tool_call>\n{"name": "', '", "arguments": {') if is_tool else ("", "")
    question_first = not is_tool and rng.random() < _QUESTION_FIRST_SHARE
    num_questions = 1 if question_first else max(2, (room - count * each // 2) // 20)
    if not question_first:
        _list_labels(rng, writer, names, None if own else features, is_tool=is_tool)
    for _ in range(num_questions):
        chosen = rng.randrange(count)
        shown = features[chosen]
        if not own:
            shown = rng.sample(shown, rng.randint(1, len(shown)))
        parts = [[token] for token in shown]
        for _ in range(rng.randint(0, writer.most_fillers)):
            parts.insert(rng.randint(0, len(parts)), [rng.choice(tokens)])
        writer.add("<|im_start|>user\n")
        for part in parts:
            writer.add(part)
            writer.add(" ")
        if question_first:
            writer.add("\n")
            _list_labels(rng, writer, names, None if own else features, is_tool=False)
        writer.add(ASKED + before)
        writer.add(names[chosen], learnt=True)
        writer.add(behind or "<|im_end|>", learnt=True)


def _list_labels(
    rng: Random,
    writer: Writer,
    labels: Sequence[Sequence[int]],
    features: Sequence[Sequence[int]] | None,
    *,
    is_tool: bool,
) -> None:
    """The list to choose from, as tools or as it stands in a sentence."""
    opening, link, end = _TOOL_MARKS if is_tool else rng.choice(_LIST_MARKS)
    if features is None and not is_tool:
        opening, end = rng.choice(_NAME_MARKS)
    for index, label in enumerate(labels):
        writer.add(opening)
        writer.add(label)
        if features is not None:
            writer.add(link)
            writer.add(features[index])
        writer.add(end)


def _repeats(
    rng: Random, writer: Writer, vocabulary: Sequence[int], alphabet: Sequence[int], room: int
) -> None:
    """Passages, then the same in another order: known from the second token on."""
    longest = rng.randint(3, 14)
    count = rng.randint(1, max(1, min(12, room // (longest + 2))))
    mark = rng.choice(("\n", ", ", "; ", ". ", " and "))
    passages = [
        [tokens[0], *tokens] if len(tokens) == 1 else list(tokens)
        for tokens in _words(rng, alphabet, count, longest)
    ]
    for passage in passages:
        writer.add(passage)
        writer.add(mark)
    rng.shuffle(passages)
    for passage in passages:
        known = min(3 if len(alphabet) < len(vocabulary) else 1, len(passage))
        writer.add(passage[:known])
        writer.add(passage[known:], learnt=True)
        writer.add(mark, learnt=True)
