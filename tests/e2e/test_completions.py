"""Text completions and chats in one file, under two names of one model."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import headrace, line, read, write

pytestmark = [pytest.mark.redis, pytest.mark.slow]


def completion(custom_id: str, **body: Any) -> str:
    return json.dumps(
        {"custom_id": custom_id, "method": "POST", "url": "/v1/completions", "body": body}
    )


def test_both_kinds_of_rows_run_under_every_served_name(tmp_path: Path) -> None:
    scoring = {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
    file = write(
        tmp_path / "in.jsonl",
        line("chat", model="one", logprobs=True, top_logprobs=2, max_tokens=3, ignore_eos=True),
        completion("text", model="two", prompt="once upon a", n=2, max_tokens=4),
        completion("scores", model="one", prompt=[[5, 6, 7], [5, 6, 8]], **scoring),
        completion("suffix", model="one", prompt="a", suffix="b"),
        completion("other", model="three", prompt="a"),
    )
    names = ["--served-model-name", "one", "--served-model-name", "two"]
    run = headrace("run", str(file), "-o", str(tmp_path / "out"), *names)
    assert run.code == 3, run.err
    good = {r["custom_id"]: r["response"]["body"] for r in read(tmp_path / "out/output.jsonl")}
    bad = {r["custom_id"]: r["response"] for r in read(tmp_path / "out/errors.jsonl")}
    assert {name: body["model"] for name, body in good.items()} == {
        "chat": "one",
        "text": "two",
        "scores": "one",
    }
    assert len(good["chat"]["choices"][0]["logprobs"]["content"]) == 3
    assert [choice["index"] for choice in good["text"]["choices"]] == [0, 1]
    for choice in good["scores"]["choices"]:
        values = choice["logprobs"]["token_logprobs"]
        assert values[0] is None
        assert len(values) == 4
        assert all(value < 0 for value in values[1:])
    assert {name: answer["status_code"] for name, answer in bad.items()} == {
        "suffix": 400,
        "other": 404,
    }
