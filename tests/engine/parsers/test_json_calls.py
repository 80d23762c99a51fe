from typing import Any

import pytest

from engine.parsers.contract import ToolCall
from engine.parsers.json_calls import call_from, looks_like_call, read_calls, skip_space


@pytest.mark.parametrize(
    ("value", "arguments"),
    [
        ({"name": "f", "arguments": {"a": 1}}, '{"a": 1}'),
        ({"name": "f", "parameters": {"a": 1}}, '{"a": 1}'),
        ({"name": "f", "arguments": '{"a": 1}'}, '{"a": 1}'),
        ({"name": "f", "arguments": ""}, "{}"),
        ({"name": "f", "arguments": None}, "{}"),
        ({"type": "function", "function": {"name": "f", "arguments": {}}}, "{}"),
        ({"name": " f ", "arguments": {}}, "{}"),
        ({"id": "1", "name": "f", "arguments": {}}, "{}"),
    ],
)
def test_what_is_a_call(value: Any, arguments: str) -> None:
    assert call_from(value) == ToolCall("f", arguments)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "a JSON object"),
        ("f", "a JSON object"),
        ({}, "no name"),
        ({"name": "", "arguments": {}}, "no name"),
        ({"name": 5, "arguments": {}}, "no name"),
        ({"name": "\ud800", "arguments": {}}, "no name"),
        ({"name": "f"}, "no arguments"),
        ({"name": "f", "arguments": []}, "no JSON object"),
        ({"name": "f", "arguments": 1}, "no JSON object"),
        ({"name": "f", "arguments": "hello"}, "no JSON object"),
        ({"name": "f", "arguments": "[1]"}, "no JSON object"),
    ],
)
def test_what_is_none_and_why(value: Any, reason: str) -> None:
    assert reason in str(call_from(value))


ONE = '{"name": "f", "arguments": {}}'


@pytest.mark.parametrize(
    ("text", "num_calls", "rest", "failure"),
    [
        (f"{ONE} x", 1, " x", None),
        (f" [{ONE}] x", 1, " x", None),
        (f"[{ONE},\n{ONE}]", 2, "", None),
        (f"[{ONE} {ONE}]", 1, ONE + "]", "not complete"),
        (f"[{ONE}", 1, "", "not complete"),
        (f"[{ONE}, ", 1, "", "JSON object"),
        (f'[{ONE}, {{"na', 1, '{"na', "not valid JSON"),
        ("[]", 0, "[]", "empty"),
        ("[1]", 0, "1]", "JSON object"),
        ("", 0, "", "JSON object"),
        ("x", 0, "x", "JSON object"),
        ('{"a":' * 100_000, 0, '{"a":' * 100_000, "not valid JSON"),
    ],
)
def test_reading_calls_item_by_item(
    text: str, num_calls: int, rest: str, failure: str | None
) -> None:
    found = read_calls(text, 0)
    assert len(found.calls) == num_calls
    assert text[found.end :] == rest
    if failure is None:
        assert found.failure is None
    else:
        assert failure in (found.failure or "")


def test_an_item_that_is_no_call_is_told_apart() -> None:
    found = read_calls(f'[{ONE}, {{"a": 1}}, {ONE}]', 0)
    assert [item.call is not None for item in found.items] == [True, False, True]
    assert found.items[1].reason == "a call has no name"


def test_looking_ahead() -> None:
    assert looks_like_call(' [ {"name": "', 0)
    assert looks_like_call('x{"parameters":', 1)
    assert not looks_like_call('{"city": 1}', 0)
    assert skip_space("a \n b", 1) == 4
    assert skip_space("a", 1) == 1
