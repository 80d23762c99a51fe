import json
import math

import pytest
from openai.types.chat import ChatCompletion
from pydantic import ValidationError

from schemas.chat_response import (
    MIN_LOGPROB,
    ChatCompletionResponse,
    Choice,
    ChoiceLogprobs,
    ResponseFunction,
    ResponseMessage,
    ResponseToolCall,
    TokenLogprob,
    TopLogprob,
    Usage,
)

CALL = ResponseToolCall(id="call_1", function=ResponseFunction(name="f", arguments='{"a": 1}'))


def response(*choices):
    return ChatCompletionResponse(
        id="chatcmpl-1",
        created=1741570283,
        model="m",
        choices=list(choices),
        usage=Usage.of(prompt_tokens=11, completion_tokens=3),
        system_fingerprint="fp_x",
    )


def plain_choice():
    return Choice(index=0, message=ResponseMessage(content="Hi."), finish_reason="stop")


def test_a_plain_answer_is_openais_object_key_by_key():
    assert json.loads(response(plain_choice()).to_json()) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1741570283,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Hi.",
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 11,
            "completion_tokens": 3,
            "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": "fp_x",
    }


def rich_response():
    logprob = TokenLogprob(
        token="a",
        logprob=-0.5,
        bytes=[97],
        top_logprobs=[TopLogprob(token="b", logprob=-math.inf, bytes=None)],
    )
    called = Choice(
        index=1,
        message=ResponseMessage(content=None, tool_calls=[CALL], reasoning="because"),
        logprobs=ChoiceLogprobs(content=[logprob]),
        finish_reason="tool_calls",
        stop_reason="\n\n",
    )
    return response(plain_choice(), called)


@pytest.mark.parametrize("build", [lambda: response(plain_choice()), rich_response])
def test_openais_strict_types_accept_the_answer(build):
    text = build().to_json()
    parsed = ChatCompletion.model_validate(json.loads(text), strict=True)
    assert json.loads(parsed.model_dump_json(exclude_unset=True)) == json.loads(text)


def test_a_call_and_reasoning_reach_the_client():
    parsed = ChatCompletion.model_validate_json(rich_response().to_json())
    message = parsed.choices[1].message
    assert message.content is None
    assert message.tool_calls[0].function.arguments == '{"a": 1}'
    assert message.reasoning == message.reasoning_content == "because"
    assert parsed.choices[1].stop_reason == "\n\n"


def test_minus_infinity_is_clamped():
    top = rich_response().choices[1].logprobs.content[0].top_logprobs[0]
    assert top.logprob == MIN_LOGPROB


def test_a_logprob_that_is_no_number_is_our_bug():
    with pytest.raises(ValidationError):
        TopLogprob(token="a", logprob=math.nan, bytes=None)


def test_finish_reasons_are_a_closed_set():
    with pytest.raises(ValidationError):
        Choice(index=0, message=ResponseMessage(content=""), finish_reason="abort")


def test_usage_sums():
    usage = Usage.of(prompt_tokens=5, completion_tokens=7, cached_tokens=4, reasoning_tokens=2)
    assert usage.total_tokens == 12
    assert usage.prompt_tokens_details.cached_tokens == 4
    assert usage.completion_tokens_details.reasoning_tokens == 2


def test_an_answer_is_one_line_of_text_whatever_it_says():
    choice = Choice(index=0, message=ResponseMessage(content="a\nb\u2028é"), finish_reason="stop")
    text = response(choice).to_json()
    assert "\n" not in text
    assert json.loads(text)["choices"][0]["message"]["content"] == "a\nb\u2028é"
