"""Calls whose arguments stand one by one: what the grammar lets through is read back as meant, with
the family's tokens and with its tags spelled out."""

import json
import random

import jsonschema
import numpy as np
import pytest

from engine.errors import GrammarError
from engine.parsers.answer import AnswerForm, AnswerParser
from engine.parsers.tools import tool_parser
from engine.structured_output.factory import ThinkingRules
from engine.structured_output.tool_formats import TOOL_FORMATS, tool_format
from engine.structured_output.tool_grammar import CallRules, tool_grammar
from tests.engine.structured_output.grammars import EOS, bits, byte_tokenizer, family_factory

FAMILIES = sorted(name for name, form in TOOL_FORMATS.items() if form.parameters is not None)
TREE = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 40},
        "unit": {"enum": ["C", "F", "</parameter>", "</arg_value>", "<escape>"]},
        "day": {"type": "string", "format": "date"},
        "code": {"type": "string", "pattern": "^[A-Z]{2}-\\d{2}$"},
        "count": {"type": "integer", "minimum": 0, "maximum": 20},
        "share": {"type": "number"},
        "flag": {"type": "boolean"},
        "note": {"anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}]},
        "either": {"type": ["string", "integer"], "maxLength": 6},
        "mode": {"type": ["string", "null"], "enum": ["on", "off", None]},
        "kind": {"const": "plain"},
    },
    "required": ["text", "unit", "count", "note"],
    "additionalProperties": False,
}
LISTS = {
    "$defs": {"item": {"type": "object", "properties": {"n": {"type": "integer"}}}},
    "type": "object",
    "properties": {
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 3},
        "item": {"$ref": "#/$defs/item"},
        "map": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 2},
        "mixed": {"anyOf": [{"type": "string", "maxLength": 5}, {"$ref": "#/$defs/item"}]},
    },
    "required": ["tags", "item"],
    "additionalProperties": False,
}
FLAT = [{"name": "show", "parameters": TREE}, {"name": "show_more"}]
DEEP = [*FLAT, {"name": "put", "parameters": LISTS}]


def functions_of(family):
    return FLAT if family == "functiongemma" else DEEP


class Model:
    """A model that chooses among the allowed tokens by chance, ends of things more often."""

    def __init__(self, family, *, has_tokens):
        self.parser = tool_parser(family)
        markers = self.parser.syntax.markers if has_tokens else ()
        self.tokenizer = byte_tokenizer(markers)
        self.factory = family_factory(markers)
        self.tokens = self.tokenizer.added_token_ids
        self.form = tool_format(family, self.tokens)

    def constraint(self, functions, rules):
        grammar = tool_grammar(self.form, functions, rules, self.tokens)
        return self.factory.build(grammar, [], ThinkingRules(is_off=True))

    def answer(self, constraint, draw, *, max_tokens=600):
        """The ids of an answer, None if it has not ended."""
        row = np.zeros(constraint.num_words, np.int32)
        ids = []
        for _ in range(max_tokens):
            assert constraint.fill(row, ()), constraint.error
            allowed = sorted(bits(row))
            if draw.random() < 0.5:
                allowed = [item for item in allowed if self._ends(item)] or allowed
            ids.append(draw.choice(allowed))
            if ids[-1] == EOS:
                return ids[:-1]
            if constraint.append(ids[-1]):
                return ids
        return None

    def _ends(self, token_id):
        text = self.tokenizer.decode([token_id], skip_special_tokens=False)
        return token_id == EOS or text[:1] in '<}]")\n,'

    def read(self, ids, functions):
        parser = AnswerParser(self.tokenizer, tools=self.parser)
        return parser.parse(ids, AnswerForm(tools=functions))


def accepts(model, functions, text, *, must_call=True):
    constraint = model.constraint(functions, CallRules(must_call=must_call))
    row = np.zeros(constraint.num_words, np.int32)
    for token_id in model.tokenizer.encode_prompt(text):
        assert constraint.fill(row, ())
        if token_id not in bits(row):
            return False
        if constraint.append(token_id):
            return True
    constraint.fill(row, ())
    return EOS in bits(row)


