import pytest

from schemas.chat import parse_chat_request
from tests.schemas.bodies import assert_refused, chat

# Numbers are rows of OpenAI's table of bad inputs. Each: body, code, param, words.
REFUSED = {
    "35 response_format json": (
        chat(response_format="json"),
        "invalid_type",
        "response_format",
        ["expected an object, but got a string instead"],
    ),
    "35 response_format {}": (
        chat(response_format={}),
        "missing_required_parameter",
        "response_format.type",
        [],
    ),
    "35 response_format xml": (
        chat(response_format={"type": "xml"}),
        "invalid_value",
        "response_format.type",
        ["Invalid value: 'xml'. Supported values are: 'text', 'json_object', and 'json_schema'."],
    ),
    "36 no json_schema": (
        chat(response_format={"type": "json_schema"}),
        "missing_required_parameter",
        "response_format.json_schema",
        [],
    ),
    "36 no name": (
        chat(response_format={"type": "json_schema", "json_schema": {"schema": {}}}),
        "missing_required_parameter",
        "response_format.json_schema.name",
        [],
    ),
    "36 bad name": (
        chat(response_format={"type": "json_schema", "json_schema": {"name": "a b"}}),
        "invalid_value",
        "response_format.json_schema.name",
        ["'a b'"],
    ),
    "36 schema a list": (
        chat(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": []}}),
        "invalid_type",
        "response_format.json_schema.schema",
        [],
    ),
    "guided_json 5": (chat(guided_json=5), "invalid_type", "guided_json", ["string or object"]),
}


@pytest.mark.parametrize(("body", "code", "param", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_body_is_refused_as_openai_does(body, code, param, words):
    assert_refused(body, code, param, words)


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "text"},
        {"type": "json_object"},
        {
            "type": "json_schema",
            "json_schema": {"name": "n-1_A", "schema": {"type": "object"}, "strict": True},
        },
        {"type": "structural_tag", "format": {"type": "any_text"}},
    ],
)
def test_every_response_format_is_understood(response_format):
    parsed = parse_chat_request(chat(response_format=response_format)).response_format
    assert parsed.model_dump(by_alias=True, exclude_none=True) == response_format


def test_json_object_needs_no_word_json_in_the_messages():
    assert parse_chat_request(chat(response_format={"type": "json_object"}))


@pytest.mark.parametrize(
    ("outputs", "constraints"),
    [
        ({"json": {"type": "object"}}, ["json"]),
        ({"json": "{}"}, ["json"]),
        ({"json": {}, "whitespace_pattern": " "}, ["json"]),
        ({"choice": ["a"]}, ["choice"]),
        ({"grammar": "x", "json_object": False}, ["grammar"]),
        ({"json_object": True}, ["json_object"]),
        ({"structural_tag": "{}"}, ["structural_tag"]),
    ],
)
def test_structured_outputs_have_one_constraint(outputs, constraints):
    parsed = parse_chat_request(chat(structured_outputs=outputs)).structured_outputs
    assert parsed.constraints() == constraints
