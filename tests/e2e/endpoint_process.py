"""`headrace serve` and its neighbours as processes, and a worker without a model."""

import asyncio
import json
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai

from jobs.keys import Keys
from jobs.queue import Commit, Lease, Outcome
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.registry import Registry, WorkerInfo
from jobs.retrying import Retrying
from jobs.server import connect
from schemas.result import ResultRow
from tests.e2e.command import start, wait_for

CHAT = "/v1/chat/completions"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(url: str, folder: Path, port: int, *more: str) -> subprocess.Popen[str]:
    """An endpoint on a fixed port, so that a client finds its successor."""
    flags = ("--port", str(port), "--data", str(folder), "--log-level", "warning")
    return start("serve", "--redis", url, *flags, *more)


def wait_until_up(port: int) -> None:
    def is_up() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    wait_for(is_up, "the endpoint", timeout_s=60)


def client_of(port: int, **options: object) -> openai.OpenAI:
    """The real client; strict, and patient with an endpoint that is being restarted."""
    settings = {"max_retries": 30, "_strict_response_validation": True} | options
    return openai.OpenAI(
        base_url=f"http://127.0.0.1:{port}/v1",
        api_key="any",
        **settings,  # type: ignore[arg-type]
    )


def chat_lines(count: int, **changes: object) -> bytes:
    body = {"model": "demo", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}
    rows = (
        {"custom_id": f"r{n}", "method": "POST", "url": CHAT, "body": body | changes}
        for n in range(count)
    )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@contextmanager
def answering(
    url: str, *, delay_s: float = 0.0, settings: QueueSettings | None = None
) -> Iterator[None]:
    """A worker without a model: it answers what it takes, `delay_s` later."""
    stopping = threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(_answer(url, stopping, delay_s, settings)))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


async def _answer(
    url: str, stopping: threading.Event, delay_s: float, settings: QueueSettings | None
) -> None:
    client = connect(url)
    keys = Keys()
    queue = RedisQueue(client, keys, settings or QueueSettings(), retrying=Retrying())
    worker = WorkerInfo(consumer="no-model", models=("demo",), max_model_len=64)
    await Registry(client, keys).register(worker)
    while not stopping.is_set():
        leases = await queue.take(
            "no-model", ["demo"], max_jobs=20, max_cost_tokens=10**9, num_in_flight=0
        )
        await asyncio.sleep(delay_s or 0.01)
        commits = [Commit(lease=one, outcome=Outcome.OK, payload=_row(one)) for one in leases]
        await queue.commit("no-model", commits)
    await client.aclose()


def _row(lease: Lease) -> bytes:
    response = json.dumps({"id": f"chatcmpl-{lease.idx}"})
    row = ResultRow(
        idx=lease.idx, custom_id=lease.custom_id, status_code=200, response_json=response
    )
    return row.encode()
