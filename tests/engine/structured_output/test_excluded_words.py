"""Words that must not stand in a value: texts without them, and schemas that keep them out."""

import random
import re

import pytest

from engine.errors import GrammarError
from engine.structured_output.excluded_words import exclude_words, pattern_without

WORDS = ("</p>", "<p=", "</f>", "<f=")


def test_the_pattern_takes_just_the_texts_without_the_words():
    pattern = re.compile(pattern_without(WORDS))
    draw = random.Random(1)
    num_with = 0
    for _ in range(20_000):
        text = "".join(draw.choice("</pf=>x") for _ in range(draw.randrange(10)))
        holds = any(word in text for word in WORDS)
        num_with += holds
        assert bool(pattern.match(text)) is not holds, text
    assert num_with > 100


def test_strings_and_free_names_get_the_pattern_and_constants_are_taken_out():
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "string", "pattern": "x"},
            "c": {"enum": ["<f=", "y"]},
            "d": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    }
    exclude_words(schema, WORDS)
    pattern = pattern_without(WORDS)
    inner = schema["properties"]
    assert inner["a"]["pattern"] == pattern
    assert inner["b"]["allOf"] == [{"pattern": pattern}]
    assert inner["c"]["enum"] == ["y"]
    assert inner["d"]["patternProperties"] == {pattern: {"type": "string", "pattern": pattern}}
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"const": "a</p>"}, "constant"),
        ({"enum": ["<p=1"]}, "'enum'"),
        ({"properties": {"<p=": {}}}, "'<p='"),
        ({"patternProperties": {"^.$": {}}}, "'patternProperties'"),
        ({"patternProperties": {"a": {}}}, "'patternProperties'"),
        ({"patternProperties": {"^[!-~]$": {}}}, "'patternProperties'"),
        ({"patternProperties": {"^[0-z]$": {}}}, "'patternProperties'"),
        ({"allOf": [{"properties": {}}, {"required": ["a"]}]}, "'allOf'"),
    ],
)
def test_what_cannot_be_kept_apart_is_refused(schema, words):
    with pytest.raises(GrammarError, match=re.escape(words)):
        exclude_words(schema, WORDS)


def test_names_of_letters_and_digits_may_have_a_pattern():
    schema = {"patternProperties": {"^[a-z_]{1,5}-?$": {}}, "additionalProperties": False}
    exclude_words(schema, WORDS)
    assert list(schema["patternProperties"]) == ["^[a-z_]{1,5}-?$"]
