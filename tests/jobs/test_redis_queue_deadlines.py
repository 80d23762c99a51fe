"""Jobs with a time of their own."""

import asyncio

from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.outbox_rows import entry_to_row
from jobs.queue import BatchSpec, BatchState, CommitReply, LeaseLoss, Outcome, OutcomeCounts
from jobs.redis_queue import RedisQueue
from jobs.upkeep import Upkeep
from tests.jobs.queue_lines import (
    MODEL,
    add_batch,
    check_invariants,
    commits,
    failure,
    job,
    let_lapse,
    outbox,
    row,
    start,
    take,
)

LONG_MS = 3_600_000


async def overdue(redis: Redis, queue: RedisQueue, idx: int, batch_id: str = "b") -> None:
    """The time of this line is over, by the clock of Redis."""
    member = f"{idx + 1}-{idx}:{MODEL}"
    assert await redis.zscore(queue.keys.deadlines(batch_id), member) is not None
    await redis.zadd(queue.keys.deadlines(batch_id), {member: 1})


async def test_a_deadline_is_counted_from_enqueue_by_the_clock_of_redis(
    redis: Redis, queue: RedisQueue
) -> None:
    seconds, _ = await redis.time()
    await add_batch(queue, "b", [job(0, ttl_ms=LONG_MS), job(1)])
    ((member, at),) = await redis.zrange(queue.keys.deadlines("b"), 0, -1, withscores=True)
    assert member == f"1-0:{MODEL}".encode()
    assert 0 <= at - (seconds * 1000 + LONG_MS) <= 5_000


async def test_an_overdue_job_costs_no_device_time(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(0, ttl_ms=1), job(1, ttl_ms=LONG_MS), job(2)])
    await asyncio.sleep(0.005)
    leases = await take(queue)
    assert [lease.idx for lease in leases] == [1, 2]
    (entry,) = await outbox(queue, "b")
    assert (entry.idx, entry.outcome) == (0, Outcome.EXPIRED)
    assert entry_to_row(entry).error_code == "batch_expired"
    assert (await queue.commit("worker-a", commits(leases)))[-1] is CommitReply.LAST
    assert not await redis.exists(queue.keys.deadlines("b"))
    await check_invariants(redis, queue, "b")


async def test_a_job_that_becomes_overdue_before_its_start_is_not_started(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0, ttl_ms=LONG_MS), job(1, ttl_ms=LONG_MS)])
    leases = await take(queue)
    await overdue(redis, queue, 0)
    lost = await queue.renew("worker-a", leases, started=leases)
    assert [(each.lease.idx, each.loss) for each in lost] == [(0, LeaseLoss.EXPIRED)]


async def test_a_running_job_hears_of_its_deadline_when_it_is_renewed(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0, ttl_ms=LONG_MS)])
    leases = await take(queue)
    await start(queue, "worker-a", leases)
    await overdue(redis, queue, 0)
    lost = await queue.renew("worker-a", leases)
    assert [each.loss for each in lost] == [LeaseLoss.EXPIRED]
    assert await queue.commit("worker-a", commits(leases, Outcome.EXPIRED)) == [CommitReply.LAST]
    assert (await queue.status("b")).num_expired == 1


async def test_overdue_jobs_end_without_any_worker(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    await add_batch(queue, "b", [job(k, ttl_ms=LONG_MS) for k in range(5)], sink="redis")
    dead, alive = await take(queue, "dead", max_jobs=1), await take(queue, "alive", max_jobs=1)
    await let_lapse(redis, queue.keys, dead)
    for idx in range(4):
        await overdue(redis, queue, idx)
    (report,) = await upkeep.sweep(["b"])
    assert (report.num_rows_made, report.num_jobs_left) == (3, 2)
    assert sorted(entry.idx for entry in await outbox(queue, "b")) == [0, 2, 3]
    assert await queue.commit("alive", commits(alive)) == [CommitReply.OK]
    await queue.commit("alive", commits(await take(queue, "alive")))
    assert await queue.finish("b") is BatchState.COMPLETED, "its own time was not over"
    await check_invariants(redis, queue, "b")


async def test_a_pause_between_attempts_counts_against_the_deadline(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    await add_batch(queue, "b", [job(0, ttl_ms=LONG_MS), job(1, ttl_ms=LONG_MS)])
    leases = await take(queue)
    await start(queue, "worker-a", leases)
    assert await queue.retry("worker-a", failure(leases[0])) is CommitReply.LATER
    await overdue(redis, queue, 0)
    await overdue(redis, queue, 1)
    assert await queue.retry("worker-a", failure(leases[1])) is CommitReply.OK
    await upkeep.sweep(["b"])
    status = await queue.status("b")
    assert (status.num_expired, status.state) == (2, BatchState.FINALIZING)
    assert not await redis.exists(queue.keys.later(MODEL))


async def test_a_lapsed_lease_of_an_overdue_job_is_not_given_out_again(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0, ttl_ms=LONG_MS)])
    await let_lapse(redis, queue.keys, await take(queue, "dead"))
    await overdue(redis, queue, 0)
    await asyncio.sleep(0.002)
    assert await take(queue) == []
    assert (await queue.status("b")).state is BatchState.FINALIZING


async def test_a_line_that_has_its_result_gets_no_deadline(
    redis: Redis, keys: Keys, queue: RedisQueue
) -> None:
    await queue.create_batch(BatchSpec(batch_id="b"))
    await queue.restore("b", [0], OutcomeCounts(num_ok=1))
    await queue.enqueue("b", 0, [job(0, ttl_ms=LONG_MS), row(1)], is_final=True)
    assert not await redis.exists(keys.deadlines("b"))
    await queue.delete_batch("b")
    await add_batch(queue, "c", [job(0, ttl_ms=LONG_MS)])
    await queue.delete_batch("c")
    assert not await redis.exists(keys.deadlines("c"))
