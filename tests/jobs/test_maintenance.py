import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from redis.asyncio import Redis

from jobs.errors import StoreWriteError
from jobs.keys import Keys
from jobs.lock import RedisLock
from jobs.maintenance import DrainBatch, Maintenance, MaintenanceSettings
from jobs.queue import BatchState
from jobs.redis_queue import RedisQueue
from jobs.upkeep import Upkeep
from tests.jobs.queue_lines import MODEL, add_batch, commits, empty_outbox, job, outbox, row, take

OFTEN = MaintenanceSettings(sweep_every_s=0.01, drain_every_s=0.01, quiet_sweeps=2)


def maintenance(
    queue: RedisQueue, upkeep: Upkeep, *, drain: DrainBatch | None = None
) -> Maintenance:
    return Maintenance(queue, upkeep, drain=drain, settings=OFTEN)


@asynccontextmanager
async def running(work: Maintenance, redis: Redis, keys: Keys) -> AsyncIterator[RedisLock]:
    lock = RedisLock(redis, keys, "maintenance", ttl_ms=60_000)
    task = asyncio.create_task(work.run(lock))
    try:
        yield lock
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(queue: RedisQueue, batch_id: str, state: BatchState) -> None:
    async with asyncio.timeout(10):
        while (await queue.status(batch_id)).state is not state:
            await asyncio.sleep(0.005)


async def emptying(queue: RedisQueue, seen: list[tuple[str, str, int]]) -> DrainBatch:
    async def drain(batch_id: str, sink: str) -> bool:
        entries = await outbox(queue, batch_id)
        seen.append((batch_id, sink, len(entries)))
        await queue.delete_outbox(batch_id, [entry.entry_id for entry in entries])
        return True

    return drain


async def test_batches_reach_their_end_without_worker_or_client(
    redis: Redis, keys: Keys, queue: RedisQueue, upkeep: Upkeep
) -> None:
    seen: list[tuple[str, str, int]] = []
    await add_batch(queue, "kept", [row(0)], sink="redis")
    await add_batch(queue, "filed", [row(0), row(1)], sink="/data/out.jsonl")
    await add_batch(queue, "cancelled", [job(k) for k in range(700)], sink="redis")
    await add_batch(queue, "late", [job(0)], sink="redis", expires_at_ms=1)
    await queue.cancel("cancelled")
    work = maintenance(queue, upkeep, drain=await emptying(queue, seen))
    async with running(work, redis, keys):
        await until(queue, "kept", BatchState.COMPLETED)
        await until(queue, "filed", BatchState.COMPLETED)
        await until(queue, "cancelled", BatchState.CANCELLED)
        await until(queue, "late", BatchState.EXPIRED)
    assert seen[0] == ("filed", "/data/out.jsonl", 2)
    assert not await redis.exists(keys.lock("maintenance")), "the lock is given back"


@pytest.mark.parametrize("sink", ["client", "endpoint://"])
async def test_a_batch_with_a_client_is_left_to_its_client(
    queue: RedisQueue, upkeep: Upkeep, sink: str
) -> None:
    seen: list[tuple[str, str, int]] = []
    await add_batch(queue, "b", [row(0)], sink=sink)
    work = maintenance(queue, upkeep, drain=await emptying(queue, seen))
    await work.sweep()
    await work.empty_outboxes()
    assert seen == []
    assert (await queue.status("b")).state is BatchState.FINALIZING


async def test_results_leave_while_the_batch_still_runs(queue: RedisQueue, upkeep: Upkeep) -> None:
    seen: list[tuple[str, str, int]] = []
    await add_batch(queue, "b", [row(0), job(1)], sink="s3://bucket/x")
    work = maintenance(queue, upkeep, drain=await emptying(queue, seen))
    await work.empty_outboxes()
    assert seen == [("b", "s3://bucket/x", 1)]
    assert (await queue.status("b")).state is BatchState.IN_PROGRESS
    await queue.commit("worker-a", commits(await take(queue)))
    await work.empty_outboxes()
    assert (await queue.status("b")).state is BatchState.COMPLETED


async def test_a_sink_that_fails_keeps_its_rows_and_stops_nobody(
    queue: RedisQueue, upkeep: Upkeep, caplog: pytest.LogCaptureFixture
) -> None:
    full = True

    async def drain(batch_id: str, sink: str) -> bool:
        if full and batch_id == "a":
            raise StoreWriteError("No space left on device")
        await empty_outbox(queue, batch_id)
        return True

    await add_batch(queue, "a", [row(0)], sink="/full")
    await add_batch(queue, "b", [row(0)], sink="/free")
    work = maintenance(queue, upkeep, drain=drain)
    for _ in range(3):
        await work.empty_outboxes()
    assert (await queue.status("a")).num_outbox == 1
    assert (await queue.status("b")).state is BatchState.COMPLETED
    assert caplog.text.count("No space left") == 1
    full = False
    await work.empty_outboxes()
    assert (await queue.status("a")).state is BatchState.COMPLETED


