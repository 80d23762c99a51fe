from typing import Any

import pyarrow as pa
import pytest

from jobs.errors import TableSettingError
from jobs.tables.answer_types import answer_type

TEXT = pa.string()


def objects(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, TEXT),
        ({"type": "integer"}, pa.int64()),
        ({"type": "number"}, pa.float64()),
        ({"type": "boolean"}, pa.bool_()),
        ({"type": ["integer", "null"]}, pa.int64()),
        ({"type": ["integer", "number"]}, pa.float64()),
        ({"type": "array", "items": {"type": "integer"}}, pa.list_(pa.int64())),
        ({"enum": ["a", "b", None]}, TEXT),
        ({"enum": [1, 2]}, pa.int64()),
        ({"enum": [1, 2.5]}, pa.float64()),
        ({"const": True}, pa.bool_()),
        ({"type": "string", "enum": ["a"]}, TEXT),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, pa.int64()),
        ({"oneOf": [{"type": "integer"}, {"type": "integer", "minimum": 3}]}, pa.int64()),
        (
            {"type": "object", "additionalProperties": {"type": "number"}},
            pa.map_(TEXT, pa.float64()),
        ),
        (
            {"type": "array", "prefixItems": [{"type": "integer"}] * 2, "items": False},
            pa.list_(pa.int64()),
        ),
        (objects(a={"type": "string"}), pa.struct([("a", TEXT)])),
        (
            objects(a={"type": "array", "items": objects(b={"type": "boolean"})}),
            pa.struct([("a", pa.list_(pa.struct([("b", pa.bool_())])))]),
        ),
        (
            {**objects(a={"type": "string"}), "anyOf": [{"required": ["a"]}]},
            pa.struct([("a", TEXT)]),
        ),
        (
            {"allOf": [objects(a={"type": "string"}), objects(b={"type": "integer"})]},
            pa.struct([("a", TEXT), ("b", pa.int64())]),
        ),
        ({"allOf": [{"type": "integer"}], "description": "a count"}, pa.int64()),
        (
            {"$defs": {"n": {"type": "integer"}}, **objects(a={"$ref": "#/$defs/n"})},
            pa.struct([("a", pa.int64())]),
        ),
        (
            {
                "$schema": "http://json-schema.org/draft-07/schema#",
                "definitions": {"n": {"type": "integer"}},
                **objects(a={"$ref": "#/definitions/n"}),
            },
            pa.struct([("a", pa.int64())]),
        ),
    ],
)
def test_the_arrow_type_of_a_schema(schema: dict[str, Any], expected: Any) -> None:
    assert answer_type(schema).arrow == expected


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": ["string", "integer"]},
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        {"enum": ["a", 1]},
    ],
)
def test_what_has_no_one_type_is_json_text(schema: dict[str, Any]) -> None:
    kind = answer_type(objects(a=schema))
    assert kind.arrow == pa.struct([("a", TEXT)])
    value = kind.of({"a": {"b": [1, "é"]}})
    assert pa.array([value], kind.arrow).to_pylist() == [{"a": '{"b":[1,"é"]}'}]


def test_a_type_that_contains_itself_is_json_text_where_it_does() -> None:
    node = objects(value={"type": "integer"}, next={"$ref": "#"})
    kind = answer_type(node)
    assert kind.arrow == pa.struct([("value", pa.int64()), ("next", TEXT)])
    value = kind.of({"value": 1, "next": {"value": 2}})
    assert pa.array([value], kind.arrow).to_pylist() == [{"value": 1, "next": '{"value":2}'}]


def test_maps_lists_and_nulls_are_converted() -> None:
    kind = answer_type(
        objects(
            m={"type": "object", "additionalProperties": {"type": ["string", "array"]}},
            l={"type": "array"},
            s={"type": "array", "items": {"type": "object"}},
        )
    )
    value = kind.of({"m": {"a": [1]}, "l": [1, "b"], "s": None})
    (row,) = pa.array([value], kind.arrow).to_pylist()
    assert row == {"m": [("a", "[1]")], "l": ["1", '"b"'], "s": None}
    assert kind.of(None) is None


@pytest.mark.parametrize("value", [[], "x", 3])
def test_a_value_of_another_kind_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="is not an object"):
        answer_type(objects(a={"type": "string"})).of(value)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "objekt"}, "is not a JSON schema: at /type: 'objekt'"),
        ({"properties": 3}, "is not a JSON schema: at /properties"),
        ({"$ref": "#/nowhere"}, "which is nowhere in it"),
        (objects(a={"$ref": "http://example.com/s.json"}), "which is nowhere in it"),
    ],
)
def test_what_is_no_schema_is_refused(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(TableSettingError, match=r"answer\.json .*" + reason):
        answer_type(schema, name="answer.json")
