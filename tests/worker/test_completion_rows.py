"""Whole text completions with the demo model, as evaluation harnesses send them."""

import re
from itertools import pairwise
from typing import Any

import pytest

from tests.worker.demo_site import DemoSite

URL = "/v1/completions"
TEXT = "The quick brown fox counts to ten: one, two, three. Größe 😀"
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> DemoSite:
    return DemoSite(tmp_path_factory.mktemp("demo"), max_num_scored_tokens=7)


def complete(site: DemoSite, prompt: Any, **parameters: Any) -> dict[str, Any]:
    status, body = site.run(URL, {"model": "demo", "prompt": prompt, **parameters})
    assert status == 200, body
    return body


def refused(site: DemoSite, prompt: Any, **parameters: Any) -> tuple[str, str]:
    status, body = site.run(URL, {"model": "demo", "prompt": prompt, **parameters})
    assert status == 400
    return body["error"]["code"], body["error"]["param"]


def loglikelihood(site: DemoSite, prompt: Any, **parameters: Any) -> list[dict[str, Any]]:
    """What an evaluation harness asks to score a continuation."""
    body = complete(site, prompt, echo=True, logprobs=1, temperature=0, seed=1, **parameters)
    choices: list[dict[str, Any]] = body["choices"]
    return choices


@pytest.mark.parametrize("max_tokens", [0, 1])
def test_an_echoed_prompt_is_scored_as_the_model_does(site: DemoSite, max_tokens: int) -> None:
    ids = site.encode(TEXT)
    (choice,) = loglikelihood(site, [ids], max_tokens=max_tokens)
    logprobs = choice["logprobs"]
    assert [len(column) for column in logprobs.values()] == [len(ids) + max_tokens] * 4
    assert logprobs["token_logprobs"][0] is None
    assert logprobs["top_logprobs"][0] is None
    expected = site.log_softmax(ids)
    for index, token_id in enumerate(ids[1:]):
        logprob = logprobs["token_logprobs"][index + 1]
        top = logprobs["top_logprobs"][index + 1]
        assert logprob == pytest.approx(float(expected[index, token_id]), abs=TOLERANCE)
        assert max(top.values()) == pytest.approx(float(expected[index].max()), abs=TOLERANCE)
        # A harness calls a continuation greedy if each of its tokens has the largest value.
        is_greedy = int(expected[index].argmax()) == token_id
        assert (logprob == max(top.values())) == is_greedy
    assert choice["finish_reason"] == "length"
    assert choice["text"].startswith(TEXT)
    assert (choice["text"] == TEXT) == (max_tokens == 0)


def test_offsets_say_where_each_token_of_the_text_begins(site: DemoSite) -> None:
    (choice,) = loglikelihood(site, TEXT, max_tokens=6, ignore_eos=True)
    text, logprobs = choice["text"], choice["logprobs"]
    bounds = [*logprobs["text_offset"], len(text)]
    pieces = [text[start:stop] for start, stop in pairwise(bounds)]
    assert "".join(pieces) == text
    whole = [token for token in logprobs["tokens"] if not token.startswith("bytes:")]
    assert [piece for piece in pieces if piece in whole] == whole


def test_parts_of_characters_are_shown_as_bytes(site: DemoSite) -> None:
    (choice,) = loglikelihood(site, "😀", max_tokens=0)
    tokens = choice["logprobs"]["tokens"]
    assert tokens == [f"bytes:\\x{byte:02x}" for byte in "😀".encode()]
    assert choice["logprobs"]["text_offset"] == [0, 0, 0, 0]


def test_many_prompts_and_choices_are_numbered_prompt_by_prompt(site: DemoSite) -> None:
    ids = [site.encode("one two"), site.encode("three four five")]
    body = complete(site, ids, n=2, max_tokens=3, temperature=1, ignore_eos=True)
    assert body["object"] == "text_completion"
    assert body["id"].startswith("cmpl-")
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    assert body["usage"]["prompt_tokens"] == sum(map(len, ids))
    assert body["usage"]["completion_tokens"] == 12
    same = complete(site, ["one two"] * 6, max_tokens=8, temperature=1.5, ignore_eos=True)
    assert len({choice["text"] for choice in same["choices"]}) > 3
    seeded = complete(site, ["one two"] * 2, max_tokens=8, temperature=1.5, seed=4)
    assert seeded["choices"][0]["text"] == seeded["choices"][1]["text"]


def test_every_form_of_a_prompt_is_the_same_prompt(site: DemoSite) -> None:
    ids = site.encode(TEXT)
    texts = [
        complete(site, prompt, temperature=0, max_tokens=5)["choices"][0]["text"]
        for prompt in (TEXT, [TEXT], ids, [ids])
    ]
    assert len(set(texts)) == 1
    (choice,) = complete(site, ids, temperature=0, max_tokens=5, echo=True)["choices"]
    assert choice["text"] == TEXT + texts[0]
    assert choice["logprobs"] is None


