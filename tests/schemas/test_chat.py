import pytest

from schemas.chat import check_required, parse_chat_request
from schemas.errors import ApiError
from tests.schemas.bodies import TOOL, USER, assert_refused, chat, talk

# Numbers are rows of OpenAI's table of bad inputs. Each: body, code, param, words.
REFUSED = {
    "1 not an object: list": ([], None, None, ["We could not parse", "an array"]),
    "1 not an object: null": (None, None, None, ["We could not parse", "null"]),
    "1 not an object: text": ("x", None, None, ["We could not parse", "a string"]),
    "4 no model": ({"messages": [USER]}, None, None, ["you must provide a model parameter"]),
    "4 empty model": (chat(model=""), None, None, ["you must provide a model parameter"]),
    "4 null model": (chat(model=None), None, None, ["you must provide a model parameter"]),
    "model 7": (chat(model=7), "invalid_type", "model", ["expected a string", "an integer"]),
    "6 no messages": (
        {"model": "demo"},
        "missing_required_parameter",
        "messages",
        ["Missing required parameter: 'messages'."],
    ),
    "6 null messages": (chat(messages=None), "missing_required_parameter", "messages", []),
    "34 unknown key": (chat(zzz=1), "unknown_parameter", "zzz", ["Unknown parameter: 'zzz'."]),
    "34 misspelt": (chat(temprature=1), "unknown_parameter", "temprature", []),
    "34 null but unknown": (chat(zzz=None), "unknown_parameter", "zzz", []),
    "34 empty key": (chat(**{"": 1}), "unknown_parameter", "", ["''"]),
}


@pytest.mark.parametrize(("body", "code", "param", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_body_is_refused_as_openai_does(body, code, param, words):
    assert_refused(body, code, param, words)


def refusal_of(body):
    with pytest.raises(ApiError) as caught:
        parse_chat_request(body)
    return caught.value


def test_the_checks_have_openais_order():
    body = chat(
        tools=5, n=0, temperature=9, zzz=1, messages="x", min_tokens=5, max_tokens=1, model=""
    )
    order = []
    for repair in (
        {"model": "demo"},
        {"zzz": None},
        {"messages": [USER]},
        {"tools": [TOOL]},
        {"n": 1},
        {"temperature": 1},
        {"min_tokens": 0},
    ):
        order.append(refusal_of(body).param)
        body = {key: value for key, value in (body | repair).items() if key != "zzz" or value}
    assert order == [None, "zzz", "messages", "tools", "n", "temperature", "min_tokens"]
    parse_chat_request(body)


def test_missing_messages_are_reported_before_unknown_keys():
    assert refusal_of({"model": "demo", "zzz": 1}).param == "messages"


def test_null_means_absent_in_every_optional_field():
    fields = type(parse_chat_request(chat())).model_fields
    body = dict.fromkeys(fields) | chat()
    request = parse_chat_request(body)
    assert request.model_dump(exclude_none=True) == parse_chat_request(chat()).model_dump(
        exclude_none=True
    )


def test_the_values_arrive_as_they_were_sent():
    request = parse_chat_request(
        chat(temperature=0, top_p=0, n=128, seed=-(2**63), logprobs=True, top_logprobs=20)
    )
    assert (request.temperature, request.top_p, request.n) == (0.0, 0.0, 128)
    assert (request.seed, request.top_logprobs) == (-(2**63), 20)


def test_absent_fields_are_none_so_that_the_models_defaults_can_apply():
    request = parse_chat_request(chat())
    assert (request.temperature, request.top_p, request.top_k) == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 6),
        ({"max_tokens": 10**30}, 10**30),
    ],
)
def test_max_completion_tokens_wins(changes, limit):
    assert parse_chat_request(chat(**changes)).max_output_tokens == limit


@pytest.mark.parametrize(
    ("changes", "stops"),
    [({}, ()), ({"stop": "a"}, ("a",)), ({"stop": ["a", "bc"]}, ("a", "bc"))],
)
def test_stop_strings_are_a_tuple(changes, stops):
    assert parse_chat_request(chat(**changes)).stop_strings == stops


@pytest.mark.parametrize(("changes", "count"), [({}, 1), ({"n": 3}, 3)])
def test_there_is_one_choice_unless_asked_for_more(changes, count):
    assert parse_chat_request(chat(**changes)).num_choices == count


@pytest.mark.parametrize(("top_k", "tokens"), [(None, None), (-1, 0), (0, 0), (40, 40)])
def test_top_k_minus_one_is_off(top_k, tokens):
    assert parse_chat_request(chat(top_k=top_k)).top_k_tokens == tokens


def test_logit_bias_has_token_ids():
    request = parse_chat_request(chat(logit_bias={"5": -100, "7": 1.5}))
    assert request.bias_by_token_id == {5: -100.0, 7: 1.5}
    assert parse_chat_request(chat()).bias_by_token_id == {}


@pytest.mark.parametrize(
    ("changes", "opens"),
    [
        ({}, True),
        ({"continue_final_message": True}, False),
        ({"continue_final_message": False}, True),
        ({"add_generation_prompt": False}, False),
        ({"add_generation_prompt": True}, True),
        ({"add_generation_prompt": False, "continue_final_message": True}, False),
    ],
)
def test_a_prompt_opens_an_answer_unless_one_is_continued(changes, opens):
    assert parse_chat_request(chat(**changes)).opens_answer is opens


def test_template_variables_gather_what_templates_know():
    request = parse_chat_request(
        chat(
            documents=[{"text": "d"}],
            reasoning_effort="none",
            chat_template_kwargs={"date": "today"},
        )
    )
    assert request.template_variables == {
        "documents": [{"text": "d"}],
        "reasoning_effort": "none",
        "enable_thinking": False,
        "date": "today",
    }
    assert parse_chat_request(chat()).template_variables == {}


def test_template_kwargs_win_over_what_follows_from_the_effort():
    request = parse_chat_request(
        chat(reasoning_effort="high", chat_template_kwargs={"enable_thinking": False})
    )
    assert request.template_variables == {"reasoning_effort": "high", "enable_thinking": False}


def test_template_tools_are_the_clients_own_objects_in_their_order():
    function = {"parameters": {"z": 1, "a": None}, "name": "f", "description": None}
    request = parse_chat_request(chat(tools=[{"function": function, "type": "function"}]))
    (tool,) = request.template_tools or []
    assert list(tool) == ["function", "type"]
    assert list(tool["function"].items()) == [("parameters", {"z": 1, "a": None}), ("name", "f")]
    assert parse_chat_request(chat()).template_tools is None


def test_template_messages_are_plain_objects():
    body = talk({"role": "developer", "content": [{"type": "text", "text": "a"}]}, USER)
    request = parse_chat_request(body)
    assert request.template_messages() == [{"role": "developer", "content": "a"}, USER]


@pytest.mark.parametrize(
    "body", [{}, {"model": "m"}, {"messages": []}, {"model": "", "messages": []}]
)
def test_a_body_must_name_a_model_and_messages(body):
    with pytest.raises(ApiError):
        check_required(body)


def test_what_else_is_wrong_with_a_body_is_not_asked_first():
    check_required({"model": 5, "messages": "x", "zzz": 1})
