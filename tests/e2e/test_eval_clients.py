"""lm-evaluation-harness and inspect_ai, unchanged, against the endpoint and one worker."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
import transformers

from engine.demo_model import DEMO_MODEL_PATH
from tests.e2e.command import ROOT
from tests.e2e.online_site import OnlineSite
from tests.worker.harness.material import write_tasks

pytestmark = [pytest.mark.slow, pytest.mark.redis, pytest.mark.timeout(400)]

needs_lm_eval = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None,
    reason="needs lm-eval: pip install '.[evals]'",
)
needs_inspect = pytest.mark.skipif(
    importlib.util.find_spec("inspect_ai") is None,
    reason="needs inspect-ai: pip install '.[evals]'",
)


def run(site: OnlineSite, folder: Path, *arguments: str) -> str:
    """A client's command; its standard output."""
    variables = {
        **os.environ,
        "OPENAI_API_KEY": site.key,
        "OPENAI_BASE_URL": f"{site.url}/v1",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hf"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT, env=variables, capture_output=True, text=True, timeout=380, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def lm_eval(site: OnlineSite, folder: Path, model: str, path: str, *more: str) -> list[Any]:
    """The samples of the one task that `more` names."""
    arguments = f"model=demo,base_url={site.url}{path},tokenizer={DEMO_MODEL_PATH}"
    run(
        site, folder, "lm_eval", "run", "--model", model, "--model_args",
        f"{arguments},num_concurrent=2,max_length=2048",
        "--include_path", str(write_tasks(folder / "tasks", num_docs=6)),
        "--output_path", str(folder / "out"), "--log_samples", *more,
    )  # fmt: skip
    (samples,) = (folder / "out").rglob("samples_*.jsonl")
    return [json.loads(line) for line in samples.read_text().splitlines()]


@needs_lm_eval
def test_lm_eval_scores_choices_through_local_completions(
    online: OnlineSite, tmp_path: Path
) -> None:
    samples = lm_eval(
        online, tmp_path, "local-completions", "/v1/completions", "--tasks", "local_choice"
    )
    assert len(samples) == 6
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_MODEL_PATH)
    model = transformers.AutoModelForCausalLM.from_pretrained(DEMO_MODEL_PATH, dtype=torch.float32)
    for sample in samples:
        asked = [one["arg_0"] + one["arg_1"] for one in sample["arguments"].values()]
        for text, argument, response in zip(
            asked, sample["arguments"].values(), sample["resps"], strict=True
        ):
            whole, start = tokenizer(text).input_ids, len(tokenizer(argument["arg_0"]).input_ids)
            with torch.no_grad():
                logits = model(torch.tensor([whole])).logits[0]
            scores = logits.log_softmax(-1)[range(start - 1, len(whole) - 1), whole[start:]]
            assert float(response[0][0]) == pytest.approx(float(scores.sum()), abs=1e-3, rel=0)


@needs_lm_eval
def test_lm_eval_generates_through_local_chat_completions(
    online: OnlineSite, tmp_path: Path
) -> None:
    samples = lm_eval(
        online, tmp_path, "local-chat-completions", "/v1/chat/completions",
        "--tasks", "local_answer", "--apply_chat_template",
    )  # fmt: skip
    assert len(samples) == 6
    assert all(isinstance(sample["resps"][0][0], str) for sample in samples)


@needs_inspect
def test_inspect_runs_a_task_as_a_batch(online: OnlineSite, tmp_path: Path) -> None:
    rows = [{"id": n, "input": f"Say hello {n}", "target": "a"} for n in range(8)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "batch.yaml").write_text("size: 8\nsend_delay: 1\ntick: 1\n")
    with openai.OpenAI(base_url=f"{online.url}/v1", api_key=online.key) as client:
        before = {batch.id for batch in client.batches.list()}
        run(
            online, tmp_path, "inspect_ai", "eval", "tests/e2e/inspect_task.py",
            "-T", f"rows={tmp_path / 'rows.jsonl'}",
            "--model", "openai/demo", "-M", "responses_api=false",
            "--batch", str(tmp_path / "batch.yaml"), "--max-tokens", "6",
            "--display", "plain", "--log-format", "json", "--log-dir", str(tmp_path / "logs"),
        )  # fmt: skip
        made = [batch for batch in client.batches.list() if batch.id not in before]
    assert [batch.status for batch in made] == ["completed"] * len(made)
    counts = [batch.request_counts for batch in made if batch.request_counts is not None]
    assert sum(count.completed for count in counts) == 8
    (path,) = (tmp_path / "logs").glob("*.json")
    log = json.loads(path.read_text())
    assert log["status"] == "success"
    assert len(log["samples"]) == 8
    assert all(sample["output"]["completion"] for sample in log["samples"])
