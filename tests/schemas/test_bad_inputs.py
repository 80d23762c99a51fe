"""OpenAI's answers to bad requests, row by row.

The numbers are those of the list of bad inputs that this server's answers were decided by; where
OpenAI's own answer is not known, ours is 400 with a code. Rows that need a tokenizer are in
tests/worker/test_bad_inputs.py, those about routes and keys with the HTTP server.
"""

from typing import Any, NamedTuple

import pytest

from schemas.batch import BadLine, parse_batch_line
from schemas.chat import parse_chat_request
from schemas.errors import ApiError, model_not_found, unreadable_body
from schemas.json_text import parse_json
from tests.schemas.bodies import CALL, TOOL, USER, chat, talk


class Bad(NamedTuple):
    row: int
    what: str
    body: Any
    code: str | None
    param: str | None
    words: str = ""


NOT_JSON = "We could not parse the JSON body of your request."
MISSING, UNKNOWN = "missing_required_parameter", "unknown_parameter"
TYPE, VALUE = "invalid_type", "invalid_value"
LOW, HIGH = "integer_below_min_value", "integer_above_max_value"
UNDER, OVER = "decimal_below_min_value", "decimal_above_max_value"
FORMAT = "response_format"
NAMED = {"type": "function", "function": {"name": "g"}}


def message(**changes: Any) -> dict[str, Any]:
    return talk({**USER, **changes})


def schema(**json_schema: Any) -> dict[str, Any]:
    return chat(response_format={"type": "json_schema", **json_schema})


