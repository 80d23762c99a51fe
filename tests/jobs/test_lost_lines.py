import asyncio
from contextlib import suppress

import pytest
from redis.asyncio import Redis

from jobs.errors import StoreDamagedError
from jobs.lost_lines import LostLines
from jobs.queue import OutcomeCounts
from jobs.redis_queue import RedisQueue
from jobs.upkeep import Upkeep
from tests.jobs.queue_lines import MODEL, add_batch, commits, job, take


async def lose_jobs(redis: Redis, queue: RedisQueue, batch_id: str) -> None:
    for entry_id, _ in await redis.xrange(queue.keys.stream(batch_id, MODEL)):
        await redis.xdel(queue.keys.stream(batch_id, MODEL), entry_id)


async def test_lost_lines_are_put_back_once_they_are_certainly_lost(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    async def put_back() -> bool:
        await queue.reconcile("b", total=2, counts=OutcomeCounts(), missing=[job(0), job(1)])
        return True

    await add_batch(queue, "b", [job(0), job(1)])
    lines = LostLines(upkeep, "b", put_back)
    assert not await lines.look()
    await lose_jobs(redis, queue, "b")
    assert not await lines.look(), "once is no proof"
    assert await lines.look()
    assert not await lines.look()
    leases = await take(queue)
    assert [lease.idx for lease in leases] == [0, 1]
    await queue.commit("worker-a", commits(leases))
    assert not await lines.look()
    assert not await lines.look(), "the batch is complete"


async def test_what_cannot_be_put_back_is_left_to_others(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    async def put_back() -> bool:
        return False

    await add_batch(queue, "b", [job(0)])
    await lose_jobs(redis, queue, "b")
    lines = LostLines(upkeep, "b", put_back)
    assert [await lines.look() for _ in range(3)] == [False] * 3


async def test_trouble_does_not_end_the_watch(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep, tmp_path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    async def put_back() -> bool:
        nonlocal calls
        calls += 1
        raise StoreDamagedError("part 7 is damaged", path=tmp_path)

    await add_batch(queue, "b", [job(0)])
    await lose_jobs(redis, queue, "b")
    watch = asyncio.create_task(LostLines(upkeep, "b", put_back, look_every_s=0.01).run())
    async with asyncio.timeout(10):
        while calls < 2:
            await asyncio.sleep(0.01)
    watch.cancel()
    with suppress(asyncio.CancelledError):
        await watch
    assert "part 7 is damaged" in caplog.text
