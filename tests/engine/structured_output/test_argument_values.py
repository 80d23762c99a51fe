"""What one argument may be: texts, other plain values, JSON."""

from typing import Any

import pytest

from engine.errors import GrammarError
from engine.parsers.parameters import Parameter, call_with
from engine.structured_output.argument_values import argument_values
from engine.structured_output.plain_text import PlainText


def values(schema: Any, **root: Any) -> Any:
    parameters = {"type": "object", "properties": {"a": schema}, **root}
    return argument_values({"name": "f", "parameters": parameters}, "a")


@pytest.mark.parametrize(
    ("schema", "texts", "num_others", "schemas"),
    [
        ({"type": "string", "maxLength": 3}, [PlainText(max_length=3)], 0, []),
        ({}, [PlainText()], 0, []),
        (True, [PlainText()], 0, []),
        ({"type": "integer"}, [], 0, [{"type": "integer"}]),
        ({"const": "x"}, [PlainText(("x",))], 0, []),
        ({"enum": ["x", None, 2, {"b": 1}]}, [PlainText(("x",))], 3, []),
        ({"type": ["string", "null"], "enum": ["x", None, 2]}, [PlainText(("x",))], 1, []),
        ({"type": ["string", "boolean"]}, [PlainText()], 1, []),
        (
            {"anyOf": [{"type": "string"}, {"type": "array"}]},
            [PlainText()],
            0,
            [{"type": "array"}],
        ),
        ({"allOf": [{"type": "string", "minLength": 2}]}, [PlainText(min_length=2)], 0, []),
        ({"type": "string", "format": "password"}, [PlainText()], 0, []),
    ],
)
def test_a_schema_is_split_by_how_its_values_are_written(
    schema: Any, texts: list[PlainText], num_others: int, schemas: list[Any]
) -> None:
    found = values(schema)
    assert found.texts == texts
    assert len(found.others) == num_others
    assert found.schemas == schemas


def test_references_bring_their_definitions() -> None:
    definitions = {"x": {"type": "object", "properties": {"y": {"$ref": "#/$defs/x"}}}}
    found = values({"$ref": "#/$defs/x"}, **{"$defs": definitions})
    assert found.schemas == [{"$ref": "#/$defs/x", "$defs": definitions}]


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string", "not": {}}, "'not'"),
        ({"type": "string", "allOf": [{}, {}]}, "'allOf'"),
        ({"type": "string", "anyOf": [{"type": "string"}]}, "beside 'anyOf'"),
        ({"oneOf": [{"type": "string"}, {"type": "string"}]}, "'oneOf'"),
        ({"anyOf": [{"type": "string"}, {}]}, "no type"),
        ({"type": ["string", "number"], "maximum": 3}, "'maximum'"),
        ({"type": "string", "maxLength": -1}, "'maxLength'"),
        ({"type": "string", "pattern": 5}, "'pattern'"),
        ({"$ref": "#/$defs/none"}, "leads to no schema"),
        ({"$ref": "#/$defs/x", "minLength": 3}, "beside '\\$ref'"),
        ({"type": "array", "items": {"$ref": "#/properties/a"}}, "references lead into"),
        (False, "no value"),
    ],
)
def test_what_cannot_be_told_apart_is_refused_by_name(schema: Any, words: str) -> None:
    with pytest.raises(GrammarError, match=words):
        values(schema, **{"$defs": {"x": {"type": "string"}}})


@pytest.mark.parametrize("text", ["null", " None ", "5", "-1.5e3", "true", "{}", '[1, "x"]'])
def test_a_reader_takes_such_texts_for_other_types(text: str) -> None:
    """That is why they are left out of the strings beside those types."""
    schema = {"type": ["string", "null", "number", "boolean", "object", "array"]}
    tools = [{"name": "f", "parameters": {"properties": {"a": schema}}}]
    call = call_with("f", [Parameter("a", text)], tools)
    assert f'"{text}"' not in getattr(call, "arguments")  # noqa: B009 - it may be a reason
