"""What a model said to one row, and the verdict on it.

Owns: these two values. Must not know: rows, how answers are made or judged.
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Answer", "ChoiceScore", "Verdict"]


@dataclass(slots=True, frozen=True)
class ChoiceScore:
    """One ending of a prompt: the sum of its tokens' log probabilities, and how many there are."""

    logprob: float
    num_tokens: int


@dataclass(slots=True, frozen=True)
class Answer:
    """What the model said: its text after any reasoning, and its calls as (name, JSON text). An
    answer to a multiple choice by log-likelihood has nothing but a score for each choice.
    """

    content: str = ""
    calls: Sequence[tuple[str, str]] = ()
    choices: Sequence[ChoiceScore] = ()


@dataclass(slots=True, frozen=True)
class Verdict:
    """`right` as the suite counts it; `reason` says what was wrong, "" if nothing."""

    right: bool
    reason: str = ""
