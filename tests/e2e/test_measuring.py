"""`headrace eval` and `headrace bench` as their users call them."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import transformers

from engine.demo_model import DEMO_MODEL_PATH
from jobs.evals.demo import TASKS
from tests.e2e.command import ROOT, headrace, write

pytestmark = [pytest.mark.slow]

SMALL = ("--kv-cache-memory-bytes", "32MiB")


@pytest.mark.redis
def test_the_demo_suite_is_run_scored_and_not_computed_twice(tmp_path: Path) -> None:
    out = tmp_path / "scores"
    first = headrace("eval", "-o", str(out), "--per-task", "2", *SMALL)
    assert first.code == 0, first.err
    scores = json.loads((out / "scores.json").read_text())
    assert list(scores["tasks"]) == list(TASKS)
    rows = pq.read_table(out / "scores.parquet").to_pylist()
    assert len(rows) == 2 * len(TASKS)
    assert all(row["right"] or row["reason"] for row in rows)
    assert all(f" {task} " in first.out for task in TASKS)
    again = headrace("eval", "-o", str(out), "--per-task", "2", *SMALL)
    assert again.code == 0, again.err
    assert json.loads((out / "scores.json").read_text()) == scores
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


@pytest.mark.redis
def test_every_scorer_runs_and_the_same_score_comes_twice(tmp_path: Path) -> None:
    suite = str(ROOT / "examples" / "suite.yaml")
    hashes, prints = [], []
    for name, seqs in (("a", "2"), ("b", "64")):
        out = tmp_path / name
        flags = ("--deterministic", "--max-num-seqs", seqs, *SMALL)
        ended = headrace("eval", suite, "-o", str(out), *flags)
        assert ended.code == 0, ended.err
        manifest = json.loads((out / "eval.json").read_text())
        assert manifest["settings"]["deterministic"] is True
        hashes.append(manifest["rows_hash"])
        prints.append(manifest["fingerprints"])
    assert hashes[0] == hashes[1]
    assert prints[0] == prints[1]
    rows = pq.read_table(tmp_path / "a" / "scores.parquet").to_pylist()
    assert [row["samples"] for row in rows if row["task"] == "choices"] == [1, 1]
    assert {row["samples"] for row in rows if row["task"] != "choices"} == {4}
    found = {row["custom_id"]: json.loads(row["answers"][0] or "0") for row in rows[-2:]}
    assert found == {
        row["id"]: pytest.approx(scores, abs=1e-3) for row, scores in _log_likelihoods(ROOT)
    }
    ended = headrace("eval", "compare", str(tmp_path / "a"), str(tmp_path / "b"))
    assert ended.code == 0, ended.err
    assert f"All {len(rows)} rows have the same answers." in ended.out
    assert "--max-num-seqs: 2 -> 64" in ended.out


def _log_likelihoods(root: Path) -> Iterator[tuple[dict[str, Any], list[float]]]:
    """Of every ending in the example suite, by transformers alone."""
    folder = DEMO_MODEL_PATH
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for line in (root / "examples" / "suite.jsonl").read_text().splitlines():
        row = json.loads(line)
        scores = []
        for choice in row.get("choices", ()):
            whole = tokenizer(row["prompt"] + choice).input_ids
            start = len(tokenizer(row["prompt"]).input_ids)
            with torch.no_grad():
                logits = model(torch.tensor([whole])).logits[0].log_softmax(-1)
            scores.append(float(logits[range(start - 1, len(whole) - 1), whole[start:]].sum()))
        if scores:
            yield row, scores


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