def test_sixteen_tokens_are_the_default_and_echo_alone_computes_nothing(site: DemoSite) -> None:
    body = complete(site, "hello", ignore_eos=True)
    assert body["usage"]["completion_tokens"] == 16
    steps = site.core.stats().num_steps
    body = complete(site, ["hello", "you"], max_tokens=0, echo=True)
    assert [choice["text"] for choice in body["choices"]] == ["hello", "you"]
    assert body["usage"]["completion_tokens"] == 0
    assert site.core.stats().num_steps == steps


def test_a_shared_context_comes_from_the_cache_where_only_the_rest_is_scored(
    site: DemoSite,
) -> None:
    context = site.encode("Question and answer. " * 12)
    rows = []
    for ending in (" yes", " no", " maybe"):
        ids = context + site.encode(ending)
        body = complete(
            site, ids, echo=True, logprobs=1, max_tokens=0, logprob_start_len=len(context)
        )
        rows.append(body["usage"]["prompt_tokens_details"]["cached_tokens"])
        values = body["choices"][0]["logprobs"]["token_logprobs"]
        assert values[: len(context)] == [None] * len(context)
        expected = site.log_softmax(ids)[range(len(ids) - 1), ids[1:]]
        assert values[len(context) :] == pytest.approx(
            expected[len(context) - 1 :].tolist(), abs=TOLERANCE
        )
    assert rows[0] == 0
    assert rows[1:] == [(len(context) - 1) // 16 * 16] * 2


def test_output_log_probabilities_without_echo(site: DemoSite) -> None:
    ids = site.encode("count")
    body = complete(
        site, ids, max_tokens=5, logprobs=3, temperature=0, return_token_ids=True, stop=["zzz"]
    )
    (choice,) = body["choices"]
    tokens = choice["token_ids"]
    assert choice["prompt_token_ids"] == ids
    expected = site.log_softmax(ids + tokens)[len(ids) - 1 :]
    assert choice["logprobs"]["token_logprobs"] == pytest.approx(
        expected[range(len(tokens)), tokens].tolist(), abs=TOLERANCE
    )
    assert choice["logprobs"]["text_offset"][0] == 0
    for top, row in zip(choice["logprobs"]["top_logprobs"], expected, strict=True):
        assert sorted(top.values()) == pytest.approx(sorted(row.topk(3).values.tolist()), abs=1e-4)


def test_prompt_log_probabilities_in_vllm_s_form(site: DemoSite) -> None:
    ids = site.encode(TEXT)
    (choice,) = complete(site, ids, max_tokens=1, prompt_logprobs=2)["choices"]
    entries = choice["prompt_logprobs"]
    assert entries[0] is None
    expected = site.log_softmax(ids)
    for index, entry in enumerate(entries[1:]):
        best = expected[index].topk(2).indices.tolist()
        assert set(entry) == {str(token_id) for token_id in {*best, ids[index + 1]}}
        here = entry[str(ids[index + 1])]
        row = expected[index]
        assert here["logprob"] == pytest.approx(float(row[ids[index + 1]]), abs=TOLERANCE)
        assert here["rank"] == int((row > row[ids[index + 1]]).sum()) + 1


def test_openai_s_client_takes_the_answers(site: DemoSite) -> None:
    from openai.types import Completion

    body = complete(site, "count", max_tokens=3, logprobs=2, n=2)
    parsed = Completion.model_validate(body, strict=True)
    assert parsed.choices[1].logprobs is not None
    assert parsed.choices[1].logprobs.tokens == body["choices"][1]["logprobs"]["tokens"]
    assert parsed.usage is not None


def test_tokens_are_written_as_ids_on_request(site: DemoSite) -> None:
    ids = site.encode("count")
    (choice,) = loglikelihood(site, ids, max_tokens=0, return_tokens_as_token_ids=True)
    assert choice["logprobs"]["tokens"] == [f"token_id:{token_id}" for token_id in ids]


@pytest.mark.parametrize(
    ("prompt", "parameters", "code", "param"),
    [
        ("x" * 5000, {}, "context_length_exceeded", "prompt"),
        ([5, 99999], {}, "invalid_value", "prompt"),
        ("", {}, "empty_string", "prompt"),
        ("x", {"max_tokens": 0}, "integer_below_min_value", "max_tokens"),
        ("x", {"suffix": "y"}, "unsupported_parameter", "suffix"),
        ("x", {"best_of": 3, "n": 2}, "unsupported_value", "best_of"),
        ("x", {"best_of": 1, "n": 2}, "invalid_value", "best_of"),
        ("x", {"logprobs": 21}, "integer_above_max_value", "logprobs"),
        ("x", {"messages": []}, "unknown_parameter", "messages"),
        ("x", {"allowed_token_ids": [99999]}, "invalid_value", "allowed_token_ids"),
        ("x", {"truncate_prompt_tokens": 513}, "invalid_value", "truncate_prompt_tokens"),
        ("x", {"truncate_prompt_tokens": 0}, "invalid_value", "truncate_prompt_tokens"),
        ("x", {"guided_regex": "("}, "invalid_value", "guided_regex"),
    ],
)
def test_bad_requests_are_refused_by_name(
    site: DemoSite, prompt: Any, parameters: dict[str, Any], code: str, param: str
) -> None:
    assert refused(site, prompt, **parameters) == (code, param)


def test_a_prompt_may_fill_the_context_if_nothing_is_generated(site: DemoSite) -> None:
    ids = site.encode("a" * 4000)[:512]
    assert len(ids) == 512
    (choice,) = loglikelihood(site, ids, max_tokens=0)
    assert len(choice["logprobs"]["tokens"]) == 512
    assert refused(site, ids, max_tokens=1) == ("context_length_exceeded", "prompt")


def test_chat_shows_log_probabilities_of_every_generated_token(site: DemoSite) -> None:
    body = {
        "model": "demo",
        "messages": [{"role": "user", "content": "count to five"}],
        "logprobs": True,
        "top_logprobs": 4,
        "prompt_logprobs": 1,
        "n": 2,
        "max_tokens": 6,
        "temperature": 0.7,
        "repetition_penalty": 1.3,
        "return_token_ids": True,
        "ignore_eos": True,
    }
    status, answer = site.run("/v1/chat/completions", body)
    assert status == 200, answer
    prompt = answer["prompt_token_ids"]
    assert len(answer["prompt_logprobs"]) == len(prompt)
    for choice in answer["choices"]:
        tokens = choice["token_ids"]
        expected = site.log_softmax(prompt + tokens)[len(prompt) - 1 :]
        entries = choice["logprobs"]["content"]
        assert choice["logprobs"]["refusal"] is None
        assert len(entries) == len(tokens) == 6
        for entry, row, token_id in zip(entries, expected, tokens, strict=True):
            assert entry["logprob"] == pytest.approx(float(row[token_id]), abs=TOLERANCE)
            values = [top["logprob"] for top in entry["top_logprobs"]]
            assert values == pytest.approx(row.topk(4).values.tolist(), abs=TOLERANCE)
        shown = bytes(byte for entry in entries for byte in entry["bytes"])
        plain = site.translator.tokenizer.decode(tokens, skip_special_tokens=False)
        assert shown.decode(errors="replace") == plain


FORMS: list[tuple[dict[str, Any], str]] = [
    ({"guided_regex": "[ab]{3}"}, "[ab]{3}"),
    ({"guided_choice": ["yes", "no"]}, "yes|no"),
    ({"structured_outputs": {"grammar": 'start: "x" "y"'}}, "xy"),
    ({"structured_outputs": {"json": {"const": 5}}}, "5"),
    (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": {"enum": ["x", "y"]}},
            }
        },
        '"[xy]"',
    ),
]


