"""What is taught when: to copy, then to choose, then sums and conversations.

Owns: the shares over the curriculum's progress, 0..1. Must not know: how anything is made.
A skill among others is learnt slowly, alone within some hundred steps: choosing an entry by a
shared word stayed at chance for 600 steps beside conversations; in 420 steps of its own it reached
0.95 where the label itself holds the word and 0.7 where its features do.
What is learnt stays in the mixture, so that it is not forgotten.
"""

from dataclasses import dataclass

__all__ = ["Lesson", "lesson"]

_COPYING_ENDS, _CHOOSING_ENDS = 0.3, 0.65
_MOST_FILLERS = 5


@dataclass(slots=True, frozen=True)
class Lesson:
    """`exercise_share` of all strips are exercises, `drill_share` of these are sums; the others are
    drawn by weight. `most_fillers`: words in a description that help nothing, at most.
    """

    exercise_share: float
    drill_share: float
    pairs: float
    choices: float
    repeats: float
    calls: float = 0.0
    most_fillers: int = _MOST_FILLERS


def lesson(progress: float) -> Lesson:
    """The lesson at `progress`, 0..1."""
    if progress < _COPYING_ENDS:
        return Lesson(0.95, 0.05, pairs=3, choices=0, repeats=1)
    if progress < _CHOOSING_ENDS:
        passed = (progress - _COPYING_ENDS) / (_CHOOSING_ENDS - _COPYING_ENDS)
        fillers = 1 + round((_MOST_FILLERS - 1) * passed)
        return Lesson(0.9, 0.05, pairs=1, choices=5, repeats=0, most_fillers=fillers)
    passed = (progress - _CHOOSING_ENDS) / (1 - _CHOOSING_ENDS)
    # Sums need some hundred thousand examples, and conversations hold too few of them.
    return Lesson(
        0.8 - 0.45 * passed, 0.25 + 0.1 * passed, pairs=2, choices=3, repeats=0.5, calls=5
    )