ROWS = (
    Bad(1, "not JSON", b"{", None, None, NOT_JSON),
    Bad(1, "empty", b"", None, None, NOT_JSON),
    Bad(1, "a list", b"[]", None, None, NOT_JSON),
    Bad(1, "a string", b'"x"', None, None, NOT_JSON),
    Bad(3, "NaN", b'{"temperature": NaN}', None, None, NOT_JSON),
    Bad(3, "Infinity", b'{"temperature": -Infinity}', None, None, NOT_JSON),
    Bad(3, "1e999", b'{"temperature": 1e999}', None, None, NOT_JSON),
    Bad(4, "no model", {"messages": [USER]}, None, None, "you must provide a model parameter"),
    Bad(4, "empty model", chat(model=""), None, None, "you must provide a model parameter"),
    Bad(6, "no messages", {"model": "m"}, MISSING, "messages", "Missing required parameter"),
    Bad(6, "null messages", chat(messages=None), MISSING, "messages"),
    Bad(7, "no message", talk(), "empty_array", "messages", "empty array"),
    Bad(8, "text for messages", chat(messages="x"), TYPE, "messages", "but got a string instead"),
    Bad(8, "text for a message", talk("x"), TYPE, "messages[0]", "expected an object"),
    Bad(9, "no role", talk({"content": "x"}), MISSING, "messages[0].role"),
    Bad(10, "unknown role", message(role="king"), VALUE, "messages[0].role", "'king'"),
    Bad(11, "content 5", message(content=5), TYPE, "messages[0].content", "an integer"),
    Bad(
        12, "unknown part", message(content=[{"type": "smell"}]), VALUE,
        "messages[0].content[0].type", "'smell'",
    ),
    Bad(
        13, "no call id", talk({"role": "tool", "content": ""}), MISSING,
        "messages[0].tool_call_id",
    ),
    Bad(
        13, "no call before", talk(USER, {"role": "tool", "tool_call_id": "a", "content": ""}),
        VALUE, "messages[1].role", "preceding",
    ),
    Bad(
        13, "another call",
        talk({"role": "assistant", "tool_calls": [CALL]},
             {"role": "tool", "tool_call_id": "zzz", "content": ""}),
        VALUE, "messages[1].tool_call_id", "'zzz'",
    ),
    Bad(14, "temperature 2.1", chat(temperature=2.1), OVER, "temperature", "<= 2, but got 2.1"),
    Bad(14, "temperature -0.1", chat(temperature=-0.1), UNDER, "temperature", "-0.1"),
    Bad(15, "temperature hot", chat(temperature="hot"), TYPE, "temperature", "a string"),
    Bad(16, "top_p 1.5", chat(top_p=1.5), OVER, "top_p"),
    Bad(16, "top_p -0.5", chat(top_p=-0.5), UNDER, "top_p"),
    Bad(17, "none to complete", chat(max_completion_tokens=0), LOW, "max_completion_tokens"),
    Bad(18, "max_tokens -5", chat(max_tokens=-5), LOW, "max_tokens"),
    Bad(18, "max_tokens 0", chat(max_tokens=0), LOW, "max_tokens"),
    Bad(19, "many tokens", chat(max_tokens="many"), TYPE, "max_tokens"),
    Bad(19, "3.5 tokens", chat(max_tokens=3.5), TYPE, "max_tokens", "a decimal number"),
    Bad(23, "n 0", chat(n=0), LOW, "n", "Expected a value >= 1, but got 0 instead."),
    Bad(23, "n 129", chat(n=129), HIGH, "n"),
    Bad(23, "n text", chat(n="2"), TYPE, "n", "expected an integer, but got a string"),
    Bad(24, "presence 3", chat(presence_penalty=3), OVER, "presence_penalty"),
    Bad(24, "frequency -3", chat(frequency_penalty=-3), UNDER, "frequency_penalty"),
    Bad(25, "five stops", chat(stop=list("abcde")), "array_above_max_length", "stop", "length 5"),
    Bad(25, "a number in stop", chat(stop=["a", 5]), TYPE, "stop[1]"),
    Bad(26, "empty stop", chat(stop=""), "empty_string", "stop"),
    Bad(26, "empty stop in a list", chat(stop=["a", ""]), "empty_string", "stop[1]"),
    Bad(27, "bias for a word", chat(logit_bias={"x": 1}), VALUE, "logit_bias", "'x'"),
    Bad(27, "a big bias", chat(logit_bias={"5": "big"}), TYPE, "logit_bias.5"),
    Bad(27, "bias 101", chat(logit_bias={"5": 101}), OVER, "logit_bias.5"),
    Bad(
        28, "top_logprobs alone", chat(top_logprobs=2), None, "top_logprobs",
        "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
    ),
    Bad(29, "top_logprobs -1", chat(logprobs=True, top_logprobs=-1), LOW, "top_logprobs"),
    Bad(
        29, "top_logprobs 21", chat(logprobs=True, top_logprobs=21), None, "top_logprobs",
        "must be less than or equal to 20",
    ),
    Bad(30, "seed 1.5", chat(seed=1.5), TYPE, "seed", "got a decimal number instead"),
    Bad(31, "stream maybe", chat(stream="maybe"), TYPE, "stream"),
    Bad(
        32, "options without a stream", chat(stream_options={"include_usage": True}), None,
        "stream_options", "only allowed when 'stream' is enabled",
    ),
    Bad(
        33, "unknown option", chat(stream=True, stream_options={"bogus": 1}), UNKNOWN,
        "stream_options.bogus",
    ),
    Bad(34, "unknown key", chat(zzz=1), UNKNOWN, "zzz", "Unknown parameter: 'zzz'."),
    Bad(35, "format json", chat(response_format="json"), TYPE, FORMAT),
    Bad(35, "empty format", chat(response_format={}), MISSING, f"{FORMAT}.type"),
    Bad(35, "format xml", chat(response_format={"type": "xml"}), VALUE, f"{FORMAT}.type", "'xml'"),
    Bad(36, "no schema", schema(), MISSING, f"{FORMAT}.json_schema"),
    Bad(36, "no name", schema(json_schema={"schema": {}}), MISSING, f"{FORMAT}.json_schema.name"),
    Bad(39, "no tool", chat(tools=[]), "empty_array", "tools"),
    Bad(39, "text for tools", chat(tools="x"), TYPE, "tools"),
    Bad(40, "no function", chat(tools=[{"type": "function"}]), MISSING, "tools[0].function"),
    Bad(
        40, "no name", chat(tools=[{"type": "function", "function": {}}]), MISSING,
        "tools[0].function.name",
    ),
    Bad(
        40, "blank name", chat(tools=[{"type": "function", "function": {"name": ""}}]),
        "empty_string", "tools[0].function.name",
    ),
    Bad(
        41, "a choice of none", chat(tool_choice="auto"), None, "tool_choice",
        "'tool_choice' is only allowed when 'tools' are specified.",
    ),
    Bad(42, "choice bogus", chat(tools=[TOOL], tool_choice="bogus"), VALUE, "tool_choice"),
    Bad(42, "choice 7", chat(tools=[TOOL], tool_choice=7), TYPE, "tool_choice"),
    Bad(43, "undeclared tool", chat(tools=[TOOL], tool_choice=NAMED), None, "function_call", "'g'"),
    Bad(44, "parallel without tools", chat(parallel_tool_calls=True), None, "parallel_tool_calls"),
    Bad(
        45, "17 pairs", chat(metadata={str(n): "" for n in range(17)}),
        "object_above_max_properties", "metadata",
    ),
    Bad(
        45, "long value", chat(metadata={"k": "x" * 600}), "string_above_max_length", "metadata.k",
        "maximum length 512, but got a string with length 600",
    ),
    Bad(
        45, "long key", chat(metadata={"k" * 70: ""}), "property_name_above_max_length", "metadata",
    ),
    Bad(45, "number", chat(metadata={"k": 1}), TYPE, "metadata.k"),
    Bad(46, "tier", chat(service_tier="gold"), VALUE, "service_tier"),
    Bad(46, "verbosity", chat(verbosity="loud"), VALUE, "verbosity"),
    Bad(46, "effort", chat(reasoning_effort="all"), "unsupported_value", "reasoning_effort"),
    Bad(
        47, "two constraints", chat(structured_outputs={"regex": "a", "grammar": "b"}), VALUE,
        "structured_outputs",
    ),
    Bad(47, "min over max", chat(min_tokens=5, max_tokens=4), VALUE, "min_tokens"),
    Bad(47, "repetition 0", chat(repetition_penalty=0), UNDER, "repetition_penalty"),
    Bad(47, "top_k -2", chat(top_k=-2), LOW, "top_k"),
    Bad(47, "min_p 2", chat(min_p=2), OVER, "min_p"),
    Bad(49, "deep", b"[" * 100_000, None, None, NOT_JSON),
    Bad(49, "deep and closed", b"[" * 100_000 + b"]" * 100_000, None, None, NOT_JSON),
    Bad(49, "10,000 digits", b'{"n": ' + b"9" * 10_000 + b"}", None, None),
)  # fmt: skip