async def test_one_process_at_a_time_does_the_work(
    redis: Redis, keys: Keys, queue: RedisQueue, upkeep: Upkeep
) -> None:
    first, second = maintenance(queue, upkeep), maintenance(queue, upkeep)
    async with running(first, redis, keys) as held:
        await asyncio.sleep(0.05)
        async with running(second, redis, keys) as waiting:
            await asyncio.sleep(0.05)
            assert held.token is not None
            assert waiting.token is None
            await add_batch(queue, "b", [job(0)], sink="redis")
            await asyncio.sleep(0.05)
            assert second.gauges.backlog[MODEL].num_jobs == 1, "gauges need no lock"


async def test_lost_jobs_are_reported(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep, caplog: pytest.LogCaptureFixture
) -> None:
    await add_batch(queue, "b", [job(0), job(1)], sink="redis")
    await take(queue)
    for entry_id, _ in await redis.xrange(queue.keys.stream("b", MODEL)):
        await redis.xdel(queue.keys.stream("b", MODEL), entry_id)
    work = maintenance(queue, upkeep)
    await work.sweep()
    assert (await queue.status("b")).state is BatchState.IN_PROGRESS, "once is no proof"
    await work.sweep()
    assert (await queue.status("b")).state is BatchState.FINALIZING
    assert (await queue.status("b")).num_err == 2
    assert caplog.text.count("lost jobs") == 1


async def test_lost_jobs_are_not_reported_while_rows_wait_for_their_sink(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    """The batch's owner can put lines back only when its files hold every row."""
    await add_batch(queue, "b", [row(0), job(1)], sink="client")
    for entry_id, _ in await redis.xrange(queue.keys.stream("b", MODEL)):
        await redis.xdel(queue.keys.stream("b", MODEL), entry_id)
    work = maintenance(queue, upkeep)
    for _ in range(4):
        await work.sweep()
    assert (await queue.status("b")).state is BatchState.IN_PROGRESS
    entries = await outbox(queue, "b")
    await queue.delete_outbox("b", [entry.entry_id for entry in entries])
    await work.sweep()
    assert (await queue.status("b")).state is BatchState.FINALIZING


async def test_a_repair_begins_the_wait_for_lost_jobs_anew(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    """Nobody can put lines back into a broken stream, however long it was one."""
    await add_batch(queue, "b", [job(0), job(1)], sink="client")
    work = maintenance(queue, upkeep)
    for _ in range(4):
        await redis.delete(queue.keys.stream("b", MODEL))
        await take(queue)
        assert await upkeep.broken_batches() == ["b"]
        await work.sweep()
        assert (await queue.status("b")).state is BatchState.IN_PROGRESS
    await work.sweep()
    assert (await queue.status("b")).state is BatchState.FINALIZING


async def test_a_broken_batch_is_repaired_in_a_sweep(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    await add_batch(queue, "b", [job(0)])
    await redis.xgroup_destroy(queue.keys.stream("b", MODEL), "g")
    work = maintenance(queue, upkeep)
    await work.sweep()
    await work.sweep()
    assert [lease.idx for lease in await take(queue)] == [0]


async def test_trouble_with_redis_does_not_end_the_maintenance(
    redis: Redis, keys: Keys, queue: RedisQueue, upkeep: Upkeep, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await redis.set(keys.active, "foreign")
    await add_batch_without_active(queue, redis)
    async with running(maintenance(queue, upkeep), redis, keys):
        await asyncio.sleep(0.1)
        await redis.delete(keys.active)
        await redis.sadd(keys.active, "b")
        await until(queue, "b", BatchState.COMPLETED)
    assert 1 <= caplog.text.count("goes on later") <= 3


async def add_batch_without_active(queue: RedisQueue, redis: Redis) -> None:
    await redis.rename(queue.keys.active, "aside")
    await add_batch(queue, "b", [row(0)], sink="redis")
    await redis.delete(queue.keys.active)
    await redis.rename("aside", queue.keys.active)


async def test_gauges_tell_backlog_and_counters(queue: RedisQueue, upkeep: Upkeep) -> None:
    work = maintenance(queue, upkeep)
    assert work.gauges.backlog == {}
    await add_batch(queue, "b", [job(0, cost=7)])
    leases = await take(queue)
    await queue.commit("worker-a", commits(leases + leases))
    await work.refresh_gauges()
    assert work.gauges.backlog[MODEL].num_jobs == 0
    assert work.gauges.counters["gone"] == 1
    await queue._calls.command(lambda redis: redis.xadd(queue.keys.dead, {"b": "b"}))
    await work.refresh_gauges()
    assert work.gauges.num_dead_letters == 1
