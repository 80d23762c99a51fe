"""What the built-in model says: enough sense to see that a row went all the way and came back."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import ROOT, headrace, line, read, write

pytestmark = [pytest.mark.redis, pytest.mark.slow]

ORDER = {
    "type": "object",
    "properties": {"item": {"type": "string"}, "quantity": {"type": "integer"}},
    "required": ["item", "quantity"],
    "additionalProperties": False,
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
SUITE = ("eval", "--per-task", "4", "--kv-cache-memory-bytes", "32MiB", "--deterministic")
NO_CACHE = ("--no-enable-prefix-caching",)


@pytest.fixture(scope="module")
def choices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The first choice of each row, by its id."""
    folder = tmp_path_factory.mktemp("demo")
    greedy: dict[str, Any] = {"temperature": 0, "max_tokens": 64}
    schema = {"type": "json_schema", "json_schema": {"name": "order", "schema": ORDER}}
    thinking = {"chat_template_kwargs": {"enable_thinking": True}}
    file = write(
        folder / "in.jsonl",
        line("call", "Please get the weather with city Lisbon.", tools=[WEATHER], **greedy),
        line("no call", "Tell me a joke.", tools=[WEATHER], **greedy),
        line("thought", "What is 40 + 17?", **thinking, **greedy),
        line(
            "order",
            f"Extract {json.dumps(ORDER)} as JSON from: The order: item: lamp, quantity: 12.",
            response_format=schema,
            **greedy,
        ),
        line("whole", "Say velvet harbour lantern", **greedy),
        line("stopped", "Say velvet harbour lantern", stop=[" lantern"], **greedy),
    )
    ended = headrace("run", str(file), "-o", str(folder / "out"))
    assert ended.code == 0, ended.err
    rows = read(folder / "out" / "output.jsonl")
    return {row["custom_id"]: row["response"]["body"]["choices"][0] for row in rows}


def test_a_tool_is_called_with_what_the_user_said(choices: dict[str, dict[str, Any]]) -> None:
    assert choices["call"]["finish_reason"] == "tool_calls"
    (called,) = choices["call"]["message"]["tool_calls"]
    assert called["function"]["name"] == "get_weather"
    assert json.loads(called["function"]["arguments"]) == {"city": "Lisbon"}


def test_no_tool_is_called_where_none_fits(choices: dict[str, dict[str, Any]]) -> None:
    assert choices["no call"]["finish_reason"] == "stop"
    assert choices["no call"]["message"]["content"]


def test_a_thought_is_told_apart_from_the_answer(choices: dict[str, dict[str, Any]]) -> None:
    message = choices["thought"]["message"]
    assert message["reasoning"].strip().startswith("40 + 10 =")
    assert message["content"].strip().isdigit()


def test_an_answer_under_a_schema_holds_what_the_text_says(
    choices: dict[str, dict[str, Any]],
) -> None:
    assert json.loads(choices["order"]["message"]["content"]) == {"item": "lamp", "quantity": 12}


def test_a_stop_string_cuts_the_answer(choices: dict[str, dict[str, Any]]) -> None:
    assert choices["whole"]["message"]["content"] == "velvet harbour lantern"
    assert choices["stopped"]["message"]["content"] == "velvet harbour"
    assert choices["stopped"]["finish_reason"] == "stop"


def test_neither_a_second_run_nor_the_prefix_cache_changes_the_score(tmp_path: Path) -> None:
    scores, hashes = [], []
    for name, flags in (("with", ()), ("again", ("--max-num-seqs", "4")), ("without", NO_CACHE)):
        ended = headrace(*SUITE, "-o", str(tmp_path / name), *flags)
        assert ended.code == 0, ended.err
        scores.append(json.loads((tmp_path / name / "scores.json").read_text()))
        hashes.append(json.loads((tmp_path / name / "eval.json").read_text())["rows_hash"])
    assert scores[0]["overall"]["right"] > 0
    assert scores[1:] == scores[:1] * 2
    assert hashes[1:] == hashes[:1] * 2


def test_real_tool_jobs_run_with_it(tmp_path: Path) -> None:
    ended = headrace("run", str(ROOT / "examples" / "requests.jsonl"), "-o", str(tmp_path / "out"))
    assert ended.code == 3, ended.err
    rows = {row["custom_id"]: row for row in read(tmp_path / "out" / "output.jsonl")}
    assert len(rows) == 59
    calls = [
        call["function"]["name"]
        for row in rows.values()
        for call in row["response"]["body"]["choices"][0]["message"].get("tool_calls") or ()
    ]
    assert "get_weather" in calls
