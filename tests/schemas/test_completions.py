from typing import Any

import pytest

from schemas.completions import check_completion_required, parse_completion_request
from schemas.completions_supported import check_completion_supported
from schemas.errors import ApiError


def body(**changes: Any) -> dict[str, Any]:
    return {"model": "m", "prompt": "hi", **changes}


PROMPTS: list[tuple[Any, list[Any]]] = [
    ("", [""]),
    ("a", ["a"]),
    (["a", ""], ["a", ""]),
    ([1, 2], [[1, 2]]),
    ([[1], [2, 3]], [[1], [2, 3]]),
]


@pytest.mark.parametrize(("prompt", "expected"), PROMPTS)
def test_every_form_of_a_prompt_is_a_list_of_prompts(prompt: Any, expected: list[Any]) -> None:
    request = parse_completion_request(body(prompt=prompt, n=3))
    assert request.prompts == expected
    assert request.num_answers == 3 * len(expected)


def test_defaults() -> None:
    request = parse_completion_request(body(logprobs=None, suffix=None))
    assert (request.max_output_tokens, request.num_choices, request.stop_strings) == (16, 1, ())
    assert not request.wants_prompt_logprobs


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ({"echo": True}, False),
        ({"logprobs": 0}, False),
        ({"echo": True, "logprobs": 0}, True),
        ({"prompt_logprobs": 0}, True),
    ],
)
def test_who_wants_the_prompt_scored(parameters: dict[str, Any], wanted: bool) -> None:
    assert parse_completion_request(body(**parameters)).wants_prompt_logprobs is wanted


# changes, code, param
REFUSED: dict[str, tuple[dict[str, Any], str | None, str | None]] = {
    "no model": ({"model": None}, None, None),
    "no prompt": ({"prompt": None}, "missing_required_parameter", "prompt"),
    "empty list": ({"prompt": []}, "empty_array", "prompt"),
    "empty prompt in a list": ({"prompt": [[]]}, "empty_array", "prompt[0]"),
    "a number": ({"prompt": 5}, "invalid_type", "prompt"),
    "decimals": ({"prompt": [1.5]}, "invalid_type", "prompt[0]"),
    "true": ({"prompt": [True]}, "invalid_type", "prompt[0]"),
    "a mixture": ({"prompt": ["a", 1]}, "invalid_type", "prompt[1]"),
    "another mixture": ({"prompt": [1, "a"]}, "invalid_type", "prompt[1]"),
    "texts inside": ({"prompt": [["a"]]}, "invalid_type", "prompt[0][0]"),
    "negative id": ({"prompt": [[3], [-1]]}, "integer_below_min_value", "prompt[1][0]"),
    "too many": ({"prompt": ["x"] * 1025}, "array_above_max_length", "prompt"),
    "chat": ({"messages": []}, "unknown_parameter", "messages"),
    "typo": ({"temprature": 1}, "unknown_parameter", "temprature"),
    "temperature": ({"temperature": 2.1}, "decimal_above_max_value", "temperature"),
    "logprobs true": ({"logprobs": True}, "invalid_type", "logprobs"),
    "logprobs 21": ({"logprobs": 21}, "integer_above_max_value", "logprobs"),
    "logprobs -1": ({"logprobs": -1}, "integer_below_min_value", "logprobs"),
    "prompt_logprobs": ({"prompt_logprobs": 21}, "integer_above_max_value", "prompt_logprobs"),
    "two forms": (
        {"guided_regex": "a", "guided_json": "{}"},
        "invalid_value",
        "guided_json",
    ),
    "no allowed token": ({"allowed_token_ids": []}, "empty_array", "allowed_token_ids"),
    "max_tokens": ({"max_tokens": -1}, "integer_below_min_value", "max_tokens"),
    "nothing at all": ({"max_tokens": 0}, "integer_below_min_value", "max_tokens"),
    "n": ({"n": 129}, "integer_above_max_value", "n"),
    "best_of": ({"n": 3, "best_of": 2}, "invalid_value", "best_of"),
    "best_of 21": ({"best_of": 21}, "integer_above_max_value", "best_of"),
    "min_tokens": ({"min_tokens": 17}, "invalid_value", "min_tokens"),
    "five stops": ({"stop": list("abcde")}, "array_above_max_length", "stop"),
    "stream_options": ({"stream_options": {}}, None, "stream_options"),
    "start": ({"logprob_start_len": 3, "echo": True}, "invalid_value", "logprob_start_len"),
}


@pytest.mark.parametrize(("changes", "code", "param"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_requests_are_refused(
    changes: dict[str, Any], code: str | None, param: str | None
) -> None:
    with pytest.raises(ApiError) as caught:
        parse_completion_request(body(**changes))
    error = caught.value
    assert (error.status_code, error.code, error.param) == (400, code, param)
    assert param is None or param.rpartition(".")[2] in error.message
    assert len(error.message) < 500


UNSUPPORTED: dict[str, tuple[dict[str, Any], str, str]] = {
    "suffix": ({"suffix": "x"}, "unsupported_parameter", "suffix"),
    "stream with prompt_logprobs": (
        {"stream": True, "prompt_logprobs": 1},
        "unsupported_parameter",
        "prompt_logprobs",
    ),
    "stream with return_token_ids": (
        {"stream": True, "return_token_ids": True},
        "unsupported_parameter",
        "return_token_ids",
    ),
    "best_of": ({"best_of": 2}, "unsupported_value", "best_of"),
    "structural tag": (
        {"response_format": {"type": "structural_tag", "format": {}}},
        "unsupported_value",
        "response_format.type",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "code", "param"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_what_has_no_effect_is_refused_by_name(
    changes: dict[str, Any], code: str, param: str
) -> None:
    with pytest.raises(ApiError) as caught:
        check_completion_supported(parse_completion_request(body(**changes)))
    assert (caught.value.code, caught.value.param) == (code, param)


def test_what_harnesses_send_is_taken() -> None:
    for changes in (
        {"prompt": [[1, 2, 3]], "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0,
         "seed": 1234},
        {"echo": True, "logprobs": 1, "max_tokens": 0, "best_of": 1, "user": "u"},
        {"logprobs": 20},
        {"response_format": {"type": "json_object"}, "bad_words": ["x"]},
        {"guided_regex": "a", "guided_decoding_backend": "x", "allowed_token_ids": [1]},
        {"truncate_prompt_tokens": 3, "truncation_side": "right"},
        {"stop": ["\n", "<|im_end|>"], "max_tokens": 256, "temperature": 0.0, "seed": 1234},
    ):  # fmt: skip
        check_completion_supported(parse_completion_request(body(**changes)))


def test_a_line_needs_a_model_and_a_prompt_only() -> None:
    check_completion_required({"model": 5, "prompt": 7, "zzz": 1})
    for missing in ({"prompt": "x"}, {"model": "m"}):
        with pytest.raises(ApiError):
            check_completion_required(missing)


def test_a_body_must_be_an_object() -> None:
    with pytest.raises(ApiError, match="an array"):
        parse_completion_request([])