@pytest.mark.parametrize(("form", "pattern"), FORMS)
def test_the_form_of_a_text_is_enforced_for_every_prompt_and_choice(
    site: DemoSite, form: dict[str, Any], pattern: str
) -> None:
    body = complete(site, ["one", "two"], n=2, max_tokens=20, seed=3, **form)
    assert len(body["choices"]) == 4
    for choice in body["choices"]:
        assert choice["finish_reason"] == "stop"
        assert re.fullmatch(pattern, choice["text"]), choice


def test_only_allowed_tokens_come(site: DemoSite) -> None:
    allowed = site.encode("abc")
    body = complete(
        site, "x", allowed_token_ids=allowed, max_tokens=30, return_token_ids=True, seed=1
    )
    (choice,) = body["choices"]
    assert choice["finish_reason"] == "length"
    assert len(choice["token_ids"]) == 30
    assert set(choice["token_ids"]) <= set(allowed)


def test_a_bad_word_does_not_come(site: DemoSite) -> None:
    options = {"temperature": 0, "max_tokens": 12, "return_token_ids": True}
    first = complete(site, TEXT, **options)["choices"][0]["token_ids"]
    words = {token_id: site.translator.tokenizer.decode([token_id]) for token_id in first}
    token_id, word = next(
        (token_id, word) for token_id, word in words.items() if site.encode(word) == [token_id]
    )
    again = complete(site, TEXT, bad_words=[word], **options)["choices"][0]["token_ids"]
    assert token_id not in again


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"truncate_prompt_tokens": 3}, slice(-3, None)),
        ({"truncate_prompt_tokens": 3, "truncation_side": "right"}, slice(3)),
        ({"truncate_prompt_tokens": 500}, slice(None)),
        ({"truncate_prompt_tokens": -1}, slice(None)),
    ],
)
def test_a_prompt_is_cut_to_the_tokens_that_are_wanted(
    site: DemoSite, options: dict[str, Any], kept: slice
) -> None:
    ids = site.encode(TEXT)
    for prompt in (TEXT, ids):
        body = complete(site, prompt, max_tokens=1, return_token_ids=True, echo=True, **options)
        (choice,) = body["choices"]
        assert choice["prompt_token_ids"] == ids[kept]
        assert body["usage"]["prompt_tokens"] == len(ids[kept])
        assert choice["text"].startswith(site.translator.tokenizer.decode(ids[kept]))


def test_a_prompt_that_is_too_long_can_be_cut_to_what_fits(site: DemoSite) -> None:
    body = complete(site, "word " * 2000, truncate_prompt_tokens=-1, max_tokens=12)
    assert body["usage"]["prompt_tokens"] == 500
