"""Lines of a suite: two forms, defaults, and lines that are no rows."""

from typing import Any

import pytest

from jobs.evals.row_lines import RowDefaults, make_row
from jobs.evals.rows import Scorer, ScorerOptions

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
TOOLS = [{"type": "function", "function": {"name": "go"}}]
CALL = {"function": {"name": "go", "arguments": {}}}


def make(entry: Any, **defaults: Any) -> Any:
    return make_row(entry, 7, RowDefaults(**defaults))


@pytest.mark.parametrize(
    ("entry", "scorer"),
    [
        ({"body": BODY, "reference": {"content": "x"}}, Scorer.TEXT),
        ({"body": BODY, "reference": {"content": "", "tool_calls": [CALL]}}, Scorer.CALLS),
        ({"body": {**BODY, "tools": TOOLS}}, Scorer.VALID_CALLS),
        ({"body": BODY, "reference": {"content": "1"}, "scorer": "json"}, Scorer.JSON),
        ({"input": "hi", "target": "x"}, Scorer.EXACT),
        ({"input": "hi", "target": 3}, Scorer.NUMERIC),
        ({"input": "hi", "target": ["x", "y"]}, Scorer.EXACT),
        ({"prompt": "hi", "choices": ["x", "y"], "target": "y"}, Scorer.CHOICE),
    ],
)
def test_the_reference_decides_the_scorer_unless_told(entry: Any, scorer: Scorer) -> None:
    assert make(entry).scorer is scorer


def test_a_suite_says_what_its_rows_leave_out() -> None:
    found = make(
        {"id": 5, "input": "hi", "target": "X", "tags": {"level": 2, "of": None}},
        task="letters",
        system="Be brief.",
        request={"temperature": 0, "max_tokens": 9},
        scorer=(Scorer.NORMALISED, ScorerOptions()),
        tags=("all",),
    )
    assert found.custom_id == "5"
    assert (found.task, found.scorer, found.tags) == (
        "letters",
        Scorer.NORMALISED,
        ("all", "level=2"),
    )
    assert found.body == {
        "temperature": 0,
        "max_tokens": 9,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
        ],
    }


def test_a_row_wins_over_its_suite() -> None:
    found = make(
        {"input": "hi", "target": "1", "scorer": "numeric", "request": {"max_tokens": 3}},
        request={"max_tokens": 9},
        scorer=(Scorer.EXACT, ScorerOptions()),
    )
    assert found.custom_id == "row-7"
    assert found.scorer is Scorer.NUMERIC
    assert found.body["max_tokens"] == 3


def test_a_multiple_choice_becomes_one_completion_that_scores_all_endings() -> None:
    found = make({"prompt": "It", "choices": [" is", " was"], "target": " was"}, request={"n": 3})
    assert found.url == "/v1/completions"
    assert found.body == {
        "prompt": ["It is", "It was"],
        "echo": True,
        "logprobs": 0,
        "max_tokens": 0,
    }
    assert found.reference == {"choices": [" is", " was"], "answer": 1, "prompt": "It"}


def test_expected_calls_may_be_written_short() -> None:
    entry = {"input": "go", "scorer": "calls", "target": {"name": "go", "arguments": {"n": 1}}}
    assert make(entry).reference == {
        "tool_calls": [{"function": {"name": "go", "arguments": {"n": 1}}}]
    }


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ([], "expected an object"),
        ({"target": "x"}, "it needs one of body, messages, input, prompt, and has none"),
        ({"input": "a", "prompt": "b", "target": "x"}, "has input and prompt"),
        ({"body": {"messages": ["x"]}, "target": "x"}, "'messages' should be a list of objects"),
        ({"body": {}, "reference": {"content": "x"}}, "'body' has neither 'messages' nor 'prompt'"),
        ({"custom_id": 1, "body": BODY}, "'custom_id' is 1: input should be a valid string"),
        ({"body": BODY}, "neither a reference nor tools"),
        ({"body": BODY, "scorer": "vibes"}, "the scorer 'vibes' is unknown; use one of exact"),
        ({"input": "a", "target": "x", "weight": 2}, "'weight' is unknown"),
        ({"input": "a", "target": "x", "reference": {}}, "both 'target' and 'reference'"),
        ({"input": "a", "target": "x", "scorer": "numeric"}, "'x' should be a number"),
        ({"input": "a", "target": "(", "scorer": "regex"}, r"the pattern '\(' is wrong"),
        ({"input": "a", "target": {"type": 3}, "scorer": "json_schema"}, "JSON schema is wrong"),
        ({"input": "a", "target": [3], "scorer": "calls"}, "should have the form"),
        ({"input": "a", "target": "x", "choices": ["x", "y"], "scorer": "exact"}, "not for exact"),
        ({"prompt": "a", "target": "z", "choices": ["x", "y"]}, "'z' should be one of 'choices'"),
        ({"prompt": "a", "target": 2, "choices": ["x", "y"]}, "index from 0 to 1"),
        ({"input": "a", "target": 0, "choices": ["x", "y"]}, "needs 'prompt'"),
        ({"prompt": "a", "target": 0, "choices": ["x"]}, "two or more"),
        (
            {"input": "a", "target": None, "scorer": "exact"},
            r"the target \[None\] should be a text",
        ),
        ({"input": "a", "scorer": "valid_calls"}, "offers no 'tools'"),
        (
            {"input": "a", "target": "x", "scorer": {"type": "exact", "tolerance": 1}},
            "the scorer exact has no option 'tolerance'; it has extract, ignore_case",
        ),
        (
            {"input": "a", "target": 1, "scorer": {"type": "numeric", "tolerance": -1}},
            "scorer numeric: 'tolerance' is -1",
        ),
        (
            {"input": "a", "target": "x", "scorer": {"type": "exact", "extract": "("}},
            "the pattern",
        ),
    ],
)
def test_a_line_that_is_no_row_says_why(entry: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(entry)
