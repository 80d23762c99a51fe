"""Multiple choice by log-likelihood."""

from jobs.evals.answer import Answer, ChoiceScore
from jobs.evals.scoring import score
from tests.jobs.evals.builders import row


def reason(length: str, *scores: tuple[float, int]) -> str:
    asked = row(
        prompt="Q:",
        choices=[" no", " yes, indeed"],
        target=1,
        scorer={"type": "choice", "length": length},
    )
    return score(asked, Answer(choices=[ChoiceScore(*each) for each in scores])).reason


def test_the_likeliest_ending_counts() -> None:
    assert reason("none", (-3.0, 1), (-2.0, 3)) == ""
    assert reason("none", (-2.0, 1), (-3.0, 3)) == "choice 0, expected 1"
    assert reason("none", (-2.0, 1), (-2.0, 3)) == "choice 0, expected 1"


def test_long_endings_may_be_weighed_by_their_length() -> None:
    assert reason("tokens", (-2.0, 1), (-3.0, 3)) == ""
    assert reason("characters", (-2.0, 1), (-3.0, 3)) == ""
    assert reason("characters", (-0.2, 1), (-3.0, 3)) == "choice 0, expected 1"


def test_scores_that_are_missing_are_told() -> None:
    assert reason("none", (-2.0, 1)) == "1 scores for 2 choices"
