"""Runs lm-eval's own `hf` backend and ours on the same tasks, in a process of its own.

python -m tests.worker.harness.compare_backends CHECKPOINT TASKS OUT [BATCH_SIZE]
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import lm_eval
import torch
from lm_eval.api.registry import get_model
from lm_eval.tasks import TaskManager

from worker.harness.model import register


def main(checkpoint: str, tasks: str, out: str, batch_size: str = "16") -> None:
    torch.set_num_threads(1)
    register()
    hf = {"batch_size": int(batch_size), "device": "cpu"}
    found = {
        "hf": evaluate("hf", checkpoint, tasks, hf),
        "headrace": evaluate("headrace", checkpoint, tasks, {"device": "cpu"}),
    }
    Path(out).write_text(json.dumps(found, default=str))


def evaluate(name: str, checkpoint: str, tasks: str, settings: dict[str, Any]) -> dict[str, Any]:
    arguments = {"pretrained": checkpoint, "dtype": "float32"}
    if name == "headrace":
        arguments["kv_cache_memory_bytes"] = "64MiB"
    model = get_model(name).create_from_arg_obj(arguments, settings)
    manager = TaskManager(include_path=tasks, include_defaults=False)
    names = sorted(path.stem for path in Path(tasks).glob("*.yaml"))
    started_s = time.monotonic()
    done = lm_eval.simple_evaluate(
        model=model, tasks=names, task_manager=manager, log_samples=True, bootstrap_iters=0
    )
    assert done is not None
    return {
        "seconds": time.monotonic() - started_s,
        "results": done["results"],
        "samples": {
            task: [[sample["doc_id"], sample["resps"]] for sample in samples]
            for task, samples in done["samples"].items()
        },
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
