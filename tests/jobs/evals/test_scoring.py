"""Verdicts: what counts as right, and why an answer is wrong."""

from typing import Any

import pytest

from jobs.evals.rows import EvalRow, Scorer
from jobs.evals.scoring import Answer, interval, score

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "to": {"enum": ["a", "b"]}},
    "required": ["n"],
}
TOOLS = [{"type": "function", "function": {"name": "go", "parameters": SCHEMA}}]


def row(scorer: Scorer, reference: dict[str, Any] | None = None, **body: Any) -> EvalRow:
    return EvalRow("1", "task", scorer, body, reference or {})


def calling(*calls: tuple[str, dict[str, Any]]) -> EvalRow:
    made = [{"function": {"name": name, "arguments": arguments}} for name, arguments in calls]
    return row(Scorer.CALLS, {"content": "", "tool_calls": made})


def reason(of: EvalRow, content: str = "", *calls: tuple[str, str]) -> str:
    verdict = score(of, Answer(content, calls))
    assert verdict.right == (verdict.reason == "")
    return verdict.reason


def test_text_is_compared_without_a_final_stop() -> None:
    expected = row(Scorer.TEXT, {"content": "Yes."})
    assert reason(expected, " Yes ") == ""
    assert reason(expected, "Yes, indeed") == "wrong text"
    assert reason(expected, "Yes.", ("go", "{}")) == "a call, expected text"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('{"b": [1, true], "a": 1.0}', ""),
        ('{"a": 1, "b": [1, 1]}', "wrong value"),
        ('{"a": 1, "b": [1, true]} ok', "not JSON"),
        ("", "not JSON"),
    ],
)
def test_json_is_compared_as_a_value(said: str, why: str) -> None:
    assert reason(row(Scorer.JSON, {"content": '{"a": 1, "b": [1, true]}'}), said) == why


def test_calls_are_compared_in_any_order() -> None:
    two = calling(("go", {"n": 1, "to": "a"}), ("go", {"n": 2}))
    first, second = ("go", '{"to": "a", "n": 1.0}'), ("go", '{"n": 2}')
    assert reason(two, "", second, first) == ""
    assert reason(two, "", first, first) == "wrong arguments"
    assert reason(two, "", first) == "1 calls, expected 2"
    assert reason(two, "", first, ("stay", "{}")) == "wrong tool"
    assert reason(two, "", first, ("go", "{")) == "malformed arguments"


def test_no_call_wants_some_text_and_nothing_else() -> None:
    none = row(Scorer.NO_CALL)
    assert reason(none, "I cannot.") == ""
    assert reason(none, "  ") == "empty answer"
    assert reason(none, "", ("go", "{}")) == "1 calls, expected none"


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (("go", '{"n": 3, "to": "b"}'), ""),
        (("go", '{"n": "3"}'), "bad arguments"),
        (("go", '{"n": true}'), "bad arguments"),
        (("go", "[]"), "bad arguments"),
        (("go", "{"), "malformed arguments"),
        (("fly", "{}"), "unknown tool"),
    ],
)
def test_calls_without_a_reference_must_fit_their_tools(call: tuple[str, str], why: str) -> None:
    assert reason(row(Scorer.VALID_CALLS, tools=TOOLS), "", call) == why
    assert reason(row(Scorer.VALID_CALLS, tools=TOOLS), "text") == "no call"


def test_interval_is_wilsons() -> None:
    low, high = interval(95, 100)
    assert (low, high) == pytest.approx((0.8882, 0.9785), abs=1e-3)
    assert interval(0, 0) == (0.0, 1.0)
