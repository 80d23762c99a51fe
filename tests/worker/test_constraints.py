"""What a chat request demands of its answer, and how each demand is refused."""

import pytest

from schemas.chat import parse_chat_request
from schemas.errors import ApiError
from schemas.supported import check_supported
from tests.engine.structured_output.grammars import (
    EOS,
    allowed,
    byte_tokenizer,
    factory,
    feed,
    ids,
)
from worker.constraints import Constrainer

START = byte_tokenizer().added_token_ids["<think>"]
CALL = byte_tokenizer().added_token_ids["<tool_call>"]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
BAD = {"type": "array", "uniqueItems": True}
NO_THINKING = {"chat_template_kwargs": {"enable_thinking": False}}


def tool(name="weather", parameters=CITY, **extra):
    return {"type": "function", "function": {"name": name, "parameters": parameters, **extra}}


def schema_format(schema, **extra):
    inner = {"name": "answer", "schema": schema, **extra}
    return {"response_format": {"type": "json_schema", "json_schema": inner}}


def constrain(parser="hermes", prompt="", **fields):
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}
    chat = parse_chat_request(body)
    check_supported(chat)
    new = Constrainer(factory(), parser).constrain(chat, ids(prompt))
    return None if new is None else new()


def call(arguments='{"city": "Paris"}', name="weather"):
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def refuses(constraint, text):
    for token_id in ids(text):
        now = allowed(constraint)
        if now is not None and token_id not in now:
            return True
        constraint.append(token_id)
    return False


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"response_format": {"type": "text"}},
        {"tools": [tool()]},
        {"tools": [tool()], "tool_choice": "none"},
        {"tools": [tool()], "tool_choice": "none", "parallel_tool_calls": False},
        {"guided_json_object": False},
        {"guided_decoding_backend": "xgrammar"},
    ],
)
def test_a_request_that_demands_nothing_has_no_constraint(fields):
    assert constrain(**fields) is None


@pytest.mark.parametrize(
    ("fields", "good", "bad"),
    [
        ({"response_format": {"type": "json_object"}}, '{"a": [1]}', "[1]"),
        (schema_format(CITY), '{"city": "Paris"}', '{"town": "Paris"}'),
        (schema_format(CITY, strict=True), '{"city": "Paris"}', "text"),
        (schema_format(CITY, strict=False), '{"city": "Paris"}', "text"),
        (schema_format(None), "{}", "[]"),
        ({"structured_outputs": {"json": CITY}}, '{"city": "x"}', "{}"),
        ({"structured_outputs": {"json": '{"type": "null"}'}}, "null", "1"),
        ({"structured_outputs": {"json_object": True}}, "{}", "1"),
        ({"structured_outputs": {"regex": "[ab]{2}"}}, "ab", "ac"),
        ({"structured_outputs": {"choice": ["yes", "no"]}}, "no", "nay"),
        ({"structured_outputs": {"grammar": 'root ::= "a" | "b"'}}, "b", "c"),
        (
            {"structured_outputs": {"json": CITY, "disable_any_whitespace": True}},
            '{"city":"x"}',
            '{"city": "x"}',
        ),
        (
            {"structured_outputs": {"json": CITY, "whitespace_pattern": "[ ]{1,9}"}},
            '{"city":         "x"}',
            '{\n"city": "x"}',
        ),
        (
            {
                "structured_outputs": {
                    "json": {"type": "object", "properties": {"a": {"type": "null"}}},
                    "disable_additional_properties": True,
                }
            },
            '{"a": null}',
            '{"b": 1}',
        ),
        ({"guided_json": CITY}, '{"city": "x"}', "{}"),
        ({"guided_json_object": True}, "{}", "1"),
        ({"guided_regex": "a+b"}, "aab", "b"),
        ({"guided_choice": ["yes"]}, "yes", "no"),
        ({"guided_grammar": 'start: "a"'}, "a", "b"),
        ({"guided_json": CITY, "guided_whitespace_pattern": "[ ]"}, '{"city": "x"}', "{\n"),
        (
            {**schema_format(CITY), "guided_whitespace_pattern": "[ ]{9}"},
            '{"city":         "x"}',
            '{"city": "x"}',
        ),
        (
            {"structured_outputs": {"json": CITY}, "guided_whitespace_pattern": ""},
            '{"city":"x"}',
            '{"city": "x"}',
        ),
        (
            {"structured_outputs": {"json": CITY, "whitespace_pattern": ""}},
            '{"city":"x"}',
            '{"city": "x"}',
        ),
        (
            {"tools": [tool()], **schema_format(CITY), "guided_whitespace_pattern": "[ ]{9}"},
            '{"city":         "x"}',
            '{"city": "x"}',
        ),
        ({"tools": [tool()], "tool_choice": "required"}, call(), "text"),
        ({"tools": [tool()], "tool_choice": "required"}, f"{call()}\n{call()}", call("{}")),
        (
            {"tools": [tool()], "tool_choice": "required", "parallel_tool_calls": False},
            call(),
            f"{call()}\n",
        ),
        (
            {
                "tools": [tool("other"), tool()],
                "tool_choice": {"type": "function", "function": {"name": "weather"}},
            },
            call(),
            call(name="other"),
        ),
        (
            {
                "tools": [tool("other"), tool()],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "required",
                        "tools": [{"type": "function", "function": {"name": "weather"}}],
                    },
                },
            },
            call(),
            call(name="other"),
        ),
        ({"tools": [tool(strict=True)]}, f"text{call()}", call("{}")),
        ({"tools": [tool(strict=True), tool("free")]}, call('{"x": 1}', "free"), call("{}")),
        ({"tools": [tool()], "parallel_tool_calls": False}, call("{}"), f"{call()}x"),
        ({"tools": [tool()], **schema_format(CITY)}, call(), "text"),
        ({"tools": [tool()], **schema_format(CITY)}, '{"city": "x"}', '{"town": "x"}'),
        ({"tools": [tool()], "tool_choice": "required", **schema_format(CITY)}, call(), "{"),
        ({"tools": [tool()], "tool_choice": "none", **schema_format(CITY)}, '{"city":"x"}', "<"),
    ],
)
def test_what_is_demanded_is_enforced(fields, good, bad):
    constraint = constrain(**fields, **NO_THINKING)
    assert feed(constraint, good) or EOS in (allowed(constraint) or ())
    assert refuses(constrain(**fields, **NO_THINKING), bad)


