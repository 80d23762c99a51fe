import json
from typing import Any

import pytest

from engine.parsers.contract import ToolCall
from engine.parsers.parameters import Parameter, call_with, declared_names

PROPERTIES = {"a": {"type": "integer"}, "b": {"type": "object"}}
TOOLS: list[dict[str, Any]] = [
    {"name": "f", "parameters": {"properties": PROPERTIES}},
    {"name": "g", "parameters": None},
    {"name": "h", "parameters": {"properties": 3}},
    {},
]  # fmt: skip


def arguments(*parameters: Parameter, function: str = "f", wrappers: tuple[str, ...] = ()) -> Any:
    call = call_with(function, parameters, TOOLS, wrappers=wrappers)
    assert isinstance(call, ToolCall)
    assert call.name == function
    return json.loads(call.arguments)


def test_arguments_keep_their_order_and_the_last_value() -> None:
    given = [Parameter("z", "1"), Parameter("a", "1"), Parameter("z", "2")]
    assert list(arguments(*given).items()) == [("z", "2"), ("a", 1)]


@pytest.mark.parametrize("function", ["g", "h", "unknown"])
def test_without_a_schema_a_value_is_a_string_unless_it_may_be_guessed(function: str) -> None:
    given = [Parameter("a", "[1]"), Parameter("b", "[1]", guess=True), Parameter("c", "x", True)]
    assert arguments(*given, function=function) == {"a": "[1]", "b": [1], "c": "x"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{'x': None}", {"x": None}),
        ("\"{'x': 1}\"", {"x": 1}),
        ('"{\\"x\\": 1}"', {"x": 1}),
        (r"{\"x\": \"C:\\\\y\"}", {"x": "C:\\y"}),
        ("""{"x": 'y'}""", {"x": "y"}),
        ("['x']", "['x']"),
        ("{'x': y}", "{'x': y}"),
        ("x", "x"),
        ("", ""),
    ],
)
def test_an_object_may_be_written_as_python_prints_it(text: str, value: Any) -> None:
    assert arguments(Parameter("b", text)) == {"b": value}


def test_a_wrapper_is_taken_off_only_if_the_tool_knows_what_is_in_it() -> None:
    wrapped = Parameter("arguments", '{"a": 1}', guess=True)
    assert arguments(wrapped, wrappers=("arguments",)) == {"a": 1}
    assert arguments(wrapped) == {"arguments": {"a": 1}}
    assert arguments(wrapped, wrappers=("input",)) == {"arguments": {"a": 1}}
    assert arguments(wrapped, function="g", wrappers=("arguments",)) == {"arguments": {"a": 1}}
    stranger = Parameter("arguments", '{"z": 1}', guess=True)
    assert arguments(stranger, wrappers=("arguments",)) == {"arguments": {"z": 1}}


def test_a_value_that_is_nested_too_deep_is_no_reason_to_raise() -> None:
    for depth in range(900, 1010):
        text = "[" * depth + "]" * depth
        call = call_with("x", [Parameter("a", text, guess=True)], TOOLS)
        assert isinstance(call, ToolCall) or "too deep" in call


def test_declared_names() -> None:
    assert declared_names(TOOLS, "f") == {"a", "b"}
    assert declared_names(TOOLS, "g") == declared_names(TOOLS, "h") == frozenset()
    assert declared_names([], "f") == frozenset()
