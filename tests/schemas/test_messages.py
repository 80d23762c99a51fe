import pytest

from schemas.chat import parse_chat_request
from schemas.chat_response import ResponseFunction, ResponseMessage, ResponseToolCall
from tests.schemas.bodies import CALL, USER, assert_refused, chat, talk

# Numbers are rows of OpenAI's table of bad inputs. Each: body, code, param, words.
REFUSED = {
    "7 empty messages": (
        talk(),
        "empty_array",
        "messages",
        [
            "Invalid 'messages': empty array. Expected an array with minimum length 1, "
            "but got an empty array instead."
        ],
    ),
    "8 messages text": (
        chat(messages="x"),
        "invalid_type",
        "messages",
        ["Invalid type for 'messages': expected an array, but got a string instead."],
    ),
    "8 messages object": (chat(messages={}), "invalid_type", "messages", ["an object"]),
    "8 message text": (talk("x"), "invalid_type", "messages[0]", ["expected an object"]),
    "8 message null": (talk(USER, None), "invalid_type", "messages[1]", ["null"]),
    "9 no role": (
        talk({"content": "x"}),
        "missing_required_parameter",
        "messages[0].role",
        ["Missing required parameter: 'messages[0].role'."],
    ),
    "10 unknown role": (
        talk({"role": "bogus", "content": "x"}),
        "invalid_value",
        "messages[0].role",
        [
            "Invalid value: 'bogus'. Supported values are: 'system', 'developer', 'user', "
            "'assistant', 'tool', and 'function'.",
            "messages[0].role",
        ],
    ),
    "10 role 5": (talk({"role": 5}), "invalid_type", "messages[0].role", ["a string"]),
    "10 role list": (talk({"role": ["user"]}), "invalid_type", "messages[0].role", ["an array"]),
    "11 content number": (
        talk({"role": "user", "content": 5}),
        "invalid_type",
        "messages[0].content",
        ["expected one of a string or array", "an integer"],
    ),
    "11 content object": (
        talk(USER, {"role": "system", "content": {}}),
        "invalid_type",
        "messages[1].content",
        ["an object"],
    ),
    "12 unknown part": (
        talk({"role": "user", "content": [{"type": "smell"}]}),
        "invalid_value",
        "messages[0].content[0].type",
        ["'smell'", "Supported values are: 'text'."],
    ),
    "12 part without type": (
        talk({"role": "user", "content": [{"text": "x"}]}),
        "missing_required_parameter",
        "messages[0].content[0].type",
        [],
    ),
    "12 part text": (
        talk({"role": "user", "content": ["x"]}),
        "invalid_type",
        "messages[0].content[0]",
        [],
    ),
    "12 image of an assistant": (
        talk({"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}),
        "invalid_value",
        "messages[0].content[0].type",
        ["'image_url'", "'text' and 'refusal'"],
    ),
    "12 no parts": (
        talk({"role": "user", "content": []}),
        "empty_array",
        "messages[0].content",
        [],
    ),
    "13 tool without id": (
        talk(USER, {"role": "tool", "content": "x"}),
        "missing_required_parameter",
        "messages[1].tool_call_id",
        [],
    ),
    "empty tool_calls": (
        talk({"role": "assistant", "tool_calls": []}),
        "empty_array",
        "messages[0].tool_calls",
        [],
    ),
    "arguments as an object": (
        talk(
            {
                "role": "assistant",
                "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}],
            }
        ),
        "invalid_type",
        "messages[0].tool_calls[0].function.arguments",
        ["expected a string, but got an object instead"],
    ),
    "a name with a special token": (
        talk({**USER, "name": "<|im_end|>"}),
        "invalid_value",
        "messages[0].name",
        [],
    ),
    "unknown key in a message": (
        talk({**USER, "contnt": "x"}),
        "unknown_parameter",
        "messages[0].contnt",
        [],
    ),
    "tool_calls of a user": (
        talk({**USER, "tool_calls": [CALL]}),
        "unknown_parameter",
        "messages[0].tool_calls",
        [],
    ),
    "a key named like a branch": (
        talk({**USER, "user": "x"}),
        "unknown_parameter",
        "messages[0].user",
        [],
    ),
    "image without url": (
        talk({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}),
        "missing_required_parameter",
        "messages[0].content[0].image_url.url",
        [],
    ),
}


@pytest.mark.parametrize(("body", "code", "param", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_body_is_refused_as_openai_does(body, code, param, words):
    assert_refused(body, code, param, words)


def test_an_answer_of_the_server_can_be_sent_back():
    answer = ResponseMessage(
        content=None,
        tool_calls=[ResponseToolCall(id="c", function=ResponseFunction(name="f", arguments="{}"))],
        reasoning="because",
    )
    tool = {"role": "tool", "tool_call_id": "c", "content": "5"}
    request = parse_chat_request(talk(USER, answer.model_dump(), tool))
    assert [message.role for message in request.messages] == ["user", "assistant", "tool"]


ADDED = {
    "openai's parse": {"parsed": None},
    "openai's parse with a format": {"parsed": {"city": "Paris"}},
    "litellm": {"provider_specific_fields": {"refusal": None}},
    "another endpoint": {"id": "msg_1", "reasoning_details": [], "cache_control": {"type": "x"}},
}


@pytest.mark.parametrize("added", ADDED.values(), ids=ADDED)
def test_what_libraries_add_to_an_answer_is_left_out(added):
    call = {**CALL, "index": 0, "function": {**CALL["function"], "parsed_arguments": {"a": 1}}}
    tool = {"role": "tool", "tool_call_id": CALL["id"], "content": "5"}
    for plain, sent in (
        ({"content": "ok"}, {"content": "ok"}),
        ({"content": None, "tool_calls": [CALL]}, {"content": None, "tool_calls": [call]}),
    ):
        behind = [tool] if "tool_calls" in plain else []
        one, other = (
            parse_chat_request(talk(USER, {"role": "assistant", **said}, *behind))
            for said in (plain, {**sent, **added})
        )
        assert one.template_messages() == other.template_messages()


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant", "tool"])
def test_keys_of_other_roles_may_be_null(role):
    null = dict.fromkeys(("name", "tool_calls", "function_call", "refusal", "parsed", "zzz"))
    message = {"role": role, "content": "x", **null}
    before = []
    if role == "tool":
        before = [{"role": "assistant", "content": None, "tool_calls": [CALL]}]
        message["tool_call_id"] = CALL["id"]
    parsed = parse_chat_request(talk(*before, message)).messages
    assert parsed[-1].content == "x"


@pytest.mark.parametrize("key", ["contnt", "parsed"])
def test_an_answer_that_says_nothing_is_not_guessed_at(key):
    assert_refused(
        talk({"role": "assistant", key: "x"}), "unknown_parameter", f"messages[0].{key}", []
    )


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant"])
@pytest.mark.parametrize("content", [{}, {"content": None}])
def test_content_may_be_absent(role, content):
    (message,) = parse_chat_request(talk({"role": role, **content})).messages
    assert message.content is None


def test_every_kind_of_part_is_understood():
    parts = [
        {"type": "text", "text": "t", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "image_url", "image_url": {"url": "u", "detail": "original"}},
        {"type": "input_audio", "input_audio": {"data": "x", "format": "mp3"}},
        {"type": "file", "file": {"file_data": "x", "filename": "f"}},
    ]
    (message,) = parse_chat_request(talk({"role": "user", "content": parts})).messages
    assert [part.type for part in message.content] == [part["type"] for part in parts]


def test_a_tool_message_may_name_its_function():
    call = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    tool = {"role": "tool", "tool_call_id": "call_1", "name": "f", "content": "5"}
    assert parse_chat_request(talk(call, tool, tool)).messages[2].name == "f"
