from typing import Any

import pytest

from engine.parsers.arguments import (
    JSON_ERRORS,
    argument_schema,
    arguments_json,
    read_json,
    read_json_at,
    schema_types,
    typed,
)


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("3", {"type": "integer"}, 3),
        (" 3\n", {"type": "integer"}, 3),
        ("3.0", {"type": "integer"}, 3),
        ("3.5", {"type": "integer"}, "3.5"),
        ("three", {"type": "integer"}, "three"),
        ("3.5", {"type": "number"}, 3.5),
        ("3", {"type": "number"}, 3),
        ("1e400", {"type": "number"}, "1e400"),
        ("3", {"type": "string"}, "3"),
        ("true", {"type": "boolean"}, True),
        ("False", {"type": "boolean"}, False),
        ("1", {"type": "boolean"}, "1"),
        ("null", {"type": ["string", "null"]}, None),
        ("null", {"type": "string"}, "null"),
        ('{"a": [1]}', {"type": "object"}, {"a": [1]}),
        ("[1, 2]", {"type": "array"}, [1, 2]),
        ("[1, 2", {"type": "array"}, "[1, 2"),
        ("7", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, 7),
        ("7", {"type": ["integer", "string"]}, 7),
        ("x", {"type": ["integer", "string"]}, "x"),
        ("7", {"enum": [1, 7]}, 7),
        ("7", {"enum": ["7"]}, "7"),
        ("7", {"const": 7}, 7),
        ("7", {"type": "int"}, 7),
        ("7", {}, "7"),
        ("7", None, "7"),
        ('"a"', {"type": "integer"}, "a"),
        (" a ", {"type": "string"}, " a "),
    ],
)
def test_typed(text: str, schema: dict[str, Any] | None, value: Any) -> None:
    result = typed(text, schema)
    assert result == value
    assert type(result) is type(value)


def test_typed_guesses_only_when_asked() -> None:
    assert typed("7", None, guess=True) == 7
    assert typed("seven", {}, guess=True) == "seven"
    assert typed("7", {"type": "string"}, guess=True) == "7"


@pytest.mark.parametrize("schema", [{"type": 5}, {"anyOf": 5}, {"enum": 5}, {"type": ["nope", 1]}])
def test_a_schema_that_makes_no_sense_leaves_a_string(schema: dict[str, Any]) -> None:
    assert schema_types(schema) == frozenset()
    assert typed("7", schema) == "7"


def test_argument_schema_follows_references() -> None:
    tools = [
        {
            "name": "f",
            "parameters": {
                "$defs": {"unit": {"type": "integer"}, "loop": {"$ref": "#/$defs/loop"}},
                "properties": {
                    "a": {"$ref": "#/$defs/unit"},
                    "b": {"anyOf": [{"$ref": "#/$defs/unit"}, {"type": "null"}]},
                    "c": {"$ref": "#/$defs/loop"},
                    "d": {"$ref": "http://example.com/x"},
                },
            },
        }
    ]
    types = {name: schema_types(argument_schema(tools, "f", name) or {}) for name in "abcd"}
    assert types == {"a": {"integer"}, "b": {"integer", "null"}, "c": set(), "d": set()}
    assert argument_schema(tools, "f", "zzz") is None
    assert argument_schema(tools, "g", "a") is None
    assert argument_schema([{"name": "f", "parameters": 5}], "f", "a") is None


def test_arguments_json_holds_any_character() -> None:
    text = arguments_json({"é": "東🎉", "half": "\ud800", "n": 1.5})
    assert text == '{"é": "東🎉", "half": "\\ud800", "n": 1.5}'
    assert read_json(text.encode().decode()) == {"é": "東🎉", "half": "\ud800", "n": 1.5}


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", "[" * 100_000, "9" * 5000, "", "{"])
def test_what_is_no_json_raises_what_is_promised(text: str) -> None:
    with pytest.raises(JSON_ERRORS):
        read_json(text)


def test_reading_in_the_middle() -> None:
    assert read_json_at('x \n{"a": 1} y', 1) == ({"a": 1}, 11)


def test_an_argument_that_is_not_declared_may_have_a_schema() -> None:
    def schema(additional: Any) -> Any:
        parameters = {
            "properties": {"a": {}},
            "additionalProperties": additional,
            "$defs": {"x": {"type": "null"}},
        }
        return argument_schema([{"name": "f", "parameters": parameters}], "f", "b")

    assert schema({"type": "integer"}) == {"type": "integer"}
    assert schema({"$ref": "#/$defs/x"}) == {"type": "null"}
    assert schema(True) is None
    assert schema(False) is None
