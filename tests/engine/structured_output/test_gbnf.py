import pytest

from engine.errors import GrammarError
from engine.structured_output.gbnf import (
    Alternatives,
    Characters,
    Name,
    Repeated,
    Row,
    is_gbnf,
    read_gbnf,
)


def root(text: str) -> object:
    return read_gbnf(f"root ::= {text}")["root"]


def of(characters: str, *, negated: bool = False) -> Characters:
    return Characters(tuple((ord(one), ord(one)) for one in characters), negated)


def test_a_text_with_a_rule_of_gbnf_is_gbnf():
    assert is_gbnf('# greetings\n  root ::= "a"')
    assert is_gbnf('start ::= "a"\nroot ::= start')
    assert not is_gbnf('start: "a"')
    assert not is_gbnf('?start: "::=" | b')


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r'"caf\u00e9cadre"', "cafécadre"),
        (r'"\x41\u00DF\U0001F600"', "Aß😀"),
        (r'"\n\r\t\"\\\[\]"', '\n\r\t"\\[]'),
        (r"[\u0400-\u04FF]", Characters(((0x400, 0x4FF),))),
        (r"[\u00e9ab]", of("éab")),
        (r'[^"\\\x7F\x00-\x1F]', Characters(((34, 34), (92, 92), (127, 127), (0, 31)), True)),
        (r"[a\-z]", of("a-z")),
        ("[-az]", of("-az")),
        ("[az-]", of("az-")),
        (r"[\]\[^]", of("][^")),
    ],
)
def test_escapes_and_ranges_stand_for_their_characters(written: str, meant: object):
    assert root(written) == meant


def test_repetitions_bind_to_the_part_before_them_and_rows_before_alternatives():
    assert root('"a" [b]* | c+ "d"?\nc ::= .{2,3} "e"{2} "f"{2,}') == Alternatives(
        (
            Row(("a", Repeated(of("b"), 0, None))),
            Row((Repeated(Name("c"), 1, None), Repeated("d", 0, 1))),
        )
    )
    assert root('( "a" | ) "b"') == Row((Alternatives(("a", Row(()))), "b"))


def test_line_ends_and_comments_stand_between_any_two_symbols():
    text = 'root ::= # first\n  "a" # then\n  | "b"\n\n# last\nother ::=\r\n  "c"'
    assert read_gbnf(text) == {"root": Alternatives(("a", "b")), "other": "c"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('other ::= "a"', "no rule named 'root'"),
        ("root ::= missing", "no rule named 'missing'"),
        ('root ::= ("a"', r"expected '\)', but found 'the end of the text'"),
        ('root ::= "a")', r"line 1: expected a rule, but found '\)'"),
        ('root ::= "a"\n  "b', "line 2: '\"b' is no symbol"),
        (r'root ::= "\q"', r"no escape '\\\\q'"),
        (r'root ::= "\ud800"', "is no character"),
        ("root ::= [z-a]", "ends before it begins"),
        ("root ::= []", "has no characters"),
        ('root ::= "a"{3,2}', "ends before it begins"),
    ],
)
def test_what_is_wrong_is_named(text: str, problem: str):
    with pytest.raises(GrammarError, match=problem):
        read_gbnf(text)
