"""Recall exercises: what is learnt can be known from what stands before it."""

from collections import Counter
from random import Random

from engine.demo_model.training.curriculum import lesson
from engine.demo_model.training.recall import exercise

_VOCABULARY = range(300, 2000)
_LENGTH = 384


def _encode(mark: str) -> list[int]:
    """Marks are bytes here."""
    return list(mark.encode())


def _exercise(number: int) -> tuple[list[int], list[bool]]:
    plan = lesson(number % 11 / 10)
    return exercise(Random(number), _VOCABULARY, _encode, _LENGTH, plan)


def test_an_exercise_has_one_token_more_than_its_length() -> None:
    for number in range(50):
        tokens, learnt = _exercise(number)
        assert len(tokens) == len(learnt) == _LENGTH + 1
        assert set(tokens) - set(range(256)) <= set(_VOCABULARY)


def test_exercises_are_deterministic() -> None:
    assert _exercise(3) == _exercise(3)
    assert _exercise(3) != _exercise(14)


def test_a_fair_share_of_the_tokens_is_learnt() -> None:
    shares = []
    for number in range(200):
        _, learnt = _exercise(number)
        shares.append(sum(learnt) / len(learnt))
    assert sum(shares) / len(shares) > 0.1


def test_what_is_learnt_stood_there_before() -> None:
    """All but the marks that end an answer are copied: the first of a run has been seen."""
    seen_before: Counter[bool] = Counter()
    for number in range(200):
        tokens, learnt = _exercise(number)
        for place in range(1, len(tokens)):
            if learnt[place] and not learnt[place - 1]:
                seen_before[tokens[place] in tokens[:place]] += 1
    assert seen_before[False] == 0
