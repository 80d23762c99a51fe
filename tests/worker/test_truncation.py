"""Prompts made shorter."""

import pytest

from schemas.chat import parse_chat_request
from schemas.errors import ApiError
from worker.truncation import truncated

PROMPT = list(range(10))


def cut(max_model_len=100, **fields):
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}
    return truncated(PROMPT, parse_chat_request(body), max_model_len)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, PROMPT),
        ({"truncation_side": "right"}, PROMPT),
        ({"truncate_prompt_tokens": 4}, [6, 7, 8, 9]),
        ({"truncate_prompt_tokens": 4, "truncation_side": "left"}, [6, 7, 8, 9]),
        ({"truncate_prompt_tokens": 4, "truncation_side": "right"}, [0, 1, 2, 3]),
        ({"truncate_prompt_tokens": 50}, PROMPT),
        ({"truncate_prompt_tokens": -1}, PROMPT),
    ],
)
def test_the_last_tokens_stay_unless_the_first_are_wanted(fields, expected):
    assert cut(**fields) == expected


def test_minus_one_leaves_room_for_the_answer():
    assert cut(8, truncate_prompt_tokens=-1) == PROMPT[-7:]
    assert cut(8, truncate_prompt_tokens=-1, max_tokens=5) == PROMPT[-3:]
    assert cut(8, truncate_prompt_tokens=-1, max_tokens=500) == PROMPT[-1:]


@pytest.mark.parametrize("count", [0, 9])
def test_no_tokens_and_more_than_the_context_are_refused(count):
    with pytest.raises(ApiError) as caught:
        cut(8, truncate_prompt_tokens=count)
    assert (caught.value.code, caught.value.param) == ("invalid_value", "truncate_prompt_tokens")
