"""JSON values."""

from typing import Any

import pytest

from jobs.evals.answer import Answer
from jobs.evals.scoring import score
from tests.jobs.evals.builders import row


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('{"b": [1, true], "a": 1.0}', ""),
        ('{"a": 1, "b": [1, 1]}', "wrong value"),
        ('{"a": 1, "b": [true, 1]}', "wrong value"),
        ('{"a": 1, "b": [1, true]} ok', "not JSON"),
        ("", "not JSON"),
        ("NaN", "not JSON"),
    ],
)
def test_json_is_compared_as_a_value(said: str, why: str) -> None:
    asked = row(target={"a": 1, "b": [1, True]}, scorer="json")
    assert score(asked, Answer(said)).reason == why


def test_json_may_be_cut_out_of_a_text() -> None:
    fence = {"type": "json", "extract": r"```json\s*(.*?)```"}
    asked = row(target=[1], scorer=fence)
    assert score(asked, Answer("Here:\n```json\n[1]\n```\nDone.")).right
    assert score(asked, Answer("[1]")).reason == "nothing to extract"


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "of": {"items": {"enum": ["a"]}}},
    "required": ["n"],
}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('{"n": 3}', ""),
        ('{"n": "3"}', "does not fit at $.n"),
        ('{"n": 1, "of": ["a", "b"]}', "does not fit at $.of[1]"),
        ("{}", "does not fit at $"),
        ("{", "not JSON"),
    ],
)
def test_json_has_to_fit_a_schema(said: str, why: str) -> None:
    assert score(row(target=SCHEMA, scorer="json_schema"), Answer(said)).reason == why


def test_a_reference_into_nowhere_is_the_schemas_fault() -> None:
    asked = row(target={"$ref": "https://nowhere.test/x"}, scorer="json_schema")
    assert score(asked, Answer("1")).reason.startswith("the schema is wrong")
