import asyncio

import pytest
from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.queue import BatchSpec, BatchState, CommitReply, Outcome
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.upkeep import Upkeep
from schemas.result import ResultRow
from tests.jobs.queue_lines import (
    MODEL,
    add_batch,
    check_invariants,
    commits,
    empty_outbox,
    is_fake,
    job,
    let_lapse,
    outbox,
    row,
    take,
)


@pytest.fixture
def impatient(redis: Redis, keys: Keys) -> Upkeep:
    """Takes a producer for dead after a millisecond."""
    return Upkeep(redis, keys, QueueSettings(producer_timeout_ms=1))


async def sweep_until_idle(upkeep: Upkeep, batch_id: str) -> BatchState | None:
    for _ in range(50):
        (report,) = await upkeep.sweep([batch_id])
        if report.num_rows_made == 0:
            return report.state
    pytest.fail("a sweep never comes to an end")


async def test_a_cancelled_batch_completes_without_any_worker(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    await add_batch(queue, "b", [job(k, model=f"m{k % 2}") for k in range(600)])
    held = await take(queue, "dead", models=["m0"], max_jobs=5)
    await let_lapse(redis, queue.keys, held)
    await queue.cancel("b")
    assert await sweep_until_idle(upkeep, "b") is BatchState.FINALIZING
    assert (await queue.status("b")).num_cancelled == 600
    await check_invariants(redis, queue, "b")


async def test_an_expired_batch_completes_without_any_worker(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    await add_batch(queue, "b", [job(0), job(1)])
    await redis.hset(queue.keys.batch("b"), "expires_at", 1)
    assert await sweep_until_idle(upkeep, "b") is BatchState.FINALIZING
    assert {entry.outcome for entry in await outbox(queue, "b")} == {Outcome.EXPIRED}


async def test_a_live_lease_of_a_cancelled_batch_is_left_to_its_worker(
    queue: RedisQueue, upkeep: Upkeep
) -> None:
    await add_batch(queue, "b", [job(0), job(1)])
    leases = await take(queue, max_jobs=1)
    await queue.cancel("b")
    assert await sweep_until_idle(upkeep, "b") is BatchState.CANCELLING
    assert await queue.commit("worker-a", commits(leases)) == [CommitReply.LAST]


async def test_a_sweep_leaves_running_work_alone(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    await add_batch(queue, "b", [job(k) for k in range(5)])
    leases = await take(queue, max_jobs=2)
    (report,) = await upkeep.sweep(["b"])
    assert (report.num_rows_made, report.num_jobs_left, report.is_quiet) == (0, 5, False)
    assert await queue.renew("worker-a", leases) == []
    assert len(await take(queue, "other")) == 3
    await check_invariants(redis, queue, "b")


async def test_a_producer_that_died_does_not_keep_a_cancelled_batch_open(
    queue: RedisQueue, upkeep: Upkeep, impatient: Upkeep
) -> None:
    await queue.create_batch(BatchSpec(batch_id="b"))
    await queue.enqueue("b", 0, [job(0), job(1)], is_final=False)
    await queue.cancel("b")
    assert await sweep_until_idle(upkeep, "b") is BatchState.CANCELLING, "it may still send lines"
    await asyncio.sleep(0.003)
    assert await sweep_until_idle(impatient, "b") is BatchState.FINALIZING
    status = await queue.status("b")
    assert (status.total, status.num_cancelled) == (2, 2)
    assert (await queue.enqueue("b", 2, [job(2)], is_final=True)).state == "finalizing"


async def test_a_running_batch_waits_for_its_producer(queue: RedisQueue, impatient: Upkeep) -> None:
    await queue.create_batch(BatchSpec(batch_id="b"))
    await queue.enqueue("b", 0, [row(0)], is_final=False)
    await asyncio.sleep(0.003)
    assert await sweep_until_idle(impatient, "b") is BatchState.IN_PROGRESS
    assert (await queue.enqueue("b", 1, [row(1)], is_final=True)).accepted


async def test_a_sweep_stops_at_a_full_outbox(redis: Redis, keys: Keys) -> None:
    settings = QueueSettings(max_outbox=10)
    queue, upkeep = RedisQueue(redis, keys, settings), Upkeep(redis, keys, settings)
    await add_batch(queue, "b", [row(k) for k in range(10)] + [job(k) for k in range(10, 20)])
    await queue.cancel("b")
    assert await sweep_until_idle(upkeep, "b") is BatchState.CANCELLING
    await empty_outbox(queue, "b")
    assert await sweep_until_idle(upkeep, "b") is BatchState.FINALIZING


async def test_lines_whose_jobs_are_lost_end_as_errors(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    await add_batch(queue, "b", [job(k) for k in range(20)])
    await queue.commit("worker-a", commits((await take(queue))[::3]))
    for entry_id, _ in await redis.xrange(queue.keys.stream("b", MODEL)):
        await redis.xdel(queue.keys.stream("b", MODEL), entry_id)
    (report,) = await upkeep.sweep(["b"])
    assert report.is_quiet
    assert await upkeep.settle("b")
    assert (await queue.status("b")).state is BatchState.FINALIZING
    rows = {entry.idx: entry for entry in await outbox(queue, "b")}
    assert sorted(rows) == list(range(20))
    assert ResultRow.decode(rows[1].payload).error_code == "job_lost"
    assert rows[0].payload == b"result 0"
    await check_invariants(redis, queue, "b")
    assert not await upkeep.settle("b"), "nothing is left to settle"


async def test_settling_goes_on_where_it_stopped(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    await add_batch(queue, "b", [job(k) for k in range(1100)])
    await redis.delete(queue.keys.stream("b", MODEL))
    assert [await upkeep.settle("b") for _ in range(3)] == [False, False, True]
    assert len(await outbox(queue, "b")) == 1100


async def test_a_batch_with_work_is_never_settled(queue: RedisQueue, upkeep: Upkeep) -> None:
    await add_batch(queue, "b", [job(0)])
    assert not await upkeep.settle("b")
    leases = await take(queue)
    assert not await upkeep.settle("b")
    assert await queue.commit("worker-a", commits(leases)) == [CommitReply.LAST]


@pytest.mark.parametrize("ruin", ["ungroup", "delete", "replace"])
async def test_a_batch_with_ruined_keys_is_repaired(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep, ruin: str
) -> None:
    if ruin == "replace" and is_fake(redis):
        pytest.skip("fakeredis crashes on stream commands against a string")
    await add_batch(queue, "b", [job(k) for k in range(6)])
    held = await take(queue, max_jobs=2)
    stream = queue.keys.stream("b", MODEL)
    if ruin == "ungroup":
        await redis.xgroup_destroy(stream, "g")
    else:
        await redis.delete(stream)
    if ruin == "replace":
        await redis.set(stream, "foreign")
    await upkeep.sweep(["b"])
    assert await take(queue) == []
    assert await upkeep.broken_batches() == ["b"]

    assert await upkeep.repair("b")
    assert not await upkeep.repair("b"), "it is whole"
    assert await queue.commit("worker-a", commits(held)) == [CommitReply.GONE] * 2
    leases = await take(queue, "other")
    expected = list(range(6)) if ruin == "ungroup" else []
    assert [lease.idx for lease in leases] == expected
    if ruin == "ungroup":
        assert (await queue.commit("other", commits(leases)))[-1] is CommitReply.LAST
        await check_invariants(redis, queue, "b")
    else:
        assert (await upkeep.sweep(["b"]))[0].is_quiet
        assert await upkeep.settle("b")


async def test_what_was_recorded_is_never_guessed_at(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    await add_batch(queue, "b", [job(0)])
    await redis.set(queue.keys.outbox("b"), "foreign")
    await redis.sadd(queue.keys.broken, "b")
    assert not await upkeep.repair("b")
    assert await upkeep.broken_batches() == ["b"]


async def test_a_batch_whose_retention_is_over_is_forgotten(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    await add_batch(queue, "old", [], sink="redis")
    await add_batch(queue, "new", [], sink="redis")
    assert await upkeep.finalizing_batches() == ["new", "old"]
    await queue.finish("old")
    await queue.finish("new")
    assert await upkeep.active_batches() == []
    await redis.delete(queue.keys.batch("old"))
    assert await upkeep.forget_expired_batches() == 1
    assert await redis.zrange(queue.keys.batches, 0, -1) == [b"new"]


async def test_sweeping_an_unknown_batch_finds_nothing(upkeep: Upkeep) -> None:
    (report,) = await upkeep.sweep(["nobody"])
    assert (report.state, report.is_quiet) == (None, False)
    assert await upkeep.sweep([]) == []
