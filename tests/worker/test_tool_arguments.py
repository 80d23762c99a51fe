"""Verdicts on arguments, also under schemas made to hurt."""

from time import monotonic
from typing import Any

import pytest

from engine.parsers.contract import ToolCall
from worker.tool_arguments import arguments_are_valid

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 1}, "days": {"type": "integer"}},
    "required": ["city"],
    "additionalProperties": False,
}


def verdict(schema: Any, *arguments: str) -> bool | None:
    calls = [ToolCall("f", text) for text in arguments]
    return arguments_are_valid(calls, [{"name": "f", "parameters": schema}])


@pytest.mark.parametrize(
    ("arguments", "is_valid"),
    [
        ('{"city": "Tokyo"}', True),
        ('{"city": "Tokyo", "days": 3}', True),
        ('{"city": "Tokyo", "days": "3"}', False),
        ('{"city": ""}', False),
        ("{}", False),
        ('{"city": "Tokyo", "x": 1}', False),
        ("[]", False),
        ("oops", False),
    ],
)
def test_the_verdict_follows_the_schema(arguments: str, is_valid: bool) -> None:
    assert verdict(CITY, arguments) is is_valid


def test_one_bad_call_is_enough() -> None:
    assert verdict(CITY, '{"city": "a"}', '{"city": "b"}') is True
    assert verdict(CITY, '{"city": "a"}', "{}") is False
    assert arguments_are_valid([], []) is None


def test_a_tool_without_parameters_takes_any_object() -> None:
    assert verdict(None, '{"a": 1}') is True
    assert arguments_are_valid([ToolCall("f", "{}")], [{"name": "f"}]) is True


@pytest.mark.parametrize(
    ("schema", "arguments", "is_valid"),
    [
        ({"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}},
         '{"a": "1"}', False),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"properties": {"c": {"$ref": "#/$defs/n"}},
          "required": ["v"]}}}, '{"v": 1, "c": {"v": 1, "c": {}}}', False),
        ({"properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}, '{"a": null}',
         True),
        ({"properties": {"a": {"enum": ["x", "y"]}}}, '{"a": "z"}', False),
        ({"properties": {"a": {"const": 1}}}, '{"a": 1}', True),
        ({"properties": {"a": {"pattern": "^[a-z]+$"}}}, '{"a": "A"}', False),
        ({"properties": {"a": {"pattern": "^\\p{L}+$"}}}, '{"a": "é"}', True),
        ({"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False},
         '{"x1": 1}', True),
        ({"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False},
         '{"y": 1}', False),
        ({"additionalProperties": {"type": "integer"}}, '{"y": "1"}', False),
        ({"properties": {"a": {"uniqueItems": True}}}, '{"a": [1, 1]}', False),
        ({"$schema": "http://json-schema.org/draft-07/schema#", "required": ["a"]}, "{}", False),
    ],
)  # fmt: skip
def test_keywords(schema: Any, arguments: str, is_valid: bool) -> None:
    assert verdict(schema, arguments) is is_valid


def _explosion(keyword: str) -> dict[str, Any]:
    levels = {f"d{i}": {keyword: [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)}
    return {"$defs": {**levels, "d40": keyword != "anyOf"}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ({"$ref": "#"}, "{}"),
        ({"allOf": [{"$ref": "#"}]}, "{}"),
        ({"$ref": "http://127.0.0.1:1/schema"}, "{}"),
        ({"$ref": "file:///etc/passwd"}, "{}"),
        (_explosion("anyOf"), "{}"),
        (_explosion("allOf"), "{}"),
        ({**_explosion("allOf"), "unevaluatedProperties": False}, '{"a": 1}'),
        ({"properties": {"a": {"pattern": r"^(\w+\s?)*$"}}}, '{"a": "' + "a" * 60 + '!"}'),
        ({"patternProperties": {r"^(\w+\s?)*$": {}}, "additionalProperties": False},
         '{"' + "a" * 60 + '!": 1}'),
        ({"properties": {"a": {"pattern": "("}}}, '{"a": "x"}'),
        ({"properties": 5}, '{"a": 1}'),
        ({"type": "nonsense"}, "{}"),
        ({"properties": {"a": {"minimum": "x"}}}, '{"a": 1}'),
        ({"properties": {"a": {"$schema": "http://json-schema.org/draft-07/schema#"}}},
         '{"a": 1}'),
        ({"properties": {"a": {"uniqueItems": True}}},
         '{"a": [' + ", ".join(f'{{"b": {i}}}' for i in range(2000)) + "]}"),
        ({"anyOf": [{"type": "string"}] * 60_000}, "{}"),
        ([], "{}"),
    ],
    ids=range(17),
)  # fmt: skip
def test_a_hostile_schema_gets_no_verdict_and_takes_no_time(schema: Any, arguments: str) -> None:
    start = monotonic()
    assert verdict(schema, arguments) in (None, False)
    assert monotonic() - start < 10


def test_a_schema_as_deep_as_the_stack_does_not_break_it() -> None:
    schema: dict[str, Any] = {}
    for _ in range(3000):
        schema = {"properties": {"a": schema}}
    arguments = '{"a":' * 900 + "{}" + "}" * 900
    assert verdict(schema, arguments) in (None, True)