@pytest.mark.parametrize(
    ("fields", "code", "param", "words"),
    [
        (schema_format(BAD), None, "response_format", ["'answer'", "uniqueItems"]),
        (
            {"structured_outputs": {"json": BAD}},
            "invalid_value",
            "structured_outputs.json",
            ["uniqueItems"],
        ),
        (
            {"structured_outputs": {"json": "{"}},
            "invalid_value",
            "structured_outputs.json",
            ["JSON"],
        ),
        (
            {"structured_outputs": {"json": "3"}},
            "invalid_value",
            "structured_outputs.json",
            ["JSON"],
        ),
        ({"guided_json": BAD}, "invalid_value", "guided_json", ["'guided_json'", "uniqueItems"]),
        ({"guided_regex": "("}, "invalid_value", "guided_regex", ["unclosed"]),
        ({"guided_regex": r"(?=a)"}, "invalid_value", "guided_regex", ["look-around"]),
        ({"guided_grammar": "start: a"}, "invalid_value", "guided_grammar", ["a"]),
        ({"guided_choice": [""]}, "invalid_value", "guided_choice", ["nothing to choose"]),
        (
            {"tools": [tool("good"), tool("bad", BAD)], "tool_choice": "required"},
            "invalid_function_parameters",
            "tools[1].function.parameters",
            ["'bad'", "'array'"],
        ),
        (
            {
                "tools": [tool("good"), tool("bad", {"properties": {"a": BAD}})],
                "tool_choice": "required",
            },
            "invalid_function_parameters",
            "tools[1].function.parameters",
            ["'bad'", "uniqueItems"],
        ),
    ],
)
def test_what_cannot_be_enforced_is_refused_by_name(fields, code, param, words):
    with pytest.raises(ApiError) as caught:
        constrain(**fields)
    error = caught.value
    assert (error.status_code, error.code, error.param) == (400, code, param)
    assert all(word in error.message for word in words), error.message


def test_a_bad_schema_of_a_tool_that_may_be_called_freely_is_no_error():
    assert constrain(tools=[tool(parameters={"properties": {"a": BAD}})]) is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "weather"}}}, "tool_choice"),
        ({"tools": [tool("a"), tool(strict=True)]}, "tools[1].function.strict"),
        (schema_format(CITY), "response_format"),
    ],
)
def test_a_tokenizer_without_the_tokens_of_a_format_is_refused_by_name(fields, param):
    with pytest.raises(ApiError) as caught:
        constrain("openai", **{"tools": [tool()], **fields})
    error = caught.value
    assert (error.status_code, error.code, error.param) == (400, "unsupported_value", param)
    assert "'openai'" in error.message


def test_without_a_parser_the_message_says_what_to_do():
    with pytest.raises(ApiError, match="--tool-call-parser"):
        constrain(None, tools=[tool()], tool_choice="required")


def test_a_call_and_an_answer_that_begin_alike_are_refused_together():
    with pytest.raises(ApiError, match="can not be told from") as caught:
        constrain("llama3_json", tools=[tool()], **schema_format(CITY))
    assert caught.value.param == "response_format"


def test_a_thinking_budget_constrains_and_needs_markers():
    constraint = constrain(prompt="<think>", thinking_token_budget=0)
    assert allowed(constraint) == {byte_tokenizer().added_token_ids["</think>"]}
    assert constrain(prompt="x", thinking_token_budget=3) is not None


def test_a_grammar_lets_the_model_think_first_unless_thinking_is_off():
    fields = {"tools": [tool()], "tool_choice": "required"}
    assert allowed(constrain(**fields)) == {START, CALL}
    assert allowed(constrain(**fields, **NO_THINKING)) == {CALL}
    assert allowed(constrain(**fields, reasoning_effort="none")) == {CALL}


def test_every_choice_gets_a_constraint_of_its_own():
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "guided_choice": ["yes", "no"],
        **NO_THINKING,
    }
    new = Constrainer(factory()).constrain(parse_chat_request(body), [])
    assert new is not None
    first, second = new(), new()
    feed(first, "yes")
    feed(second, "no")
