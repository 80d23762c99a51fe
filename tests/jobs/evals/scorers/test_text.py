"""Texts against texts and patterns."""

from typing import Any

import pytest

from jobs.evals.answer import Answer
from jobs.evals.scoring import score
from tests.jobs.evals.builders import row


def reason(target: Any, content: str, scorer: str | dict[str, Any], *calls: Any) -> str:
    verdict = score(row(target=target, scorer=scorer), Answer(content, calls))
    assert verdict.right == (verdict.reason == "")
    return verdict.reason


def test_text_is_compared_without_a_final_stop() -> None:
    assert reason("Yes.", " Yes ", "text") == ""
    assert reason("Yes.", "Yes, indeed", "text") == "wrong text"
    assert reason("Yes.", "Yes.", "text", ("go", "{}")) == "a call, expected text"


def test_exact_is_exact() -> None:
    assert reason("Yes", "Yes", "exact") == ""
    assert reason(["No", "Yes"], "Yes", "exact") == ""
    assert reason("Yes", "Yes ", "exact") == "wrong text"
    assert reason("Straße", "STRASSE", {"type": "exact", "ignore_case": True}) == ""
    assert reason("Yes", "Yes", "exact", ("go", "{}")) == "a call, expected text"


@pytest.mark.parametrize(
    "content", ["The Eiffel Tower!", " eiffel\n tower", "an  EIFFEL-tower".replace("-", " ")]
)
def test_normalised_forgets_the_form(content: str) -> None:
    assert reason("Eiffel Tower", content, "normalised") == ""
    assert reason("Eiffel Tower", content + " Paris", "normalised") == "wrong text"


def test_a_pattern_is_searched_or_must_match_everything() -> None:
    assert reason("[0-9]+", "no 12 here", "regex") == ""
    assert reason("[0-9]+", "no 12 here", {"type": "regex", "full": True}) == "no match"
    assert reason(["x", "[0-9]+"], "12", {"type": "regex", "full": True}) == ""
    assert reason("abc", "ABC", "regex") == "no match"
    assert reason("abc", "ABC", {"type": "regex", "ignore_case": True}) == ""


def test_the_last_place_that_is_extracted_counts() -> None:
    scorer = {"type": "exact", "extract": r"Answer: (\w+)"}
    assert reason("b", "Answer: a? No. Answer: b, I think.", scorer) == ""
    assert reason("a", "Answer: a? No. Answer: b, I think.", scorer) == "wrong text"
    assert reason("b", "b", scorer) == "nothing to extract"
    assert reason("b", "a b", {"type": "exact", "extract": r"\w$"}) == ""


def test_a_pattern_that_never_ends_is_cut_short() -> None:
    slow, text = r"(x+x+)+y", "x" * 5000
    assert reason(slow, text, "regex") == "the search took too long"
    assert reason("a", text, {"type": "exact", "extract": slow}) == "the search took too long"