@pytest.mark.parametrize("has_tokens", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_answer_of_a_random_model_is_valid_calls(family, has_tokens):
    model = Model(family, has_tokens=has_tokens)
    functions = functions_of(family)
    schemas = {item["name"]: item.get("parameters") or {} for item in functions}
    draw = random.Random(f"{family} {has_tokens}")
    num_ended = 0
    for _ in range(6):
        ids = model.answer(model.constraint(functions, CallRules(must_call=True)), draw)
        if ids is None:
            continue
        num_ended += 1
        answer = model.read(ids, functions)
        assert answer.calls, answer
        assert answer.error is None
        assert answer.content is None
        for call in answer.calls:
            arguments = json.loads(call.arguments)
            checker = jsonschema.FormatChecker()
            jsonschema.validate(arguments, schemas[call.name], format_checker=checker)
    assert num_ended >= 3


CALLS = [("show", {"text": "a <b> c", "unit": "F", "count": 3, "note": None, "mode": "on"})]
WRITTEN = {
    "deepseek_v32": (
        '<｜DSML｜function_calls>\n<｜DSML｜invoke name="show">\n'
        '<｜DSML｜parameter name="text" string="true">a <b> c</｜DSML｜parameter>\n'
        '<｜DSML｜parameter name="unit" string="true">F</｜DSML｜parameter>\n'
        '<｜DSML｜parameter name="count" string="false">3</｜DSML｜parameter>\n'
        '<｜DSML｜parameter name="note" string="true">null</｜DSML｜parameter>\n'
        '<｜DSML｜parameter name="mode" string="true">on</｜DSML｜parameter>\n'
        "</｜DSML｜invoke>\n</｜DSML｜function_calls>"
    ),
    "functiongemma": (
        "<start_function_call>call:show{text:<escape>a <b> c<escape>,unit:<escape>F<escape>,"
        "count:3,note:null,mode:<escape>on<escape>}<end_function_call>"
    ),
    "glm45": (
        "<tool_call>show\n<arg_key>text</arg_key>\n<arg_value>a <b> c</arg_value>\n"
        "<arg_key>unit</arg_key>\n<arg_value>F</arg_value>\n"
        "<arg_key>count</arg_key>\n<arg_value>3</arg_value>\n"
        "<arg_key>note</arg_key>\n<arg_value>null</arg_value>\n"
        "<arg_key>mode</arg_key>\n<arg_value>on</arg_value>\n</tool_call>"
    ),
    "glm47": (
        "<tool_call>show<arg_key>text</arg_key><arg_value>a <b> c</arg_value>"
        "<arg_key>unit</arg_key><arg_value>F</arg_value>"
        "<arg_key>count</arg_key><arg_value>3</arg_value>"
        "<arg_key>note</arg_key><arg_value>null</arg_value>"
        "<arg_key>mode</arg_key><arg_value>on</arg_value></tool_call>"
    ),
    "llama4_pythonic": (
        '<|python_start|>[show(text="a <b> c", unit="F", count=3, note=null, mode="on")]'
        "<|python_end|>"
    ),
    "minimax_m2": (
        '<minimax:tool_call>\n<invoke name="show">\n<parameter name="text">a <b> c</parameter>\n'
        '<parameter name="unit">F</parameter>\n<parameter name="count">3</parameter>\n'
        '<parameter name="note">null</parameter>\n<parameter name="mode">on</parameter>\n'
        "</invoke>\n</minimax:tool_call>"
    ),
    "pythonic": '[show(text="a <b> c", unit="F", count=3, note=null, mode="on")]',
    "qwen3_coder": (
        "<tool_call>\n<function=show>\n<parameter=text>\na <b> c\n</parameter>\n"
        "<parameter=unit>\nF\n</parameter>\n<parameter=count>\n3\n</parameter>\n"
        "<parameter=note>\nnull\n</parameter>\n<parameter=mode>\non\n</parameter>\n"
        "</function>\n</tool_call>"
    ),
    "seed_oss": (
        "<seed:tool_call>\n<function=show>\n<parameter=text>a <b> c</parameter>\n"
        "<parameter=unit>F</parameter>\n<parameter=count>3</parameter>\n"
        "<parameter=note>null</parameter>\n<parameter=mode>on</parameter>\n"
        "</function>\n</seed:tool_call>"
    ),
    "step3": (
        "<｜tool_calls_begin｜>\n<｜tool_call_begin｜>function<｜tool_sep｜>"
        '<steptml:invoke name="show">'
        '\n<steptml:parameter name="text">a <b> c</steptml:parameter>\n'
        '<steptml:parameter name="unit">F</steptml:parameter>\n'
        '<steptml:parameter name="count">3</steptml:parameter>\n'
        '<steptml:parameter name="note">null</steptml:parameter>\n'
        '<steptml:parameter name="mode">on</steptml:parameter>\n'
        "</steptml:invoke><｜tool_call_end｜>\n<｜tool_calls_end｜>"
    ),
}
WRITTEN["qwen3_xml"] = WRITTEN["qwen3_coder"]


@pytest.mark.parametrize("has_tokens", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_call_as_the_template_writes_it_is_accepted_and_read(family, has_tokens):
    model = Model(family, has_tokens=has_tokens)
    text = WRITTEN[family]
    if family == "llama4_pythonic" and not has_tokens:
        text = WRITTEN["pythonic"]
    assert accepts(model, functions_of(family), text)
    read = tool_parser(family).parse(text, functions_of(family))
    assert [(call.name, json.loads(call.arguments)) for call in read.calls] == CALLS
    for old, new in (("F", "K"), ("3", "21"), ("3", "x"), ("show", "shown"), ("text", "next")):
        assert not accepts(model, functions_of(family), text.replace(old, new, 1)), new


@pytest.mark.parametrize("family", FAMILIES)
def test_text_is_free_around_calls_that_may_be_made_and_a_call_is_valid(family):
    model = Model(family, has_tokens=True)
    text = "It's 5 < 6 [1] (see)\n"
    assert accepts(model, FLAT, text, must_call=False)
    written = WRITTEN[family]
    assert accepts(model, FLAT, text + written, must_call=False)
    assert not accepts(model, FLAT, text + written.replace("F", "K", 1), must_call=False)


@pytest.mark.parametrize(
    ("family", "text"),
    [
        ("qwen3_coder", "<function=show>\n<parameter=count>\nx\n</parameter>\n</function>"),
        ("minimax_m2", '<invoke name="show">\n</invoke>'),
        ("step3", '<steptml:invoke name="show">\n</steptml:invoke>'),
        ("pythonic", "[nobody(), show(count=99)]"),
        ("pythonic", "so: [show(count=99)]"),
    ],
)
def test_a_call_that_a_parser_would_find_in_text_is_not_free(family, text):
    model = Model(family, has_tokens=True)
    assert tool_parser(family).parse(text, FLAT).calls
    assert not accepts(model, FLAT, text, must_call=False)


def test_a_closing_tag_that_is_no_token_stands_in_no_text():
    model = Model("qwen3_coder", has_tokens=True)
    text = WRITTEN["qwen3_coder"].replace("a <b> c", "a </parameter> c")
    assert not accepts(model, DEEP, text)
    for inner, is_allowed in (("<b>", True), ("</parameter>", False)):
        put = (
            f'<tool_call>\n<function=put>\n<parameter=tags>\n["{inner}"]\n</parameter>\n'
            "<parameter=item>\n{}\n</parameter>\n</function>\n</tool_call>"
        )
        assert accepts(model, DEEP, put) is is_allowed


@pytest.mark.parametrize(
    ("family", "parameters", "words"),
    [
        ("qwen3_coder", {"properties": {"a": {"type": "string", "not": {}}}}, "'not'"),
        ("qwen3_coder", {"properties": {}, "patternProperties": {"a": {}}}, "'patternProperties'"),
        ("qwen3_coder", {"properties": {"a": {}}, "anyOf": [{"required": ["a"]}]}, "'anyOf'"),
        ("qwen3_coder", {"properties": {"a": {}}, "required": ["b"]}, "'b'"),
        ("qwen3_coder", {"properties": {"a": {}}, "minProperties": 1}, "'minProperties'"),
        ("qwen3_coder", {"properties": {"a": {"type": "str"}}}, "'str'"),
        ("qwen3_coder", {"properties": {"a": {"type": "string", "format": "iri"}}}, "'iri'"),
        ("qwen3_coder", {"properties": {"a<b": {}}, "required": ["a<b"]}, "'a<b'"),
        ("qwen3_coder", {"properties": {"a": {"$ref": "#/properties/b/x"}}}, "leads to no schema"),
        (
            "glm45",
            {"properties": {"a": {"type": ["string", "integer"], "minimum": 3}}},
            "'minimum'",
        ),
        ("pythonic", {"properties": {"a-b": {}}, "required": ["a-b"]}, "'a-b'"),
        ("functiongemma", {"properties": {"a": {"type": "array"}}, "required": ["a"]}, "'a'"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_by_name(family, parameters, words):
    model = Model(family, has_tokens=True)
    function = {"name": "f", "parameters": {"type": "object", **parameters}}
    with pytest.raises(GrammarError, match=words):
        model.constraint([function], CallRules(must_call=True))


def test_an_optional_argument_that_cannot_be_written_is_left_out():
    model = Model("pythonic", has_tokens=True)
    parameters = {"type": "object", "properties": {"a-b": {}, "c": {"type": "integer"}}}
    functions = [{"name": "f", "parameters": parameters}]
    assert accepts(model, functions, "[f(c=1)]")
    assert accepts(model, functions, "[f()]")
    with pytest.raises(GrammarError, match="'get-it'"):
        model.constraint([{"name": "get-it"}], CallRules(must_call=True))


def test_optional_lists_and_objects_are_left_out_where_only_scalars_can_be_written():
    model = Model("functiongemma", has_tokens=True)
    properties = {"c": {"type": "string"}, "a": {"type": "array"}, "b": {"type": "object"}}
    parameters = {"type": "object", "properties": properties, "required": ["c"]}
    text = "<start_function_call>call:f{c:<escape>x<escape>%s}<end_function_call>"
    functions = [{"name": "f", "parameters": parameters}]
    assert accepts(model, functions, text % "")
    assert not accepts(model, functions, text % ",a:[]")


def test_a_function_that_declares_nothing_takes_any_arguments_of_their_type():
    model = Model("qwen3_coder", has_tokens=True)
    for additional, good, bad in ((True, "x y", None), ({"type": "integer"}, "12", "x")):
        parameters = {"type": "object", "additionalProperties": additional}
        functions = [{"name": "f", "parameters": parameters}]
        text = "<tool_call>\n<function=f>\n<parameter=any>\n{}\n</parameter>\n</function>\n"
        assert accepts(model, functions, text.format(good) + "</tool_call>")
        (call,) = tool_parser("qwen3_coder").parse(text.format(good), functions).calls
        jsonschema.validate(json.loads(call.arguments), parameters)
        assert bad is None or not accepts(model, functions, text.format(bad) + "</tool_call>")


def test_numbered_calls_have_a_number():
    model = Model("kimi_k2", has_tokens=True)
    text = (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.show_more:{}"
        "<|tool_call_argument_begin|>{{}}<|tool_call_end|><|tool_calls_section_end|>"
    )
    assert accepts(model, FLAT, text.format(12))
    assert not accepts(model, FLAT, text.format(""))
    assert not accepts(model, FLAT, text.format("01"))


def test_a_word_of_python_may_name_an_argument():
    model = Model("pythonic", has_tokens=True)
    parameters = {"type": "object", "properties": {"from": {"type": "integer"}, "in": {}}}
    functions = [{"name": "f", "parameters": parameters}]
    assert accepts(model, functions, "[f(from=1, in=true)]")
    (call,) = tool_parser("pythonic").parse("[f(from=1, in=true)]", functions).calls
    assert json.loads(call.arguments) == {"from": 1, "in": True}
