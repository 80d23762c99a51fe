import pytest

from schemas.chat import ChatCompletionRequest, parse_chat_request
from schemas.errors import ApiError
from schemas.supported import LIMITED, REFUSED, check_supported
from tests.schemas.bodies import CALL, TOOL, USER, chat, talk

NAMED = {"type": "function", "function": {"name": "f"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}


def part(kind, value):
    return {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": kind, kind: value}]}


PARAMETER, VALUE = "unsupported_parameter", "unsupported_value"

# body, code, param
UNSUPPORTED = {
    "stream with token ids": (
        chat(stream=True, return_token_ids=True),
        PARAMETER,
        "return_token_ids",
    ),
    "custom tool": (
        chat(tools=[TOOL, {"type": "custom", "custom": {"name": "c"}}]),
        VALUE,
        "tools[1].type",
    ),
    "structural tag": (
        chat(response_format={"type": "structural_tag", "structures": [], "triggers": []}),
        VALUE,
        "response_format.type",
    ),
    "structured structural tag": (
        chat(structured_outputs={"structural_tag": "{}"}),
        PARAMETER,
        "structured_outputs.structural_tag",
    ),
    "functions": (chat(functions=[{"name": "f"}]), PARAMETER, "functions"),
    "image": (talk(part("image_url", {"url": "u"})), VALUE, "messages[0].content[1].type"),
    "audio": (
        talk(USER, part("input_audio", {"data": "", "format": "wav"})),
        VALUE,
        "messages[1].content[1].type",
    ),
    "file": (talk(part("file", {"file_id": "f"})), VALUE, "messages[0].content[1].type"),
    "custom call": (
        talk(
            {
                "role": "assistant",
                "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "c", "input": ""}}],
            }
        ),
        VALUE,
        "messages[0].tool_calls[0].type",
    ),
    "spoken answer": (
        talk({"role": "assistant", "audio": {"id": "a"}}),
        PARAMETER,
        "messages[0].audio",
    ),
    "modalities": (chat(modalities=["text", "audio"]), VALUE, "modalities"),
    "audio output": (chat(audio={"voice": "v", "format": "wav"}), PARAMETER, "audio"),
    "web search": (chat(web_search_options={}), PARAMETER, "web_search_options"),
    "logprob ids": (chat(logprob_token_ids=[1]), PARAMETER, "logprob_token_ids"),
    "echo": (chat(echo=True), VALUE, "echo"),
    "beam search": (chat(use_beam_search=True), VALUE, "use_beam_search"),
    "length_penalty": (chat(length_penalty=1.2), VALUE, "length_penalty"),
    "template": (chat(chat_template="x"), PARAMETER, "chat_template"),
    "special tokens": (chat(add_special_tokens=True), VALUE, "add_special_tokens"),
    "xargs": (chat(vllm_xargs={}), PARAMETER, "vllm_xargs"),
}


@pytest.mark.parametrize(("body", "code", "param"), UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_what_has_no_effect_is_refused_by_name(body, code, param):
    request = parse_chat_request(body)
    with pytest.raises(ApiError) as caught:
        check_supported(request)
    error = caught.value
    assert (error.status_code, error.type) == (400, "invalid_request_error")
    assert (error.code, error.param) == (code, param)
    assert f"'{param}'" in error.message


SUPPORTED = {
    "plain": chat(),
    "sampling": chat(
        temperature=0, top_p=0.5, top_k=5, min_p=0.1, n=2, seed=1, presence_penalty=1,
        frequency_penalty=-1, repetition_penalty=1.1, logit_bias={"5": 1}, max_tokens=5,
    ),
    "stops": chat(
        stop=["a"], stop_token_ids=[5], min_tokens=1, ignore_eos=True,
        include_stop_str_in_output=True, skip_special_tokens=False, bad_words=["x"],
        allowed_token_ids=[1], truncate_prompt_tokens=5, truncation_side="left",
    ),
    "tools": chat(tools=[TOOL], parallel_tool_calls=True),
    "tools auto": chat(tools=[TOOL], tool_choice="auto"),
    "tools none": chat(tools=[TOOL], tool_choice="none"),
    "required": chat(tools=[TOOL], tool_choice="required", parallel_tool_calls=False),
    "named": chat(tools=[TOOL], tool_choice=NAMED),
    "allowed_tools": chat(
        tools=[TOOL],
        tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [NAMED]}},
    ),
    "json_object": chat(response_format={"type": "json_object"}),
    "json_schema": chat(response_format=SCHEMA),
    "structured_outputs": chat(structured_outputs={"regex": "a"}),
    "guided": chat(guided_json="{}", guided_whitespace_pattern=" ", guided_decoding_backend="x"),
    "guided_json_object": chat(guided_json_object=True),
    "thinking budget": chat(thinking_token_budget=5),
    "tool history": talk(
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "call_1", "content": "x"},
    ),
    "parts": talk({"role": "user", "content": [{"type": "text", "text": "x"}]}),
    "an earlier refusal": talk(
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}
    ),
    "an earlier spoken answer with its text": talk(
        {"role": "assistant", "content": "x", "audio": {"id": "a"}}
    ),
    "accepted": chat(
        verbosity="low", metadata={"a": "b"}, store=True, user="u", safety_identifier="s",
        prompt_cache_key="k", prompt_cache_retention="24h", prompt_cache_options={"ttl": "30m"},
        service_tier="flex", moderation={"model": "m"}, modalities=["text"],
        prediction={"type": "content", "content": "x"}, response_format={"type": "text"},
    ),
    "template": chat(
        reasoning_effort="low", chat_template_kwargs={"a": 1}, documents=[{"text": "d"}],
        add_generation_prompt=False, continue_final_message=True,
    ),
    "log probabilities": chat(
        logprobs=True, top_logprobs=20, prompt_logprobs=0, return_token_ids=True,
        return_tokens_as_token_ids=True,
    ),
    "switched off": chat(
        stream=False, logprobs=False, echo=False, use_beam_search=False, length_penalty=1,
        include_reasoning=False, return_token_ids=False, return_tokens_as_token_ids=False,
        add_special_tokens=False, spaces_between_special_tokens=True, guided_json_object=False,
    ),
    "routing": chat(priority=-1, request_id="r", session_id="s", cache_salt="c"),
    "null": chat(stream=None, tools=None, guided_json=None, structured_outputs=None),
}  # fmt: skip


@pytest.mark.parametrize("body", SUPPORTED.values(), ids=SUPPORTED.keys())
def test_what_has_an_effect_or_is_only_a_hint_is_accepted(body):
    check_supported(parse_chat_request(body))


def test_the_tables_name_fields_and_no_field_twice():
    fields = set(ChatCompletionRequest.model_fields)
    assert set(REFUSED) <= fields
    assert set(LIMITED) <= fields
    assert not set(REFUSED) & set(LIMITED)


def test_the_reported_parameter_does_not_depend_on_the_order_of_keys():
    changes = {"vllm_xargs": {}, "logprob_token_ids": [1], "stream": True}
    bodies = [chat(**changes), chat(**dict(reversed(changes.items())))]
    params = []
    for body in bodies:
        with pytest.raises(ApiError) as caught:
            check_supported(parse_chat_request(body))
        params.append(caught.value.param)
    assert params == ["logprob_token_ids"] * 2
