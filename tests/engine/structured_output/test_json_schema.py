"""What is refused by name, what is left out, what stays as it is."""

import pytest

from engine.errors import GrammarError
from engine.structured_output.factory import ThinkingRules
from engine.structured_output.grammar import grammar_text, json_part
from engine.structured_output.json_schema import COMPACT, FLEXIBLE, JsonStyle, prepare_schema
from tests.engine.structured_output.grammars import EOS, allowed, factory, ids

REFUSED = {
    "not": {"type": "integer", "not": {"const": 3}},
    "if": {"if": {"type": "string"}, "then": {"maxLength": 3}},
    "uniqueItems": {"type": "array", "uniqueItems": True},
    "contains": {"type": "array", "contains": {"const": 1}},
    "propertyNames": {"type": "object", "propertyNames": {"maxLength": 3}},
    "dependentRequired": {"type": "object", "dependentRequired": {"a": ["b"]}},
    "unevaluatedProperties": {"type": "object", "unevaluatedProperties": False},
    "oneOf": {"oneOf": [{"type": "integer"}, {"minimum": 3}]},
    "minProperties": {"type": "object", "minProperties": 2},
    "dependencies": {"type": "object", "dependencies": {"a": ["b"]}},
    "regex": {"type": "string", "format": "regex"},
    "look-around": {"type": "string", "pattern": "^(?=a)b"},
    "strng": {"type": "strng"},
    "http://example.com": {"$ref": "http://example.com/schema.json"},
}


def accepts(schema, text: str, style: JsonStyle = FLEXIBLE) -> bool:
    """Whether the text, and nothing that begins with it, may be the answer."""
    grammar = grammar_text(json_part(schema, style))
    constraint = factory().build(grammar, [], ThinkingRules())
    is_complete = False
    for token_id in ids(text):
        if is_complete or token_id not in (allowed(constraint) or ()):
            return False
        is_complete = constraint.append(token_id)
    return is_complete or EOS in (allowed(constraint) or ())


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_enforced_is_refused_by_name(name):
    nested = {"type": "object", "properties": {"a": {"type": "array", "items": REFUSED[name]}}}
    for schema in (REFUSED[name], nested):
        with pytest.raises(GrammarError, match=name):
            accepts(schema, "1")


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, '{"a": 1}', '{"a": "x"}'),
        # The same name, spelled with an escape, would slip past the property's schema.
        ({"properties": {"a": {"type": "integer"}}}, '{"b": "x"}', '{"\\u0061": "x"}'),
        ({"type": "object", "required": ["a"]}, '{"a": null}', "{}"),
        ({"type": "object", "minProperties": 1}, '{"a": 1}', "{}"),
        ({"type": "object", "minProperties": 2, "required": ["a", "b"]}, '{"a":1,"b":2}', "{}"),
        ({"enum": ["é", "a\tb", 2, None]}, '"é"', '"e"'),
        ({"const": {"a": [1, None]}}, '{"a": [1, null]}', '{"a": [1]}'),
        ({"type": "string", "maxLength": 2}, '"éé"', '"ééé"'),
        ({"type": "string", "pattern": "b+"}, '"abc"', '"ac"'),
        ({"type": "integer", "minimum": -3, "maximum": 12}, "-3", "13"),
        ({"type": "integer", "multipleOf": 7}, "21", "22"),
        ({"type": "number", "exclusiveMaximum": 0.5}, "0.25", "0.5"),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 2}, "[null]", "[null,null,null]"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "null", "true"),
        ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, "4", "2"),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, '"x"', "null"),
        ({"$defs": {"x": {"type": "null"}}, "$ref": "#/$defs/x"}, "null", "1"),
        ({"$defs": {"x": {"$anchor": "y", "type": "null"}}, "$ref": "#y"}, "null", "1"),
        ({"$defs": {"List<都 x>": {"type": "null"}}, "$ref": "#/$defs/List<都 x>"}, "null", "1"),
        ({"$defs": {"a b": {"type": "null"}}, "$ref": "#/$defs/a%20b"}, "null", "1"),
        ({"type": "string", "format": "date"}, '"2024-02-29"', '"today"'),
        ({"type": "string", "format": "ipv4"}, '"1.2.3.4"', '"1.2.3.400"'),
        ({"type": "object", "additionalProperties": {"type": "null"}}, '{"a":null}', '{"a":1}'),
    ],
)
def test_keywords_are_enforced(schema, good, bad):
    assert accepts(schema, good)
    assert not accepts(schema, bad)


def test_a_marker_in_a_string_is_spelled_with_ordinary_tokens():
    grammar = grammar_text(json_part({"enum": ["</tool_call>", "</tool_call>z"]}))
    constraint = factory().build(grammar, [], ThinkingRules())
    for character in '"</tool_call>':
        (token_id,) = ids(character)
        assert token_id in (allowed(constraint) or ())
        assert not constraint.append(token_id)
    assert set(ids('z"')) <= (allowed(constraint) or set())


