"""Numbers in texts."""

from decimal import Decimal
from typing import Any

import pytest

from jobs.evals.answer import Answer
from jobs.evals.scorers.numbers import number_of
from jobs.evals.scoring import score
from tests.jobs.evals.builders import row


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("It is 42.", 42),
        ("1,234,567.5 miles", "1234567.5"),
        ("-3", -3),
        ("minus \u22127", -7),
        ("5-3", 3),
        ("x = .5", ".5"),
        ("6.02e23 of them", "6.02e23"),
        ("2-3-4 then 12%", 12),
        ("1,2", 2),
        ("1,2345", 2345),
        ("$1,000", 1000),
        ("no number", None),
        ("v1.2.3", 3),
    ],
)
def test_the_last_number_of_a_text(text: str, number: Any) -> None:
    assert number_of(text) == (None if number is None else Decimal(number))


def test_the_first_number_if_asked() -> None:
    assert number_of("2 of 3", "first") == 2


@pytest.mark.parametrize(
    ("target", "content", "options", "reason"),
    [
        (0.3, "0.30", {}, ""),
        ("1,000", "a thousand, 1000.0", {}, ""),
        (10, "10.4", {}, "wrong number"),
        (10, "10.4", {"tolerance": 0.4}, ""),
        (10, "10.41", {"tolerance": 0.4}, "wrong number"),
        (-200, "-210", {"relative_tolerance": 0.05}, ""),
        (-200, "-210.1", {"relative_tolerance": 0.05}, "wrong number"),
        (2, "2 or 3", {"which": "first"}, ""),
        (2, "2 or 3", {}, "wrong number"),
        (2, "two", {}, "no number"),
        (2, "A: 2 B: 3", {"extract": r"A: (\d)"}, ""),
        (2, "B: 2", {"extract": r"A: (\d)"}, "nothing to extract"),
    ],
)
def test_numbers_are_compared_as_numbers(
    target: Any, content: str, options: dict[str, Any], reason: str
) -> None:
    asked = row(target=target, scorer={"type": "numeric", **options})
    assert score(asked, Answer(content)).reason == reason
