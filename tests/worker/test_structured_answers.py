"""Constrained answers of the demo model, from a body to a row."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.worker.demo_site import DemoSite

URL = "/v1/chat/completions"
CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Rome", "Genève"]}, "days": {"type": "boolean"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
OTHER = {"type": "function", "function": {"name": "weather_map"}}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoSite]:
    made = DemoSite(tmp_path_factory.mktemp("demo"), max_num_seqs=16)
    yield made
    made.core.shutdown()


def ask(site: DemoSite, **fields: Any) -> dict[str, Any]:
    body = {
        "model": "demo",
        "messages": [{"role": "user", "content": "Say something."}],
        "max_completion_tokens": 300,
        "seed": 1,
        "chat_template_kwargs": {"enable_thinking": False},
        **fields,
    }
    status, answer = site.run(URL, body)
    assert status == 200, answer
    return answer


def schema(value: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": value, "strict": True}}


@pytest.mark.parametrize("temperature", [0.0, 1.0, 2.0])
def test_every_choice_has_the_form(site: DemoSite, temperature: float) -> None:
    answer = ask(site, response_format=schema(CITY), n=4, temperature=temperature)
    for choice in answer["choices"]:
        assert choice["finish_reason"] == "stop"
        value = json.loads(choice["message"]["content"])
        assert value["city"] in ("Rome", "Genève")
        assert isinstance(value["days"], bool)


def test_the_last_token_of_a_complete_answer_is_content(site: DemoSite) -> None:
    answer = ask(site, structured_outputs={"choice": ["yes"]})
    assert answer["choices"][0]["message"]["content"] == "yes"


def test_grammars_go_together_with_all_that_edits_logits(site: DemoSite) -> None:
    tokens = site.encode("Rome")
    answer = ask(
        site,
        response_format=schema(CITY),
        n=3,
        temperature=1.5,
        top_k=5,
        top_p=0.9,
        min_p=0.01,
        frequency_penalty=1.5,
        presence_penalty=-1.0,
        repetition_penalty=1.3,
        logit_bias={str(tokens[0]): 100, "2": 100},
        min_tokens=5,
        logprobs=True,
        top_logprobs=2,
    )
    for choice in answer["choices"]:
        assert json.loads(choice["message"]["content"])["city"] in ("Rome", "Genève")


@pytest.mark.parametrize(
    ("choice", "finish"),
    [
        ("required", "tool_calls"),
        ({"type": "function", "function": {"name": "weather"}}, "stop"),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "weather"}}],
                },
            },
            "tool_calls",
        ),
    ],
)
def test_a_demanded_call_is_a_valid_call(site: DemoSite, choice: Any, finish: str) -> None:
    for seed in range(3):
        answer = ask(
            site,
            tools=[OTHER, TOOL],
            tool_choice=choice,
            parallel_tool_calls=False,
            temperature=1.0,
            seed=seed,
        )
        (one,) = answer["choices"]
        assert one["finish_reason"] == finish
        assert one["message"].get("content") is None
        (call,) = one["message"]["tool_calls"]
        arguments = json.loads(call["function"]["arguments"])
        if call["function"]["name"] == "weather":
            assert set(arguments) == {"city", "days"}
        else:
            assert choice == "required"
            assert (call["function"]["name"], arguments) == ("weather_map", {})


def test_a_call_that_the_limit_cuts_is_not_called_ended(site: DemoSite) -> None:
    answer = ask(site, tools=[TOOL], tool_choice="required", max_completion_tokens=6)
    assert answer["choices"][0]["finish_reason"] == "length"


def test_a_thinking_budget_ends_the_reasoning_and_the_answer_has_its_form(site: DemoSite) -> None:
    answer = ask(
        site,
        messages=[
            {"role": "user", "content": "Think."},
            {"role": "assistant", "content": "<think>\nWell"},
        ],
        continue_final_message=True,
        chat_template_kwargs={},
        thinking_token_budget=7,
        response_format=schema(CITY),
        temperature=1.0,
    )
    (choice,) = answer["choices"]
    assert json.loads(choice["message"]["content"])["city"] in ("Rome", "Genève")
    assert answer["usage"]["completion_tokens_details"]["reasoning_tokens"] in (7, 8)


def test_a_bad_grammar_costs_its_own_row(site: DemoSite) -> None:
    bad = {"type": "array", "uniqueItems": True}
    body = {"model": "demo", "messages": [{"role": "user", "content": "x"}]}
    status, answer = site.run(URL, {**body, "response_format": schema(bad)})
    assert status == 400
    assert answer["error"]["param"] == "response_format"
    assert "uniqueItems" in answer["error"]["message"]
    assert ask(site, structured_outputs={"regex": "[ab]{3}"})["choices"][0]["message"]["content"]
