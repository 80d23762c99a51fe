"""What the grammar libraries are compared on: ordinary schemas, features, hostile schemas."""

from typing import Any

__all__ = ["FEATURES", "HOSTILE", "SAMPLES"]

SAMPLES: list[tuple[Any, Any]] = [
    # A schema, and a value that it accepts.
    (
        {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 40},
                "unit": {"enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer", "minimum": 1, "maximum": 14},
            },
            "required": ["city", "unit", "days"],
            "additionalProperties": False,
        },
        {"city": "Reykjavik, near the harbour", "unit": "celsius", "days": 12},
    ),
    (
        {
            "$defs": {
                "node": {
                    "type": "object",
                    "properties": {
                        "name": {"type": "string"},
                        "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                    },
                    "required": ["name", "children"],
                    "additionalProperties": False,
                }
            },
            "$ref": "#/$defs/node",
        },
        {"name": "root", "children": [{"name": "leaf with a name", "children": []}]},
    ),
    (
        {"type": "object", "additionalProperties": {"type": ["string", "number", "null"]}},
        {"first key": "some text that goes on for a while", "second": -12.75, "third": None},
    ),
]
FEATURES: list[tuple[str, Any, str, str]] = [
    # Name, schema, a text that is valid, a text that is not.
    ("required", {"type": "object", "required": ["a"]}, '{"a":1}', "{}"),
    (
        "properties: escaped key",
        {"type": "object", "properties": {"a": {"type": "integer"}}},
        '{"a":1}',
        '{"\\u0061":"x"}',
    ),
    (
        "additionalProperties: false",
        {"type": "object", "additionalProperties": False},
        "{}",
        '{"a":1}',
    ),
    (
        "additionalProperties: schema",
        {"type": "object", "additionalProperties": {"type": "integer"}},
        '{"a":1}',
        '{"a":"x"}',
    ),
    (
        "patternProperties",
        {
            "type": "object",
            "patternProperties": {"^x": {"type": "integer"}},
            "additionalProperties": False,
        },
        '{"xa":1}',
        '{"b":1}',
    ),
    (
        "propertyNames",
        {"type": "object", "propertyNames": {"maxLength": 2}},
        '{"a":1}',
        '{"abc":1}',
    ),
    ("minProperties 2", {"type": "object", "minProperties": 2}, '{"a":1,"b":1}', '{"a":1}'),
    (
        "minProperties 2, a name twice",
        {"type": "object", "minProperties": 2},
        '{"a":1,"b":1}',
        '{"a":1,"a":1}',
    ),
    ("maxProperties 1", {"type": "object", "maxProperties": 1}, '{"a":1}', '{"a":1,"b":1}'),
    ("dependentRequired", {"type": "object", "dependentRequired": {"a": ["b"]}}, "{}", '{"a":1}'),
    ("enum, const", {"anyOf": [{"enum": ["é", 2]}, {"const": None}]}, '"é"', '"e"'),
    ("allOf", {"allOf": [{"type": "integer"}, {"minimum": 3}]}, "4", "2"),
    ("oneOf, disjoint", {"oneOf": [{"type": "integer"}, {"type": "string"}]}, "4", "null"),
    ("oneOf, overlapping", {"oneOf": [{"type": "integer"}, {"minimum": 3}]}, "1", "4"),
    ("not", {"type": "integer", "not": {"const": 3}}, "4", "3"),
    ("if / then", {"if": {"type": "string"}, "then": {"maxLength": 1}}, '"a"', '"abc"'),
    (
        "$ref, $anchor",
        {"$defs": {"t": {"$anchor": "x", "type": "null"}}, "$ref": "#x"},
        "null",
        "1",
    ),
    (
        "$ref with siblings",
        {"$defs": {"i": {"type": "integer"}}, "$ref": "#/$defs/i", "minimum": 3},
        "4",
        "2",
    ),
    ("pattern, unanchored", {"type": "string", "pattern": "b+"}, '"abc"', '"ac"'),
    (
        "pattern and maxLength",
        {"type": "string", "pattern": "^a+$", "maxLength": 2},
        '"aa"',
        '"aaa"',
    ),
    ("maxLength in characters", {"type": "string", "maxLength": 2}, '"éé"', '"ééé"'),
    ("format date", {"type": "string", "format": "date"}, '"2024-02-29"', '"yesterday"'),
    ("format ipv4", {"type": "string", "format": "ipv4"}, '"1.2.3.4"', '"1.2.3.400"'),
    ("minimum", {"type": "integer", "minimum": -3}, "-3", "-4"),
    ("number bounds", {"type": "number", "exclusiveMaximum": 0.5}, "0.25", "0.5"),
    ("multipleOf", {"type": "integer", "multipleOf": 7}, "21", "22"),
    ("minItems, maxItems", {"type": "array", "minItems": 1, "maxItems": 2}, "[1]", "[]"),
    (
        "prefixItems",
        {"type": "array", "prefixItems": [{"type": "null"}], "items": False},
        "[null]",
        "[1]",
    ),
    ("uniqueItems", {"type": "array", "uniqueItems": True}, "[1]", "[1,1]"),
    ("contains", {"type": "array", "contains": {"const": 1}}, "[1]", "[2]"),
]


def _chain(length: int) -> Any:
    defs: dict[str, Any] = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(length)}
    return {"$defs": defs | {f"d{length}": {"type": "null"}}, "$ref": "#/$defs/d0"}


def _doubling(depth: int) -> Any:
    defs: dict[str, Any] = {
        f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(depth)
    }
    return {"$defs": defs | {f"d{depth}": {"type": "null"}}, "$ref": "#/$defs/d0"}


def _pairs(count: int) -> Any:
    return {
        "type": "object",
        "allOf": [{"anyOf": [{"required": [f"{x}{i}"]} for x in "ab"]} for i in range(count)],
    }


HOSTILE: list[tuple[str, Any]] = [
    ("(a+)+$", {"type": "string", "pattern": "(a+)+$"}),
    ("a.{0,99} nested", {"type": "string", "pattern": "((a.{0,99}){1,99}b){1,99}"}),
    ("$ref chain of 500", _chain(500)),
    ("$ref chain of 20,000", _chain(20_000)),
    ("$ref to itself", {"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}),
    ("allOf doubling, 2^22", _doubling(22)),
    ("allOf of 16 anyOf, 2^16", _pairs(16)),
    ("enum of 50,000", {"enum": [f"value {i}" for i in range(50_000)]}),
    (
        "2,000 optional properties",
        {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(2000)}},
    ),
    ("maxItems 10^6", {"type": "array", "items": {"type": "null"}, "maxItems": 10**6}),
    ("maxLength 10^6", {"type": "string", "maxLength": 10**6}),
    ("multipleOf 999,983", {"type": "integer", "multipleOf": 999_983}),
]
