import json

from schemas.chat_response import MIN_LOGPROB, Usage
from schemas.completion_response import CompletionChoice, CompletionLogprobs, CompletionResponse


def test_the_answer_has_openai_s_keys_and_no_others() -> None:
    response = CompletionResponse(
        id="cmpl-1",
        created=1,
        model="m",
        choices=[CompletionChoice(text="a", index=0, finish_reason="stop")],
        usage=Usage.of(prompt_tokens=1, completion_tokens=2),
    )
    body = json.loads(response.to_json())
    assert body["object"] == "text_completion"
    assert set(body) == {
        "id", "object", "created", "model", "choices", "usage", "system_fingerprint",
    }  # fmt: skip
    assert body["choices"] == [{"text": "a", "index": 0, "logprobs": None, "finish_reason": "stop"}]


def test_an_impossible_token_has_a_number_that_json_can_hold() -> None:
    logprobs = CompletionLogprobs(
        tokens=["a", "b"],
        token_logprobs=[None, float("-inf")],
        top_logprobs=[None, {"b": float("-inf")}],
        text_offset=[0, 1],
    )
    body = json.loads(logprobs.to_json())
    assert body["token_logprobs"] == [None, MIN_LOGPROB]
    assert body["top_logprobs"] == [None, {"b": MIN_LOGPROB}]
