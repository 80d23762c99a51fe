import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.producers.fanout import FanoutReport, FanoutSettings, fan_out
from jobs.producers.windows import Item
from jobs.queue import BatchSpec, BatchState, CommitReply, Outcome, OutcomeCounts
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


class Lines:
    """A producer of `count` lines, two at a time."""

    def __init__(self, count: int, make: Callable[[int], Item] = job) -> None:
        self.items = [make(idx) for idx in range(count)]

    def chunks(self) -> Iterator[list[Item]]:
        for first in range(0, len(self.items), 2):
            yield self.items[first : first + 2]


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
    assert (status.total, status.num_cancelled, status.is_cut_short) == (2, 2, True)


@pytest.mark.parametrize("ending", ["cancelled", "expired"])
@pytest.mark.parametrize("has_leases", [True, False])
async def test_a_producer_that_comes_back_ends_the_lines_it_had_left(
    redis: Redis,
    queue: RedisQueue,
    upkeep: Upkeep,
    impatient: Upkeep,
    ending: str,
    has_leases: bool,
) -> None:
    await queue.create_batch(BatchSpec(batch_id="b"))
    await queue.enqueue("b", 0, [job(k) for k in range(4)], is_final=False)
    held = await take(queue, max_jobs=2 if has_leases else 1)
    if not has_leases:
        await queue.commit("worker-a", commits(held))
    if ending == "cancelled":
        await queue.cancel("b")
    else:
        await redis.hset(queue.keys.batch("b"), "expires_at", 1)
    await asyncio.sleep(0.003)
    await sweep_until_idle(impatient, "b")
    assert (await queue.status("b")).is_cut_short
    report = await fan_out(queue, "b", Lines(10))
    assert report == FanoutReport(10)
    if has_leases:
        replies = await queue.commit("worker-a", commits(held, Outcome(ending)))
        assert replies == [CommitReply.OK, CommitReply.LAST]
    status = await queue.status("b")
    assert (status.state, status.total) == (BatchState.FINALIZING, 10)
    assert not status.is_cut_short
    rows = await outbox(queue, "b")
    assert sorted(entry.idx for entry in rows) == list(range(10))
    assert {entry.outcome.value for entry in rows[1:]} == {ending}
    await check_invariants(redis, queue, "b")
    await empty_outbox(queue, "b")
    assert (await queue.finish("b")).value == ending
    assert await upkeep.active_batches() == []


async def test_a_batch_that_is_final_takes_no_lines_any_more(
    queue: RedisQueue, impatient: Upkeep
) -> None:
    await queue.create_batch(BatchSpec(batch_id="b", sink="redis"))
    await queue.enqueue("b", 0, [job(0)], is_final=False)
    await queue.cancel("b")
    await asyncio.sleep(0.003)
    await sweep_until_idle(impatient, "b")
    assert await queue.finish("b") is BatchState.CANCELLED
    assert await fan_out(queue, "b", Lines(3)) == FanoutReport(1, "cancelled")
    assert (await queue.status("b")).is_cut_short


@pytest.mark.parametrize("bound", ["max_depth", "max_outbox"])
async def test_a_producer_that_waits_for_room_is_not_taken_for_dead(
    redis: Redis, keys: Keys, bound: str
) -> None:
    settings = QueueSettings(producer_timeout_ms=200, **{bound: 4})
    queue, upkeep = RedisQueue(redis, keys, settings), Upkeep(redis, keys, settings)
    lines = Lines(8) if bound == "max_depth" else Lines(8, row)
    await queue.create_batch(BatchSpec(batch_id="b"))
    producing = asyncio.create_task(
        fan_out(queue, "b", lines, settings=FanoutSettings(longest_wait_s=0.05))
    )
    await asyncio.sleep(0.4)
    await redis.hset(keys.batch("b"), "expires_at", 1)
    await upkeep.sweep(["b"])
    assert not (await queue.status("b")).is_cut_short
    for _ in range(20):
        await upkeep.sweep(["b"])
        await empty_outbox(queue, "b")
        await asyncio.sleep(0.01)
    assert await asyncio.wait_for(producing, 10) == FanoutReport(8)


async def test_a_producer_that_reads_for_long_is_not_taken_for_dead(
    redis: Redis, keys: Keys
) -> None:
    class Slow(Lines):
        def chunks(self) -> Iterator[list[Item]]:
            for chunk in super().chunks():
                time.sleep(0.05)
                yield chunk

    settings = QueueSettings(producer_timeout_ms=150)
    queue, upkeep = RedisQueue(redis, keys, settings), Upkeep(redis, keys, settings)
    await add_batch(queue, "b", [job(k) for k in range(12)], is_final=False)
    await queue.cancel("b")
    patience = FanoutSettings(longest_silence_s=0.02)
    producing = asyncio.create_task(fan_out(queue, "b", Slow(14), settings=patience))
    while not producing.done():
        await upkeep.sweep(["b"])
        status = await queue.status("b")
        assert not status.is_cut_short, "twelve lines take longer to find again than the time-out"
        await asyncio.sleep(0.005)
    assert await producing == FanoutReport(14)


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


async def test_only_a_batch_that_waits_for_its_sink_gets_the_counts_of_its_files(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    await add_batch(queue, "b", [job(0), job(1), row(2)])
    counts = OutcomeCounts(num_ok=1, num_err=2, num_cancelled=0, num_expired=0)
    assert not await upkeep.recount("b", counts), "it runs"
    assert not await upkeep.recount("unknown", counts)
    await queue.commit("worker-a", commits(await take(queue)))
    assert not await upkeep.recount("b", replace(counts, num_ok=2)), "of other lines"
    status = await queue.status("b")
    assert (status.num_ok, status.num_err) == (2, 1)
    assert await upkeep.recount("b", counts)
    status = await queue.status("b")
    assert (status.num_ok, status.num_err, status.num_finished) == (1, 2, 3)


async def test_a_server_that_was_restarted_rewrites_its_log_once(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    assert not await upkeep.rewrite_log_after_restart(), "it runs since we know it"
    if is_fake(redis):
        return  # it has no log, and says so
    await redis.set(queue.keys.server_run, "another")
    assert await upkeep.rewrite_log_after_restart()
    assert not await upkeep.rewrite_log_after_restart()
    await redis.config_set("appendonly", "no")
    try:
        await redis.set(queue.keys.server_run, "another")
        assert not await upkeep.rewrite_log_after_restart(), "it keeps none"
    finally:
        await redis.config_set("appendonly", "yes")
