"""The real command line, as processes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
TIMEOUT_S = 240


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The last line on standard error: what the user is told."""
        lines = self.err.strip().splitlines()
        return lines[-1] if lines else ""


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_R")}
    return {**kept, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **variables}


def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "worker.cli", *arguments],
        cwd=ROOT,
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def headrace(*arguments: str, **variables: str) -> Ended:
    """Run a command to its end."""
    process = start(*arguments, **variables)
    try:
        out, err = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Ended(process.returncode, out, err)


@contextmanager
def running(*arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A command that is killed at the end of the block if it still runs."""
    process = start(*arguments, **variables)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> Ended:
    """Signal a process and wait for its end."""
    process.send_signal(number)
    out, err = process.communicate(timeout=TIMEOUT_S)
    return Ended(process.returncode, out, err)


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S) -> None:
    limit_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > limit_s:
            raise AssertionError(f"waited {timeout_s:.0f} s for {what}")
        time.sleep(0.02)


def wait_for_line(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """The first match of `pattern` in what the process says on standard error."""
    assert process.stderr is not None
    said = []
    for text in process.stderr:
        said.append(text)
        if match := re.search(pattern, text):
            return match
    raise AssertionError(f"{pattern!r} was not said: {''.join(said)}")


def line(custom_id: str, text: str = "hi", **parameters: Any) -> dict[str, Any]:
    body = {"model": "demo", "messages": [{"role": "user", "content": text}], **parameters}
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"max_tokens": 4, **body},
    }


def write(path: Path, *lines: dict[str, Any] | str | bytes) -> Path:
    def encode(each: dict[str, Any] | str | bytes) -> bytes:
        if isinstance(each, bytes):
            return each
        return (each if isinstance(each, str) else json.dumps(each)).encode()

    path.write_bytes(b"".join(encode(each) + b"\n" for each in lines))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(each) for each in path.read_bytes().split(b"\n") if each]


def get(port: str, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as reply:
        return str(reply.read().decode())


def wait_for_rows(process: subprocess.Popen[str], num_rows: int) -> None:
    """Wait until a run with --metrics-port 0 has recorded so many answers, and not all of them."""
    port = wait_for_line(process, r"http://127\.0\.0\.1:(\d+)/metrics")[1]
    done = re.compile(r'headrace:jobs_finished_total\{outcome="ok"\} ([0-9.]+)')

    def are_there() -> bool:
        match = done.search(get(port, "/metrics"))
        return match is not None and float(match[1]) >= num_rows

    wait_for(are_there, f"{num_rows} rows")
