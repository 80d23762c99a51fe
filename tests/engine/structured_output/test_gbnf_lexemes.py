import itertools
import random
import re
import time

import pytest

from engine.errors import GrammarError
from engine.structured_output.gbnf import (
    Alternatives,
    Characters,
    Expression,
    Name,
    Repeated,
    Row,
    read_gbnf,
)
from engine.structured_output.gbnf_lexemes import lark_text
from engine.structured_output.grammar import grammar_part, grammar_text
from tests.engine.structured_output.grammars import factory, ids

JSON = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::=
  "{" ws (
    string ":" ws value
    ("," ws string ":" ws value)*
  )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws     ::= | " " | "\n" [ \t]{0,20}
"""
SUMS = r"""
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
"""


def accepts(grammar: str, text: str) -> bool:
    matcher, tokens = factory().compiler.matcher(grammar_text(grammar_part(grammar))), ids(text)
    if matcher.validate_tokens(tokens) < len(tokens):
        return False
    return bool(matcher.consume_tokens(tokens)) and bool(matcher.is_accepting())


@pytest.mark.parametrize(
    ("grammar", "good", "bad"),
    [
        (JSON, '{"a": [1, -2.5e3, "x\\u00e9 \\n é", true], "b": {}}\n', '{"a": 01}'),
        # Blanks behind a number may be line ends, and a line end has to follow.
        (SUMS, "a+1=2\n(b *3)=4\n", "a+=2\n"),
        ('root ::= [a-z]* "a"', "banana", "bananas"),
        ("root ::= [a-z]+ [a-z0-9]*", "ab1c2", "1ab"),
        (r'root ::= ("- " [^\r\n\u2028]+ "\n")+', "- a\n- é\n", "- a\n-b\n"),
        ('root ::= "(" root ")" | start\nstart ::= "z"', "((z))", "((z)"),
        (
            'root ::= foo-bar fooBar FOO-BAR\nfoo-bar ::= "a"\nfooBar ::= "b"\nFOO-BAR ::= "c"',
            "abc",
            "bac",
        ),
        (r'root ::= "caf\u00e9cadre"', "cafécadre", "caf\ue9cadre"),
        (r"root ::= [\u0400-\u04FF]+ .", "Да\n", "aa"),
        ('root ::= "to" | "tomato"', "tomato", "tom"),
        ('root ::= "" | "a"{2} "b"?', "aab", "a"),
    ],
)
def test_the_text_of_a_grammar_is_accepted_and_no_other(grammar: str, good: str, bad: str):
    assert accepts(grammar, good)
    assert not accepts(grammar, bad)


@pytest.mark.parametrize("seed", range(3))
def test_the_texts_of_random_grammars_are_accepted_but_for_a_few_and_no_others(seed: int):
    chance = random.Random(seed)
    texts = ["".join(text) for n in range(1, 4) for text in itertools.product("abc", repeat=n)]
    own = taken = 0
    for _ in range(12):
        grammar = f"root ::= {_random(chance, 3)}\nother ::= {_random(chance, 0)}"
        rules = read_gbnf(grammar)
        pattern = re.compile(_pattern(rules["root"], rules))
        for text in texts:
            is_own = pattern.fullmatch(text) is not None
            is_taken = accepts(grammar, text)
            assert is_own or not is_taken, (grammar, text)
            own, taken = own + is_own, taken + is_taken
    assert taken > 0.9 * own > 20


def _random(chance: random.Random, depth: int) -> str:
    if depth == 0 or chance.random() < 0.3:
        return chance.choice(['"a"', '"ab"', '"b"', "[ab]", "[^a]", '"abc"', "[a-c]", '""'])
    inner = [_random(chance, depth - 1) for _ in range(chance.choice([2, 2, 3]))]
    times = chance.choice(["*", "+", "?", "{1,2}", "{2}", "{0,}"])
    return chance.choice(
        [" ".join(inner), f"({' | '.join(inner)})", f"({inner[0]}){times}", "other"]
    )


def _pattern(part: Expression, rules: dict[str, Expression]) -> str:
    match part:
        case str():
            return re.escape(part)
        case Characters():
            ranges = "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in part.ranges)
            return f"[{'^' if part.negated else ''}{ranges}]"
        case Name():
            return _pattern(rules[part.name], rules)
        case Row():
            return "".join(f"(?:{_pattern(inner, rules)})" for inner in part.parts)
        case Alternatives():
            return "|".join(f"(?:{_pattern(inner, rules)})" for inner in part.parts)
        case Repeated():
            most = "" if part.most is None else part.most
            return f"(?:{_pattern(part.part, rules)}){{{part.least},{most}}}"


def test_what_ends_by_itself_is_one_lexeme_and_what_may_go_on_is_none():
    text = lark_text(read_gbnf(r'root ::= "\"" [^"]* "\"" ws ("yes" | "no")' + '\nws ::= " "*'))
    assert text.startswith("start: LEXEME_0\n")
    assert "LEXEME" not in lark_text(read_gbnf('root ::= number "1"\nnumber ::= [0-9]+'))


@pytest.mark.parametrize(
    "text",
    [
        "root ::= " + " ".join(f'"{chr(0x4E00 + number)}"?' for number in range(20_000)),
        "root ::= "
        + "a? " * 50_000
        + "\na ::= ["
        + "".join(map(chr, range(0x4E00, 0x6E00, 2)))
        + "]",
        "root ::= " + "(" * 100 + '"a"* ' * 20_000 + ")*" * 100,
        "\n" * 190_000 + "x",
    ],
    ids=["options", "classes", "nested", "lines"],
)
def test_a_long_text_is_read_in_time_that_grows_with_its_length(text: str):
    began = time.process_time()
    grammar_part(text)
    assert time.process_time() - began < 10


def test_rules_that_are_nested_too_deep_are_refused():
    with pytest.raises(GrammarError, match="nested too deep"):
        grammar_part("root ::= " + "(" * 90_000)
