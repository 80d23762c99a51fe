"""`headrace eval` and `headrace bench` as their users call them."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.evals.demo import TASKS
from tests.e2e.command import headrace, write

pytestmark = [pytest.mark.slow]

SMALL = ("--kv-cache-memory-bytes", "32MiB")


@pytest.mark.redis
def test_the_demo_suite_is_run_scored_and_not_computed_twice(tmp_path: Path) -> None:
    out = tmp_path / "scores"
    first = headrace("eval", "-o", str(out), "--per-task", "2", *SMALL)
    assert first.code == 0, first.err
    tasks = json.loads((out / "scores.json").read_text())
    assert list(tasks) == list(TASKS)
    rows = pq.read_table(out / "scores.parquet").to_pylist()
    assert len(rows) == 2 * len(TASKS)
    assert all(row["right"] or row["reason"] for row in rows)
    assert all(f" {task} " in first.out for task in TASKS)
    again = headrace("eval", "-o", str(out), "--per-task", "2", *SMALL)
    assert again.code == 0, again.err
    assert json.loads((out / "scores.json").read_text()) == tasks
    assert re.search(r"rows kept from before +18 ", again.out)


def test_a_suite_that_cannot_be_scored_is_refused_before_anything_runs(tmp_path: Path) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}]}
    suite = write(tmp_path / "suite.jsonl", {"custom_id": "a", "body": body})
    ended = headrace("eval", str(suite), "-o", str(tmp_path / "out"))
    assert ended.code == 1
    assert "line 1" in ended.sentence
    assert not (tmp_path / "out").exists()
    ended = headrace("eval", "-o", str(tmp_path / "x.jsonl"))
    assert ended.code == 2
    assert "give a folder" in ended.sentence


def test_bench_prints_one_object_per_run() -> None:
    ended = headrace(
        "bench", "--num-requests", "5", "--prompt-tokens", "8-20", "--output-tokens", "6",
        "--repeat", "2", "--json", *SMALL,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    lines = [json.loads(line) for line in ended.out.splitlines()]
    assert [(line["n"], line["output_tokens"]) for line in lines] == [(5, 30), (5, 30)]
    assert all(0 < line["ttft_ms"]["p50"] <= line["e2e_ms"]["p50"] for line in lines)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--workload", "W9"), "--workload 'W9' is none of W1"),
        (("--prompt-tokens", "9-3"), "--prompt-tokens '9-3'"),
        (("--prompt-tokens", "9000"), "its longest request has 9064 tokens"),
    ],
)
def test_bench_names_what_it_cannot_do(arguments: tuple[str, ...], said: str) -> None:
    ended = headrace("bench", *arguments, *SMALL)
    assert ended.code == 2
    assert said in ended.sentence
