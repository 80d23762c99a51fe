"""Pieces of Lark grammars: tokens, terminals and parts."""

import json

from engine.structured_output.grammar import json_part
from engine.structured_output.lark_text import LarkText

TOKENS = {"<call>": 7, "</call>": 8, "<": 9, "<call><more>": 10}


def test_markers_are_tokens_the_longest_first_and_single_signs_are_text() -> None:
    lark = LarkText(TOKENS)
    assert lark.literal('a<call>"\n</call>') == '"a" <[7]> "\\"\\n" <[8]>'
    assert lark.literal("<call><more>") == "<[10]>"
    assert lark.literal("a < b") == '"a < b"'
    assert lark.literal("") == ""


def test_words_that_hold_a_token_cannot_be_spelled_by_mistake() -> None:
    assert LarkText(TOKENS).written(["<call>", "x</call>", "</value>"]) == ("</value>",)


def test_a_text_and_its_end_are_one_terminal_unless_a_token_ends_it() -> None:
    lark = LarkText(TOKENS)
    assert lark.ended("/a/", "</v>\n") == "TERMINAL_0"
    assert lark.ended("/a/", "</call>\n") == 'TERMINAL_1 <[8]> "\\n"'
    assert lark.ended("/a/", "</v><call>") == "TERMINAL_2 <[7]>"
    assert lark.ended("/a/", "") == "TERMINAL_1"
    top = json.loads(lark.grammar(["start: TERMINAL_0"]))["grammars"][0]["lark_grammar"]
    assert top.splitlines()[:2] == ["start: TERMINAL_0", 'TERMINAL_0: (/a/) "</v>\\n"']


def test_parts_are_grammars_with_names() -> None:
    lark = LarkText({})
    assert lark.part(json_part({"type": "null"})) == "@part_0"
    grammars = json.loads(lark.grammar(["start: @part_0"]))["grammars"]
    assert [grammar["name"] for grammar in grammars] == ["top", "part_0"]
