"""Calls in each family's format: what the grammar lets through, the family's parser reads."""

import json

import pytest

from engine.errors import GrammarError
from engine.parsers.tools import tool_parser
from engine.structured_output.call_arguments import arguments_part
from engine.structured_output.factory import ThinkingRules
from engine.structured_output.grammar import json_part
from engine.structured_output.json_schema import COMPACT
from engine.structured_output.tool_formats import TOOL_FORMATS, ToolFormat, tool_format
from engine.structured_output.tool_grammar import CallRules, opens_with_token, tool_grammar
from tests.engine.structured_output.grammars import EOS, allowed, byte_tokenizer, factory, feed, ids

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTIONS = [{"name": "weather", "parameters": CITY}, {"name": "now"}]
TOKENS = byte_tokenizer().added_token_ids
CALLS = [("weather", {"city": "Genève"}), ("now", {})]
WHOLE = [name for name, form in TOOL_FORMATS.items() if form.parameters is None]
FORMS = (*(name for name in WHOLE if not TOOL_FORMATS[name].is_channelled), "mistral 11")


def form_of(name: str) -> tuple[str, ToolFormat]:
    family = name.split()[0]
    form = tool_format(family, {"[ARGS]": 1} if name == "mistral 11" else {})
    assert form is not None
    return family, form


def written(form: ToolFormat, calls) -> str:
    texts = [
        form.before_name
        + name
        + (":0" if form.is_numbered else "")
        + form.after_name
        + json.dumps(arguments, ensure_ascii=False)
        + form.after_arguments
        for name, arguments in calls
    ]
    return form.begin + form.separator.join(texts) + form.end


def build(form: ToolFormat, rules: CallRules, functions=FUNCTIONS):
    grammar = tool_grammar(form, functions, rules, TOKENS)
    return factory().build(grammar, [], ThinkingRules(is_off=True))


def refuses(constraint, text: str) -> bool:
    """Whether the text is left at some point."""
    for token_id in ids(text):
        now = allowed(constraint)
        if now is not None and token_id not in now:
            return True
        constraint.append(token_id)
    return False


@pytest.mark.parametrize("name", FORMS)
def test_one_call_and_several_are_accepted_and_read_back(name):
    family, form = form_of(name)
    for calls in (CALLS[:1], CALLS[1:], CALLS * 2):
        text = written(form, calls)
        constraint = build(form, CallRules(must_call=True))
        is_complete = feed(constraint, text)
        assert is_complete or EOS in (allowed(constraint) or ())
        read = tool_parser(family).parse(text, FUNCTIONS)
        assert read.error is None
        assert [(call.name, json.loads(call.arguments)) for call in read.calls] == calls


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    "calls", [[("other", {})], [("weather", {})], [("now", {"a": 1})], [("weather", {"city": 1})]]
)
def test_an_invalid_call_is_not_accepted(name, calls):
    _, form = form_of(name)
    assert refuses(build(form, CallRules(must_call=True)), written(form, calls))


@pytest.mark.parametrize("name", FORMS)
def test_without_parallel_calls_there_is_one(name):
    _, form = form_of(name)
    rules = CallRules(must_call=True, is_parallel=False)
    assert feed(build(form, rules), written(form, CALLS[:1]))
    assert refuses(build(form, rules), written(form, CALLS))


@pytest.mark.parametrize("name", FORMS)
def test_where_calls_may_be_made_text_is_free_and_a_call_is_valid(name):
    _, form = form_of(name)
    rules = CallRules(must_call=False)
    text = "Is it 5 o'clock (in Genève)?\n"
    constraint = build(form, rules)
    feed(constraint, text)
    assert EOS in (allowed(constraint) or ())
    feed(constraint, written(form, CALLS))
    assert EOS in (allowed(constraint) or ()) or constraint.error is None
    assert refuses(build(form, rules), text + written(form, [("weather", {"city": 1})]))
    assert refuses(build(form, rules), written(form, [("nobody", {})]))


@pytest.mark.parametrize("name", ["hermes", "mistral", "mistral 11"])
def test_an_answer_is_a_call_or_has_its_form(name):
    _, form = form_of(name)
    assert opens_with_token(form, TOKENS)
    answer = json_part({"type": "object", "properties": {"x": {"type": "null"}}}, COMPACT)
    rules = CallRules(must_call=False, answer=answer)
    feed(build(form, rules), written(form, CALLS))
    for text in ('{"x": null}', '{"name": "weather"}'):
        feed(build(form, rules), text)
    assert refuses(build(form, rules), "text")
    assert refuses(build(form, rules), '{"x": 1}')


def test_formats_without_a_token_of_their_own_are_known():
    assert not opens_with_token(TOOL_FORMATS["llama3_json"], TOKENS)
    assert not opens_with_token(TOOL_FORMATS["hermes"], {})


def test_a_marker_has_to_be_its_token():
    constraint = build(TOOL_FORMATS["hermes"], CallRules(must_call=True))
    assert allowed(constraint) == {TOKENS["<tool_call>"]}
    for token_id in ids("<tool_call>\n" + '{"name": "weather", "arguments": {"city": "'):
        constraint.append(token_id)
    now = allowed(constraint)
    assert now is not None
    assert ids("<")[0] in now
    assert not now & {TOKENS["<tool_call>"], TOKENS["</tool_call>"], TOKENS["</think>"]}


@pytest.mark.parametrize(
    ("parameters", "good", "bad"),
    [
        (None, "{}", '{"a": 1}'),
        ({}, "{}", '{"a": 1}'),
        ({"properties": {"a": {"type": "null"}}}, '{"a": null}', "[]"),
        ({"type": ["object", "null"]}, '{"a": 1}', "null"),
    ],
)
def test_arguments_are_an_object(parameters, good, bad):
    functions = [{"name": "f", "parameters": parameters}]
    before = '<tool_call>\n{"name": "f", "arguments": '
    rules = CallRules(must_call=True)
    feed(build(TOOL_FORMATS["hermes"], rules, functions), before + good + "}\n")
    assert refuses(build(TOOL_FORMATS["hermes"], rules, functions), before + bad + "}\n")


def test_parameters_that_are_no_object_are_refused():
    with pytest.raises(GrammarError, match="'array'"):
        arguments_part({"name": "f", "parameters": {"type": "array"}})


def test_schemas_of_several_functions_keep_their_definitions_apart():
    functions = [
        {
            "name": name,
            "parameters": {
                "type": "object",
                "$defs": {"x": {"const": name}},
                "properties": {"v": {"$ref": "#/$defs/x"}},
                "required": ["v"],
            },
        }
        for name in ("one", "two")
    ]
    form = TOOL_FORMATS["hermes"]
    for name in ("one", "two"):
        other = "two" if name == "one" else "one"
        rules = CallRules(must_call=True)
        feed(build(form, rules, functions), written(form, [(name, {"v": name})]))
        assert refuses(build(form, rules, functions), written(form, [(name, {"v": other})]))
