"""`headrace run` with a fake model, in a process of its own that says what it cost.

    python -m tests.e2e.fake_run NUM_LINES FOLDER

Everything is real but the executor and the tokenizer: validation, queue, server, scheduler, sinks.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.e2e.command import ROOT, environment
from tests.worker.doubles import fake_machine
from worker import cli, loading, run_plan
from worker.machine import Machine


def write_input(path: Path, num_lines: int) -> None:
    with path.open("w") as file:
        for number in range(num_lines):
            question = f"question number {number}: " + "what is this about? " * 4
            messages = [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": question},
            ]
            body = {"model": "demo", "messages": messages, "max_tokens": 4}
            request = {"custom_id": f"row-{number}", "method": "POST", "body": body}
            file.write(json.dumps(request | {"url": "/v1/chat/completions"}) + "\n")


def load(_config: object, names: tuple[str, ...]) -> Machine:
    return fake_machine(names=names, max_num_seqs=256, max_model_len=1024, num_blocks=8192)


def measure(folder: Path, *arguments: str) -> None:
    """Run the command with a fake model and print what it cost, as the last line of JSON."""
    run_plan.resolve_model = lambda *_: folder
    run_plan.model_hash = lambda _: "hash"
    loading.load_machine = load
    started_s, before_s = time.monotonic(), time.process_time()
    code = cli.main(list(arguments))
    server = resource.getrusage(resource.RUSAGE_CHILDREN)
    facts = {
        "code": code,
        "wall_s": time.monotonic() - started_s,
        "cpu_s": time.process_time() - before_s,
        "server_cpu_s": server.ru_utime + server.ru_stime,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    sys.stdout.write("\n" + json.dumps(facts) + "\n")


def cost(module: str, count: int, folder: Path) -> dict[str, Any]:
    """What `python -m tests.e2e.MODULE COUNT FOLDER` says that it cost."""
    ended = subprocess.run(
        [sys.executable, "-m", f"tests.e2e.{module}", str(count), str(folder)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=1100,
        check=True,
    )
    facts: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    assert facts["code"] == 0, ended.stderr
    return facts


def main(num_lines: int, folder: Path) -> None:
    file = folder / f"in-{num_lines}.jsonl"
    write_input(file, num_lines)
    measure(folder, "run", str(file), "-o", str(folder / f"out-{num_lines}"))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