def test_formats_that_json_schema_does_not_define_are_annotations():
    assert accepts({"type": "string", "format": "int32"}, '"x"')
    assert accepts({"type": "string", "format": 5}, '"x"')
    # A property called format is no keyword.
    assert accepts(
        {"properties": {"format": {"type": "null"}}, "type": "object"}, '{"format":null}'
    )
    assert not accepts(
        {"properties": {"format": {"type": "null"}}, "type": "object"}, '{"format":1}'
    )


def test_a_schema_cannot_bring_options_of_the_library():
    lenient = {"x-guidance": {"lenient": True}, "type": "array", "uniqueItems": True}
    with pytest.raises(GrammarError, match="uniqueItems"):
        accepts(lenient, "[]")


def test_data_is_not_taken_for_schemas():
    value = {"not": 1, "properties": [], "format": "x", "minProperties": 9}
    for keyword in ("const", "default", "examples"):
        schema = {"type": "string", keyword: value}
        assert prepare_schema(schema)[keyword] == value


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({}, "{}"),
        ({"type": "object"}, '{{"a": {}}}'),
        ({"type": "array"}, "[[{}]]"),
        ({"type": "number"}, "{}"),
        ({"type": ["integer", "null"]}, "{}"),
        ({"type": "object", "properties": {"a": True}}, '{{"a": [{}]}}'),
        ({"type": "object", "properties": {"a": {"description": "x"}}}, '{{"a": {}}}'),
        ({"definitions": {"x": {"type": "array"}}, "$ref": "#/definitions/x"}, "[{}]"),
    ],
)
def test_numbers_have_an_end_wherever_they_stand(schema, place):
    assert accepts(schema, place.format(12))
    assert accepts(schema, place.format(-(10**18)))
    for number in ("1e999", "1" * 20):
        assert not accepts(schema, place.format(number))


def test_numbers_that_a_schema_names_or_bounds_are_as_it_says():
    assert accepts({"const": 10**30}, "1" + "0" * 30)
    assert accepts({"type": "integer", "minimum": 5}, "5")
    assert not accepts({"type": "integer", "minimum": 5}, "4")
    assert accepts({"type": "number", "exclusiveMaximum": 0}, "-0.5")


@pytest.mark.parametrize("ending", ["", "T10:00:00Z"])
def test_dates_are_in_the_calendar(ending):
    schema = {"type": "string", "format": "date-time" if ending else "date"}
    for date in ("0001-12-31", "2024-02-29", "2000-02-29", "2023-02-28", "1999-10-30"):
        assert accepts(schema, f'"{date}{ending}"')
        assert accepts({**schema, "pattern": "-"}, f'"{date}{ending}"')
    for date in ("0000-02-05", "2202-02-29", "1900-02-29", "2023-02-30", "2023-04-31"):
        assert not accepts(schema, f'"{date}{ending}"')
        assert not accepts({**schema, "pattern": "-"}, f'"{date}{ending}"')


def test_what_is_merged_is_left_to_the_library_and_the_rest_is_not():
    named = {"type": "object", "properties": {"k": {"type": "object"}}}
    schema = {
        "$defs": {"named base": named, "free": {"type": "array"}},
        "type": "object",
        "properties": {
            "merged": {"allOf": [{"$ref": "#/$defs/named base"}, {"type": "object"}]},
            "free": {"$ref": "#/$defs/free"},
        },
        "additionalProperties": False,
    }
    assert accepts(schema, '{"merged": {"k": {"a": 1}, "b": [2]}, "free": [3]}')
    assert not accepts(schema, '{"merged": {"k": 1}}')
    assert not accepts(schema, '{"free": [1e999]}')
    either = {
        "type": "object",
        "properties": {"k": {"type": "string"}},
        "anyOf": [{"required": ["k"]}, {"required": ["z"]}],
    }
    assert accepts(either, '{"z": 1}')
    assert not accepts(either, "{}")


def test_the_given_schema_is_not_changed():
    schema = {"type": "string", "format": "int32", "x-guidance": {}}
    prepare_schema(schema)
    assert schema == {"type": "string", "format": "int32", "x-guidance": {}}


def test_white_space_is_allowed_and_has_an_end():
    schema = {"type": "object", "properties": {"a": {"type": "array"}}, "required": ["a"]}
    assert accepts(schema, '{\n    "a": [\n        1\n    ]\n}')
    assert accepts(schema, '{"a":[1]}')
    assert not accepts(schema, '{"a":' + " " * 5 + "[1]}")
    assert not accepts(schema, '{"a":\n\n[1]}')
    assert accepts(schema, '{"a": [1, 2]}', COMPACT)
    assert not accepts(schema, '{"a":\n[1]}', COMPACT)


def test_a_style_can_close_objects():
    style = JsonStyle(closes_objects=True)
    schema = {"type": "object", "properties": {"a": {"type": "null"}}}
    assert accepts(schema, '{"b":1}')
    assert not accepts(schema, '{"b":1}', style)
    assert accepts({**schema, "additionalProperties": True}, '{"b":1}', style)


@pytest.mark.parametrize(
    "schema",
    [{"type": "object", "properties": {"a": 5}}, {"anyOf": ["x"]}, {"items": "x"}],
)
def test_what_is_no_schema_is_refused(schema):
    with pytest.raises(GrammarError, match=r"is not a schema"):
        prepare_schema(schema)