ELSEWHERE = {
    2: "HTTP",
    5: "below",
    20: "worker: clamped",
    21: "worker: max_completion_tokens wins",
    22: "worker",
    37: "worker: compiling",
    38: "below: accepted",
    48: "HTTP",
    50: "HTTP",
}


def answer(body: Any) -> ApiError:
    """The refusal of a body, as bytes or already parsed."""
    if isinstance(body, bytes):
        try:
            body = parse_json(body)
        except ValueError as error:
            return unreadable_body(str(error))
    with pytest.raises(ApiError) as caught:
        parse_chat_request(body)
    return caught.value


@pytest.mark.parametrize("bad", ROWS, ids=lambda bad: f"{bad.row} {bad.what}")
def test_a_bad_request_is_answered_as_openai_does(bad: Bad) -> None:
    error = answer(bad.body)
    assert (error.status_code, error.type) == (400, "invalid_request_error")
    if bad.row == 49 and not bad.words:
        assert error.message  # a number that is only too long for Python is a bad body or a bad n
        return
    assert (error.code, error.param) == (bad.code, bad.param)
    assert bad.words in error.message
    assert set(error.body()["error"]) == {"message", "type", "param", "code"}
    assert len(error.message) < 1_000
    if bad.param is not None and bad.row != 43:  # OpenAI's param there names another parameter
        assert bad.param.rpartition(".")[2] in error.message


def test_every_row_is_here_or_somewhere_else() -> None:
    assert {bad.row for bad in ROWS} | set(ELSEWHERE) == set(range(1, 51))
    assert not {bad.row for bad in ROWS} & set(ELSEWHERE)


def test_row_5_an_unknown_model_is_404() -> None:
    error = model_not_found("x", ["m"])
    assert (error.status_code, error.code, error.param) == (404, "model_not_found", "model")
    assert "'x'" in error.message
    assert "'m'" in error.message


def test_row_38_json_object_needs_no_word_in_the_messages() -> None:
    request = parse_chat_request(chat(response_format={"type": "json_object"}))
    assert request.response_format is not None


def test_the_first_of_several_mistakes_is_told_in_openai_s_order() -> None:
    everything = {"zzz": 1, "temperature": 9, "n": 0, "messages": [], "top_logprobs": 1}
    order = [(None, None), (MISSING, "messages"), (UNKNOWN, "zzz"), ("empty_array", "messages")]
    order += [(LOW, "n"), (OVER, "temperature"), (None, "top_logprobs")]
    body: dict[str, Any] = {"zzz": 1}
    found = []
    for step in (
        {}, {"model": "m"}, {"messages": [], **everything}, {"zzz": None}, {"messages": [USER]},
        {"n": None}, {"temperature": None},
    ):  # fmt: skip
        body = {key: value for key, value in {**body, **step}.items() if value is not None}
        error = answer(body)
        found.append((error.code, error.param))
    assert found == order


# Rows 64 to 71: line, code, param
LINES = (
    (b"{", "invalid_json_line", None),
    (b'{"method":"POST","url":"/v1/chat/completions","body":{}}', MISSING, "custom_id"),
    (b'{"custom_id":"a","url":"/v1/chat/completions","body":{}}', MISSING, "method"),
    (b'{"custom_id":"a","method":"POST","body":{}}', MISSING, "url"),
    (b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions"}', MISSING, "body"),
    (b'{"custom_id":"a","method":"POST","url":"/v1/x","body":{}}', "invalid_url", "url"),
    (
        b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions",'
        b'"body":{"model":"m","messages":[],"stream":true}}',
        "streaming_unsupported",
        "body.stream",
    ),
)


@pytest.mark.parametrize(("line", "code", "param"), LINES)
def test_a_bad_line_is_reported_as_openai_does(line: bytes, code: str, param: str | None) -> None:
    with pytest.raises(BadLine) as caught:
        parse_batch_line(line)
    assert (caught.value.code, caught.value.param) == (code, param)
