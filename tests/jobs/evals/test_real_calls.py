"""Counting valid calls where no reference answer is known."""

import pytest

from jobs.evals.real_calls import allowed, verdict

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "unit": {"type": "string", "enum": ["c", "f"]},
        "days": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["city"],
}
BODY = {"tools": [{"type": "function", "function": {"name": "w", "parameters": SCHEMA}}]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"city": "x"}, True),
        ({"city": "x", "unit": "c", "days": [1, 2]}, True),
        ({"unit": "c"}, False),
        ({"city": 3}, False),
        ({"city": "x", "unit": "k"}, False),
        ({"city": "x", "days": [True]}, False),
        ({"city": "x", "days": ["1"]}, False),
        ({"city": "x", "other": 1}, False),
    ],
)
def test_values_are_checked_against_the_schema(value: object, expected: bool) -> None:
    assert allowed(value, SCHEMA) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('<tool_call>{"name": "w", "arguments": {"city": "x"}}</tool_call>', "valid"),
        (
            '<think>\na\n</think>\n<tool_call>{"name": "w", "arguments": {}}</tool_call>',
            "bad arguments",
        ),
        ('<tool_call>{"name": "v", "arguments": {"city": "x"}}</tool_call>', "unknown tool"),
        ('<tool_call>{"name": "w", "arguments": "x"}</tool_call>', "bad arguments"),
        ("<tool_call>{</tool_call>", "malformed"),
        ("Hello", "no call"),
    ],
)
def test_each_answer_gets_one_verdict(text: str, expected: str) -> None:
    assert verdict(BODY, text) == expected
