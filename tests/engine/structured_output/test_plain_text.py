"""Texts without quotes: formats, lengths and patterns let through what validators take."""

import random
import re

import jsonschema
import pytest

from engine.errors import GrammarError
from engine.structured_output.factory import ThinkingRules
from engine.structured_output.grammar import grammar_text
from engine.structured_output.plain_text import FORMATS, PlainText
from tests.engine.structured_output.grammars import EOS, allowed, factory, ids

GOOD = {
    "date": "2024-02-29",
    "date-time": "2024-02-29T23:59:59.5+02:00",
    "duration": "P1DT2H",
    "email": "a.b+c@example.org",
    "hostname": "www.example.org",
    "ipv4": "192.168.0.255",
    "ipv6": "::1",
    "time": "07:30:00Z",
    "uri": "https://example.org/a?b=c#d",
    "uuid": "6F9619FF-8B86-D011-B42D-00CF4FC964FF",
}
BAD = {
    "date": "2023-02-29",
    "date-time": "2024-02-29 23:59:59Z",
    "duration": "1D",
    "email": "a@@b",
    "hostname": "-a",
    "ipv4": "1.2.3.256",
    "ipv6": "1::2::3",
    "time": "24:00:00Z",
    "uri": "no uri",
    "uuid": "6F9619FF",
}


def matches(text_rule, text):
    lark = f"start: V\nV: {text_rule.terminal()}\n"
    grammar = grammar_text({"name": "top", "lark_grammar": lark})
    constraint = factory().build(grammar, [], ThinkingRules(is_off=True))
    for token_id in ids(text):
        if token_id not in (allowed(constraint) or ()):
            return False
        constraint.append(token_id)
    return constraint.error is None and (EOS in (allowed(constraint) or {EOS}))


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name):
    assert matches(PlainText(format=name), GOOD[name])
    assert not matches(PlainText(format=name), BAD[name])
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    assert checker.conforms(GOOD[name], name)


def test_dates_are_in_the_calendar():
    import datetime

    draw = random.Random(3)
    pattern = re.compile(FORMATS["date"])
    for _ in range(5_000):
        text = f"{draw.randrange(10_000):04}-{draw.randrange(14):02}-{draw.randrange(33):02}"
        try:
            datetime.date.fromisoformat(text)
            is_date = True
        except ValueError:
            is_date = False
        assert bool(pattern.fullmatch(text)) is is_date, text


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (PlainText(literals=("a", "a b", "")), ["a", "a b"], ["b"]),
        (PlainText(min_length=2, max_length=3), ["éé", "a\nb"], ["a", "abcd"]),
        (PlainText(pattern="^[ab]+$", max_length=2), ["ab"], ["abb", "c"]),
        (PlainText(literals=("ab", "cd"), pattern="^c"), ["cd"], ["ab"]),
    ],
)
def test_bounds_hold_together(rule, good, bad):
    assert all(matches(rule, text) for text in good)
    assert not any(matches(rule, text) for text in bad)


def test_a_format_that_has_no_expression_is_refused_by_name():
    with pytest.raises(GrammarError, match="'iri'"):
        PlainText(format="iri").terminal()
