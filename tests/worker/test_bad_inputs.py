"""The rows of OpenAI's answers to bad requests that need the tokenizer or the model's limits."""

import json
from typing import Any

import pytest

from tests.worker.doubles import fake_translator
from tests.worker.test_translate import chat, held, prepared, refused


def envelope(**parameters: Any) -> dict[str, Any]:
    row = refused(held(chat(**parameters)))
    assert row.status_code == 400
    error: dict[str, Any] = json.loads(row.response_json or "")["error"]
    assert error["type"] == "invalid_request_error"
    return error


@pytest.mark.parametrize("limit", [{"max_tokens": 10**9}, {"max_completion_tokens": 2**62}])
def test_row_20_a_limit_beyond_the_context_is_clamped(limit: dict[str, Any]) -> None:
    (request,) = prepared(held(chat(**limit)), fake_translator(max_model_len=64)).requests
    assert request.stop.max_tokens == 64 - request.num_prompt_tokens


@pytest.mark.parametrize(("old", "new"), [(5, 9), (9, 5)])
def test_row_21_max_completion_tokens_wins(old: int, new: int) -> None:
    (request,) = prepared(held(chat(max_tokens=old, max_completion_tokens=new))).requests
    assert request.stop.max_tokens == new


def test_row_22_a_prompt_longer_than_the_context() -> None:
    error = envelope(text="x" * 1000)
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")
    assert "maximum context length is 256 tokens" in error["message"]


@pytest.mark.parametrize(
    ("parameters", "param"),
    [({"logit_bias": {"256": 1}}, "logit_bias"), ({"stop_token_ids": [256]}, "stop_token_ids")],
)
def test_row_27_an_id_outside_the_vocabulary(parameters: dict[str, Any], param: str) -> None:
    error = envelope(**parameters)
    assert (error["code"], error["param"]) == ("invalid_value", param)
    assert "256" in error["message"]
