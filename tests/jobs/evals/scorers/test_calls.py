"""Tool calls against expected ones and against their schemas."""

from typing import Any

import pytest

from jobs.evals.answer import Answer
from jobs.evals.rows import EvalRow
from jobs.evals.scoring import score
from tests.jobs.evals.builders import row

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "to": {"enum": ["a", "b"]}},
    "required": ["n"],
}
TOOLS = [{"type": "function", "function": {"name": "go", "parameters": SCHEMA}}]


def calling(*calls: tuple[str, Any]) -> EvalRow:
    made = [{"function": {"name": name, "arguments": arguments}} for name, arguments in calls]
    return row(scorer="calls", reference={"content": "", "tool_calls": made})


def reason(of: EvalRow, content: str = "", *calls: tuple[str, str]) -> str:
    return score(of, Answer(content, calls)).reason


def test_calls_are_compared_in_any_order() -> None:
    two = calling(("go", {"n": 1, "to": "a"}), ("go", {"n": 2}))
    first, second = ("go", '{"to": "a", "n": 1.0}'), ("go", '{"n": 2}')
    assert reason(two, "", second, first) == ""
    assert reason(two, "", first, first) == "wrong arguments"
    assert reason(two, "", first) == "1 calls, expected 2"
    assert reason(two, "", first, ("stay", "{}")) == "wrong tool"
    assert reason(two, "", first, ("go", "{")) == "malformed arguments"


def test_expected_arguments_may_be_json_text_as_openai_writes_them() -> None:
    assert reason(calling(("go", '{"n": 1}')), "", ("go", '{ "n": 1 }')) == ""


def test_no_call_wants_some_text_and_nothing_else() -> None:
    none = row(scorer="no_call")
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
    asked = row(scorer="valid_calls", request={"tools": TOOLS})
    assert reason(asked, "", call) == why
    assert reason(asked, "text") == "no call"
