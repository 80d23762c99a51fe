"""Answers in harmony that call functions: reasoning, preambles, one call, budgets."""

import json

import numpy as np
import pytest

from engine.parsers.answer import AnswerForm, AnswerParser
from engine.parsers.reasoning import reasoning_parser
from engine.parsers.tools import tool_parser
from engine.structured_output.factory import ThinkingRules
from engine.structured_output.grammar import json_part
from engine.structured_output.tool_formats import tool_format
from engine.structured_output.tool_grammar import CallRules, tool_grammar
from tests.engine.structured_output.grammars import EOS, bits, byte_tokenizer, family_factory

PARSER = tool_parser("openai")
TOKENIZER = byte_tokenizer(PARSER.syntax.markers)
TOKENS = TOKENIZER.added_token_ids
FUNCTIONS = [
    {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
    {"name": "now"},
]
ANALYSIS = "<|channel|>analysis<|message|>Hm <b>.<|end|><|start|>assistant"
PREAMBLE = "<|channel|>commentary<|message|>Wait.<|end|><|start|>assistant"
CALL = '<|channel|>commentary to=functions.weather <|constrain|>json<|message|>{"city": "Pa"}'
FINAL = "<|channel|>final<|message|>It is 5."


def build(rules, *, budget=None):
    grammar = tool_grammar(tool_format("openai", TOKENS), FUNCTIONS, rules, TOKENS)
    thinking = ThinkingRules(budget=budget, is_in_grammar=True)
    return family_factory(PARSER.syntax.markers).build(grammar, [], thinking)


def accepts(constraint, text):
    row = np.zeros(constraint.num_words, np.int32)
    for token_id in TOKENIZER.encode_prompt(text):
        assert constraint.fill(row, ())
        if token_id not in bits(row):
            return False
        if constraint.append(token_id):
            return True
    constraint.fill(row, ())
    return EOS in bits(row)


@pytest.mark.parametrize("text", [CALL, ANALYSIS + CALL, ANALYSIS + PREAMBLE + CALL])
def test_a_call_may_follow_reasoning_and_a_preamble_and_is_read(text):
    assert accepts(build(CallRules(must_call=True)), text)
    assert accepts(build(CallRules(must_call=True)), text + "<|call|>")
    parser = AnswerParser(TOKENIZER, tools=PARSER, reasoning=reasoning_parser("openai_gptoss"))
    answer = parser.parse(TOKENIZER.encode_prompt(text), AnswerForm(tools=FUNCTIONS))
    (call,) = answer.calls
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Pa"})
    assert answer.error is None
    assert answer.reasoning == ("Hm <b>." if ANALYSIS in text else None)


@pytest.mark.parametrize(
    "text",
    [
        FINAL,
        ANALYSIS + FINAL,
        "It is 5.",
        CALL.replace("weather", "other"),
        CALL.replace('"Pa"', "5"),
        CALL + CALL,
        ANALYSIS + ANALYSIS + CALL,
    ],
)
def test_an_answer_without_one_valid_call_is_not_let_through(text):
    assert not accepts(build(CallRules(must_call=True)), text)


def test_where_a_call_may_be_made_any_answer_in_channels_is_and_calls_are_valid():
    rules = CallRules(must_call=False)
    for text in (FINAL, ANALYSIS + FINAL, ANALYSIS + PREAMBLE + ANALYSIS + CALL):
        assert accepts(build(rules), text)
    assert not accepts(build(rules), CALL.replace('"Pa"', "5"))


def test_the_final_message_has_the_form_that_was_asked_for():
    rules = CallRules(must_call=False, answer=json_part({"type": "object"}))
    assert accepts(build(rules), ANALYSIS + "<|channel|>final<|message|>{}")
    assert accepts(build(rules), ANALYSIS + CALL)
    assert not accepts(build(rules), FINAL)


def test_without_thinking_there_is_no_analysis():
    rules = CallRules(must_call=True, may_think=False)
    assert accepts(build(rules), CALL)
    assert not accepts(build(rules), ANALYSIS + CALL)


def test_a_budget_ends_the_analysis():
    constraint = build(CallRules(must_call=True), budget=3)
    row = np.zeros(constraint.num_words, np.int32)
    for token_id in TOKENIZER.encode_prompt("<|channel|>analysis<|message|>xyz"):
        assert constraint.fill(row, ())
        assert token_id in bits(row)
        constraint.append(token_id)
    constraint.fill(row, ())
    assert bits(row) == {TOKENS["<|end|>"]}
    assert accepts(constraint, "<|end|><|start|>assistant" + CALL)


def test_a_budget_waits_for_the_end_of_a_character():
    constraint = build(CallRules(must_call=True), budget=1)
    first, *rest = TOKENIZER.encode_prompt("é")
    row = np.zeros(constraint.num_words, np.int32)
    for token_id in [*TOKENIZER.encode_prompt("<|channel|>analysis<|message|>"), first]:
        constraint.append(token_id)
    constraint.fill(row, ())
    assert TOKENS["<|end|>"] not in bits(row)
    for token_id in rest:
        constraint.append(token_id)
    constraint.fill(row, ())
    assert bits(row) == {TOKENS["<|end|>"]}


def test_a_tokenizer_without_the_markers_has_no_format():
    assert tool_format("openai", {}) is None
