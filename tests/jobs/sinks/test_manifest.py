import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.errors import StoreWriteError
from jobs.sinks.counts import RowCounts
from jobs.sinks.manifest import RunFacts, write_run_manifest

FACTS = RunFacts(
    input_path="in.jsonl",
    input_sha256="ab" * 32,
    num_lines=12,
    num_reused=4,
    model="demo",
    model_hash="ff",
    fingerprint="fp",
    settings={"seed": 0},
    versions={"headrace": "0.1.0"},
    timings={"wall_s": 1.5},
)


def test_the_manifest_says_what_the_run_was(tmp_path: Path) -> None:
    counts = RowCounts(
        num_rows=10,
        num_ok=7,
        num_failed=2,
        num_expired=1,
        prompt_tokens=100,
        cached_tokens=40,
        completion_tokens=50,
        error_codes=Counter({"b": 1, "a": 2}),
    )
    path = tmp_path / "run.json"
    write_run_manifest(path, batch_id="batch_a", facts=FACTS, counts=counts, files=["output.jsonl"])
    content = json.loads(path.read_text())
    assert content["batch_id"] == "batch_a"
    assert content["input"] == {"path": "in.jsonl", "sha256": "ab" * 32, "lines": 12}
    assert content["model"] == {"name": "demo", "hash": "ff", "fingerprint": "fp"}
    assert content["counts"] == {
        "total": 10,
        "ok": 7,
        "failed": 2,
        "cancelled": 0,
        "expired": 1,
        "reused": 4,
    }
    assert content["tokens"] == {"prompt": 100, "cached": 40, "completion": 50, "reasoning": 0}
    assert list(content["error_codes"]) == ["a", "b"]
    assert content["settings"] == {"seed": 0}
    assert content["timings"] == {"wall_s": 1.5}
    assert content["files"] == ["output.jsonl"]


def test_a_file_name_that_is_no_text_is_written_too(tmp_path: Path) -> None:
    name = os.fsdecode(b"b\xfc.jsonl")
    facts = replace(FACTS, input_path=name)
    path = tmp_path / "run.json"
    write_run_manifest(path, batch_id="b", facts=facts, counts=RowCounts(), files=[])
    assert json.loads(path.read_text())["input"]["path"] == name


def test_a_failed_write_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "run.json"
    with pytest.raises(StoreWriteError, match="does not exist"):
        write_run_manifest(path, batch_id="b", facts=FACTS, counts=RowCounts(), files=[])
