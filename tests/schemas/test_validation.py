import copy
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.chat import ChatCompletionRequest, parse_chat_request
from schemas.errors import ApiError
from schemas.strict import StrictModel
from schemas.supported import check_supported
from schemas.validation import api_error
from tests.schemas.bodies import CALL, TOOL, USER

KNOWN_CODES = {
    None,
    "array_above_max_length",
    "decimal_above_max_value",
    "decimal_below_min_value",
    "empty_array",
    "empty_string",
    "integer_above_max_value",
    "integer_below_min_value",
    "invalid_type",
    "invalid_value",
    "missing_required_parameter",
    "object_above_max_properties",
    "property_name_above_max_length",
    "string_above_max_length",
    "unknown_parameter",
    "unsupported_parameter",
    "unsupported_value",
}
FOREIGN_WORDS = re.compile(
    r"pydantic|tagged|discriminat|validator|literal\[|function-|\[key\]|Input"
)

RICH = {
    "model": "demo",
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "s"}]},
        {"role": "developer", "content": "d", "name": "n"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "t"},
                {"type": "image_url", "image_url": {"url": "u", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
                {"type": "file", "file": {"file_id": "f"}},
            ],
        },
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "x", "tool_call_id": "call_1"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        {"role": "function", "content": "x", "name": "f"},
        USER,
    ],
    "tools": [TOOL, {"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}}],
    "tool_choice": {
        "type": "allowed_tools",
        "allowed_tools": {
            "mode": "auto",
            "tools": [{"type": "function", "function": {"name": "f"}}],
        },
    },
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": []}}},
    "stop": ["a", "b"],
    "logit_bias": {"5": 1},
    "metadata": {"k": "v"},
    "stream": True,
    "stream_options": {"include_usage": True},
    "prediction": {"type": "content", "content": [{"type": "text", "text": "x"}]},
    "audio": {"voice": {"id": "x"}, "format": "wav"},
    "modalities": ["text"],
    "chat_template_kwargs": {"a": 1},
    "documents": [{"a": 1}],
    "stop_token_ids": [1],
}

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**320)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["role", "user", "function", "text", "type", "[key]", "auto"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=3)
            | st.sampled_from(["role", "content", "type", "text", "user", "str"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


def answer_to(body):
    """The error that the client gets, None for a request that runs."""
    try:
        request = parse_chat_request(body)
        request.template_messages()
        assert request.template_tools is None or request.tools
        check_supported(request)
    except ApiError as error:
        return error
    return None


def assert_answered(body):
    """Whatever the body, it is a request or an error that a client can read."""
    error = answer_to(body)
    if error is not None:
        assert error.status_code == 400
        assert error.code in KNOWN_CODES
        assert not FOREIGN_WORDS.search(error.message.replace("'[key]'", ""))
        json.dumps(error.body(), ensure_ascii=False).encode()


def paths(value, prefix=()):
    """Every place in a JSON value."""
    yield prefix
    if isinstance(value, dict | list):
        children = value.items() if isinstance(value, dict) else enumerate(value)
        for step, child in children:
            yield from paths(child, (*prefix, step))


def replaced(body, path, value):
    body = copy.deepcopy(body)
    place = body
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return body


RICH_PATHS = [path for path in paths(RICH) if path]


@given(json_values)
def test_any_json_is_answered(body):
    assert_answered(body)


@settings(max_examples=400)
@given(st.sampled_from(sorted(ChatCompletionRequest.model_fields)), json_values)
def test_any_json_in_any_field_is_answered(field, value):
    assert_answered({"model": "demo", "messages": [USER], field: value})


def test_the_rich_body_is_a_request():
    assert parse_chat_request(RICH).template_messages()


@settings(max_examples=600)
@given(st.sampled_from(RICH_PATHS), json_values)
def test_any_json_anywhere_in_a_rich_body_is_answered(path, value):
    assert_answered(replaced(RICH, path, value))


@given(st.data(), st.text(max_size=4), json_values)
def test_an_extra_key_anywhere_is_answered(data, key, value):
    path = data.draw(st.sampled_from([path for path in RICH_PATHS if isinstance(path[-1], str)]))
    assert_answered(replaced(RICH, (*path[:-1], key), value))


FREE_FORM = {"metadata", "parameters", "schema", "logit_bias", "chat_template_kwargs", "documents"}
KEYED_PATHS = [
    path for path in RICH_PATHS if isinstance(path[-1], str) and not FREE_FORM & set(path[:-1])
]


def is_answered_before(path):
    """Whether it leads into what a model said, which comes back with what libraries add to it."""
    if path[:1] != ("messages",) or RICH["messages"][path[1]]["role"] != "assistant":
        return False
    return "content" not in path


PLACES = {path[:-1] for path in KEYED_PATHS}
ANSWERED = {place for place in PLACES if is_answered_before(place)}


@pytest.mark.parametrize("path", sorted(PLACES - ANSWERED, key=str))
def test_an_unknown_key_is_named_with_its_place(path):
    error = answer_to(replaced(RICH, (*path, "bogus"), 5))
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    assert (error.code, error.param) == (
        "unknown_parameter",
        f"{place}.bogus".removeprefix("."),
    )


@pytest.mark.parametrize("path", sorted(ANSWERED, key=str))
def test_an_unknown_key_in_an_earlier_answer_is_left_out(path):
    request = parse_chat_request(replaced(RICH, (*path, "bogus"), 5))
    assert request.template_messages() == parse_chat_request(RICH).template_messages()


class Unlisted(StrictModel):
    value: bytes


def test_an_error_without_a_line_in_the_table_still_has_our_words():
    with pytest.raises(ValidationError) as caught:
        Unlisted.model_validate({"value": 5})
    error = api_error(caught.value)
    assert (error.status_code, error.code, error.param) == (400, "invalid_value", "value")
    assert error.message == "Invalid value for 'value': 5."
