import pytest

from schemas.chat import parse_chat_request
from schemas.vllm_fields import VllmFields
from tests.schemas.bodies import assert_refused, chat

# Numbers are rows of OpenAI's table of bad inputs. Each: body, code, param, words.
REFUSED = {
    "47 repetition_penalty 0": (
        chat(repetition_penalty=0),
        "decimal_below_min_value",
        "repetition_penalty",
        ["> 0, but got 0"],
    ),
    "47 top_k -2": (chat(top_k=-2), "integer_below_min_value", "top_k", [">= -1, but got -2"]),
    "top_k of 32 bits": (chat(top_k=2**31), "integer_above_max_value", "top_k", []),
    "47 min_p 2": (chat(min_p=2), "decimal_above_max_value", "min_p", ["<= 1, but got 2"]),
    "stop_token_ids text": (chat(stop_token_ids=["a"]), "invalid_type", "stop_token_ids[0]", []),
    "allowed_token_ids []": (
        chat(allowed_token_ids=[]),
        "empty_array",
        "allowed_token_ids",
        [],
    ),
    "empty cache_salt": (chat(cache_salt=""), "empty_string", "cache_salt", []),
    "truncation_side": (
        chat(truncation_side="top"),
        "invalid_value",
        "truncation_side",
        ["'left' and 'right'"],
    ),
    "documents of text": (chat(documents=["x"]), "invalid_type", "documents[0]", ["an object"]),
    "ignore_eos 1": (chat(ignore_eos=1), "invalid_type", "ignore_eos", ["a boolean"]),
    "priority of 65 bits": (chat(priority=2**64), "integer_above_max_value", "priority", []),
}


@pytest.mark.parametrize(("body", "code", "param", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_body_is_refused_as_openai_does(body, code, param, words):
    assert_refused(body, code, param, words)


VLLM_EXTRAS = [
    "top_k",
    "min_p",
    "repetition_penalty",
    "min_tokens",
    "ignore_eos",
    "stop_token_ids",
    "include_stop_str_in_output",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "bad_words",
    "allowed_token_ids",
    "logprob_token_ids",
    "prompt_logprobs",
    "truncate_prompt_tokens",
    "truncation_side",
    "add_generation_prompt",
    "continue_final_message",
    "add_special_tokens",
    "echo",
    "documents",
    "chat_template",
    "chat_template_kwargs",
    "mm_processor_kwargs",
    "structured_outputs",
    "priority",
    "request_id",
    "return_token_ids",
    "return_tokens_as_token_ids",
    "include_reasoning",
    "thinking_token_budget",
    "use_beam_search",
    "length_penalty",
    "cache_salt",
    "kv_transfer_params",
    "vllm_xargs",
    "repetition_detection",
    "session_id",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
]


def test_every_extra_of_vllm_is_known_by_name():
    assert set(VLLM_EXTRAS) <= set(VllmFields.model_fields)


def test_free_form_objects_are_taken_as_they_are():
    free = {"a": [1, {"b": None}], "": 1.5}
    names = ("chat_template_kwargs", "mm_processor_kwargs", "kv_transfer_params", "vllm_xargs")
    request = parse_chat_request(chat(**dict.fromkeys(names, free)))
    assert all(getattr(request, name) == free for name in names)
