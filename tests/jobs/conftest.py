"""Servers for the queue's tests: the in-process fake and real ones, started by jobs/ itself."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from jobs.embedded_server import EmbeddedServer, packaged_server_binary
from jobs.keys import Keys
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.server import connect
from jobs.upkeep import Upkeep
from tests.jobs.endpoint import Endpoint, make_endpoint

FAKE = "fakeredis"
SERVERS = ("redis-server", "valkey")
REAL = [pytest.param(name, marks=pytest.mark.redis) for name in SERVERS]


def binary_of(name: str) -> Path:
    """The binary of one kind of server; skips the test where it is not installed."""
    if name == "valkey":
        path = packaged_server_binary()
    else:
        found = shutil.which(name)
        path = Path(found) if found is not None else None
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture(scope="session")
def running_servers(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, EmbeddedServer]]:
    """Servers by name, started when first asked for, stopped with the session."""
    servers: dict[str, EmbeddedServer] = {}
    yield servers
    for server in servers.values():
        server.close()


def start_once(
    name: str, servers: dict[str, EmbeddedServer], factory: pytest.TempPathFactory
) -> EmbeddedServer:
    if name not in servers:
        folder = factory.mktemp(name)
        servers[name] = EmbeddedServer.start(folder, binary=binary_of(name), with_tcp=True)
    return servers[name]


@pytest.fixture(params=REAL)
def redis_server(
    request: pytest.FixtureRequest,
    running_servers: dict[str, EmbeddedServer],
    tmp_path_factory: pytest.TempPathFactory,
) -> EmbeddedServer:
    """A real server on a free TCP port; its data may come from other tests."""
    return start_once(request.param, running_servers, tmp_path_factory)


@pytest.fixture(params=[FAKE, *REAL])
async def redis(
    request: pytest.FixtureRequest,
    running_servers: dict[str, EmbeddedServer],
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Redis]:
    """A client of an empty server, once for each kind of server."""
    if request.param == FAKE:
        client = fake_client()
    else:
        client = connect(start_once(request.param, running_servers, tmp_path_factory).url)
    await client.flushall()
    yield client
    await client.aclose()


def fake_client() -> Redis:
    from fakeredis import FakeAsyncRedis, FakeServer

    return FakeAsyncRedis(server=FakeServer(version=(7,)))


@pytest.fixture
def keys() -> Keys:
    return Keys("test")


@pytest.fixture
def settings() -> QueueSettings:
    """Defaults, but leases are looked for at once."""
    return QueueSettings(reap_every_ms=1)


@pytest.fixture
def queue(redis: Redis, keys: Keys, settings: QueueSettings) -> RedisQueue:
    return RedisQueue(redis, keys, settings)


@pytest.fixture
def upkeep(redis: Redis, keys: Keys, settings: QueueSettings) -> Upkeep:
    return Upkeep(redis, keys, settings)


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[Endpoint]:
    """The endpoint on the in-process server."""
    client = fake_client()
    one = make_endpoint(client, tmp_path)
    yield one
    await one.client.aclose()
    one.control.thread.shutdown()
    await client.aclose()
