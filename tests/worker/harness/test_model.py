"""Our model class beside lm-eval's own `hf` backend, on local tasks."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.demo_model import DEMO_MODEL_PATH
from tests.worker.harness.material import save_checkpoint, write_tasks

ROOT = Path(__file__).parent.parent.parent.parent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("lm_eval", "accelerate"))),
        reason="needs lm-eval and accelerate: pip install '.[evals]' accelerate",
    ),
]


def numbers(value: Any) -> Iterator[float]:
    """The log-likelihoods in a sample, and whether each is what greedy decoding writes."""
    if isinstance(value, list):
        for item in value:
            yield from numbers(item)
    else:  # numbers and booleans, some of them as texts
        yield float(str(value) == "True") if str(value) in ("True", "False") else float(value)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    variables = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hf"),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT, env=variables, capture_output=True, text=True, timeout=380, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("model", ["tiny", "demo"])
def test_it_gives_what_lm_evals_own_backend_gives(tmp_path: Path, model: str) -> None:
    tiny = model == "tiny"
    checkpoint = save_checkpoint(tmp_path / "tiny") if tiny else DEMO_MODEL_PATH
    tasks = write_tasks(tmp_path / "tasks", num_docs=12)
    out = tmp_path / "out.json"
    done = run(
        tmp_path, "tests.worker.harness.compare_backends", str(checkpoint), str(tasks), str(out)
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(out.read_text())
    ours, theirs = found["headrace"], found["hf"]
    for task in ("local_choice", "local_text"):
        for (doc, one), (other_doc, other) in zip(
            ours["samples"][task], theirs["samples"][task], strict=True
        ):
            assert doc == other_doc
            assert list(numbers(one)) == pytest.approx(list(numbers(other)), abs=1e-3, rel=0)
    assert ours["samples"]["local_answer"] == theirs["samples"]["local_answer"]
    for task in ("local_choice", "local_answer"):
        for metric in ("acc,none", "acc_norm,none", "exact_match,none"):
            assert ours["results"][task].get(metric) == theirs["results"][task].get(metric)


def test_the_harness_runs_it_from_its_own_command_line(tmp_path: Path) -> None:
    checkpoint = save_checkpoint(tmp_path / "tiny")
    tasks = write_tasks(tmp_path / "tasks", num_docs=4)
    arguments = f"pretrained={checkpoint},dtype=float32,kv_cache_memory_bytes=33554432"
    done = run(
        tmp_path, "worker.harness", "run", "--model", "headrace", "--model_args", arguments,
        "--include_path", str(tasks), "--tasks", "local_choice",
        "--output_path", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "local_choice" in done.stdout
    (results,) = (tmp_path / "out").rglob("results_*.json")
    config = json.loads(results.read_text())["config"]
    assert config["fingerprint"].startswith("fp_")


def test_a_setting_that_does_not_exist_is_named(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks", num_docs=1)
    done = run(
        tmp_path, "worker.harness", "run", "--model", "headrace", "--model_args", "speed=11",
        "--include_path", str(tasks), "--tasks", "local_choice",
    )  # fmt: skip
    assert done.returncode != 0
    assert "speed is no setting of headrace; use one of block_size" in done.stderr
