"""How batches end early, wait, or are put right after Redis lost something."""

import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from jobs.keys import Keys
from jobs.queue import (
    BatchSpec,
    BatchState,
    CommitReply,
    LeaseLoss,
    Outcome,
    OutcomeCounts,
    ReconcileResult,
    Release,
)
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.retrying import is_passing
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
    snapshot,
    take,
)

PAST_MS = 1_000_000_000_000


def limited(redis: Redis, keys: Keys, **limits: int) -> RedisQueue:
    """A queue with small bounds."""
    return RedisQueue(redis, keys, QueueSettings(**limits))


async def expire(redis: Redis, queue: RedisQueue, batch_id: str) -> None:
    await redis.hset(queue.keys.batch(batch_id), "expires_at", PAST_MS)


async def test_a_cancelled_batch_gives_every_line_one_row(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(k) for k in range(300)])
    running = await take(queue, max_jobs=3)
    assert await queue.cancel("b") is BatchState.CANCELLING
    assert await queue.cancel("b") is BatchState.CANCELLING
    while await take(queue, "other", max_jobs=1):
        pytest.fail("a job of a cancelled batch was leased")
    lost = await queue.renew("worker-a", running)
    assert [each.loss for each in lost] == [LeaseLoss.CANCELLED] * 3
    assert await queue.commit("worker-a", commits(running[:1])) == [CommitReply.OK]
    replies = await queue.commit("worker-a", commits(running[1:], Outcome.CANCELLED))
    assert replies[-1] is CommitReply.LAST
    status = await queue.status("b")
    assert (status.num_ok, status.num_cancelled) == (1, 299)
    rows = await outbox(queue, "b")
    assert [entry.payload for entry in rows if entry.outcome is Outcome.OK] == [b"result 0"]
    assert rows[5].custom_id is not None
    assert rows[5].payload == b""
    await check_invariants(redis, queue, "b")
    await queue.delete_outbox("b", [entry.entry_id for entry in rows])
    assert await queue.finish("b") is BatchState.CANCELLED
    assert await queue.cancel("b") is BatchState.CANCELLED


async def test_an_expired_batch_costs_no_device_time(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(k) for k in range(10)], sink="redis")
    running = await take(queue, max_jobs=2)
    await expire(redis, queue, "b")
    lost = await queue.renew("worker-a", running)
    assert [each.loss for each in lost] == [LeaseLoss.EXPIRED] * 2
    await let_lapse(redis, queue.keys, running[1:])
    await asyncio.sleep(0.002)
    assert await take(queue, "other") == []
    assert await queue.commit("worker-a", commits(running)) == [CommitReply.LAST, CommitReply.GONE]
    status = await queue.status("b")
    assert (status.num_ok, status.num_expired) == (1, 9)
    await check_invariants(redis, queue, "b")
    assert await queue.finish("b") is BatchState.EXPIRED


async def test_a_batch_that_was_done_in_time_did_not_expire(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0)], sink="redis")
    await queue.commit("worker-a", commits(await take(queue)))
    await expire(redis, queue, "b")
    assert await queue.cancel("b") is BatchState.FINALIZING
    assert await queue.finish("b") is BatchState.COMPLETED


async def test_a_batch_that_is_born_expired_runs_nothing(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(0), row(1)], expires_at_ms=PAST_MS)
    assert await take(queue) == []
    status = await queue.status("b")
    assert (status.state, status.num_expired, status.num_err) == (BatchState.FINALIZING, 1, 1)
    await check_invariants(redis, queue, "b")


async def test_lines_that_come_after_a_cancel_become_rows(redis: Redis, queue: RedisQueue) -> None:
    await queue.create_batch(BatchSpec(batch_id="b"))
    await queue.enqueue("b", 0, [job(0)], is_final=False)
    await queue.cancel("b")
    reply = await queue.enqueue("b", 1, [job(1), row(2)], is_final=True)
    assert reply.accepted
    await take(queue)
    status = await queue.status("b")
    assert (status.state, status.num_cancelled, status.num_err) == (BatchState.FINALIZING, 2, 1)
    await check_invariants(redis, queue, "b")


async def test_cancelling_an_unknown_batch_finds_none(queue: RedisQueue) -> None:
    assert await queue.cancel("nobody") is None
    assert not await queue.cancel_job("nobody", 0)


async def test_one_line_can_be_cancelled(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(k) for k in range(5)])
    running = await take(queue, max_jobs=2)
    assert await queue.cancel_job("b", 0), "it runs"
    assert await queue.cancel_job("b", 3), "it waits"
    lost = await queue.renew("worker-a", running)
    assert [(each.lease.idx, each.loss) for each in lost] == [(0, LeaseLoss.CANCELLED)]
    await queue.commit("worker-a", commits(running[:1], Outcome.CANCELLED))
    assert [lease.idx for lease in await take(queue, "other")] == [2, 4]
    assert not await queue.cancel_job("b", 3), "it has its row"
    assert (await queue.status("b")).num_cancelled == 2
    await check_invariants(redis, queue, "b")


async def test_a_cancelled_line_of_a_dead_worker_is_not_run_again(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0)])
    await let_lapse(redis, queue.keys, await take(queue, "dead"))
    await queue.cancel_job("b", 0)
    await asyncio.sleep(0.002)
    assert await take(queue) == []
    assert (await queue.status("b")).state is BatchState.FINALIZING
    await check_invariants(redis, queue, "b")


async def test_a_full_queue_takes_nothing_until_there_is_room(redis: Redis, keys: Keys) -> None:
    queue = limited(redis, keys, max_depth=5, reap_every_ms=1)
    await queue.create_batch(BatchSpec(batch_id="b1"))
    await queue.create_batch(BatchSpec(batch_id="b2"))
    assert (await queue.enqueue("b1", 0, [job(k) for k in range(4)], is_final=False)).accepted
    refused = await queue.enqueue("b2", 0, [job(0), job(1)], is_final=True)
    assert (refused.accepted, refused.is_full, refused.position) == (False, True, 0)
    assert (await queue.status("b2")).num_enqueued == 0, "all of a chunk or nothing"
    assert (await queue.enqueue("b2", 0, [row(0), job(1)], is_final=True)).accepted
    leases = await take(queue)
    assert (await queue.enqueue("b1", 4, [job(4)], is_final=True)).is_full, "leased counts"
    await queue.commit("worker-a", commits(leases[:1]))
    assert (await queue.enqueue("b1", 4, [job(4)], is_final=True)).accepted


async def test_a_queue_is_full_by_bytes_too(redis: Redis, keys: Keys) -> None:
    queue = limited(redis, keys, max_bytes=1000)
    await queue.create_batch(BatchSpec(batch_id="b"))
    assert (await queue.enqueue("b", 0, [job(0, body=b"x" * 900)], is_final=False)).accepted
    assert (await queue.enqueue("b", 1, [job(1, body=b"x" * 200)], is_final=False)).is_full
    await queue.commit("worker-a", commits(await take(queue)))
    assert (await queue.enqueue("b", 1, [job(1, body=b"x" * 200)], is_final=True)).accepted


async def test_a_producer_of_bad_lines_waits_for_its_sink(redis: Redis, keys: Keys) -> None:
    queue = limited(redis, keys, max_outbox=3)
    await queue.create_batch(BatchSpec(batch_id="b"))
    await queue.create_batch(BatchSpec(batch_id="kept", sink="redis"))
    rows = [row(k) for k in range(3)]
    assert (await queue.enqueue("b", 0, rows, is_final=False)).accepted
    assert (await queue.enqueue("b", 3, [row(3)], is_final=False)).is_full
    assert (await queue.enqueue("b", 3, [job(3)], is_final=False)).accepted
    await empty_outbox(queue, "b")
    assert (await queue.enqueue("b", 4, [row(k) for k in range(4, 9)], is_final=True)).accepted, (
        "a chunk beyond the bound still gets through an empty outbox"
    )
    for first in range(0, 9, 3):
        some = [row(k) for k in range(first, first + 3)]
        assert (await queue.enqueue("kept", first, some, is_final=False)).accepted


async def test_a_batch_whose_sink_lags_gets_no_workers(redis: Redis, keys: Keys) -> None:
    queue = limited(redis, keys, max_outbox=2, reap_every_ms=1)
    await add_batch(queue, "slow", [job(k) for k in range(6)])
    await add_batch(queue, "fast", [job(k) for k in range(6)], tenant="other", sink="redis")
    first = await take(queue, max_jobs=12)
    assert len(first) == 12
    await let_lapse(redis, keys, [lease for lease in first if lease.idx >= 2])
    await queue.commit("worker-a", commits([lease for lease in first if lease.idx < 2]))
    await asyncio.sleep(0.002)
    again = [lease for _ in range(4) for lease in await take(queue, "other")]
    assert {lease.batch_id for lease in again} == {"fast"}
    await empty_outbox(queue, "slow")
    await asyncio.sleep(0.005)
    assert {lease.batch_id for lease in await take(queue, "other")} == {"slow"}


async def test_waiting_jobs_of_a_batch_whose_sink_lags_stay_where_they_are(
    redis: Redis, keys: Keys
) -> None:
    queue = limited(redis, keys, max_outbox=2)
    await add_batch(queue, "slow", [row(0), row(1), job(2)])
    await add_batch(queue, "cancelled", [row(0), row(1), job(2)])
    await queue.cancel("cancelled")
    assert await take(queue) == []
    assert (await queue.status("cancelled")).num_cancelled == 0
    for batch_id in ("slow", "cancelled"):
        await empty_outbox(queue, batch_id)
    assert [(lease.batch_id, lease.idx) for lease in await take(queue)] == [("slow", 2)]
    assert (await queue.status("cancelled")).num_cancelled == 1


async def test_waiting_for_a_sink_writes_nothing(redis: Redis, keys: Keys) -> None:
    if is_fake(redis):
        pytest.skip("fakeredis does not count changes")
    queue = limited(redis, keys, max_outbox=1)
    await add_batch(queue, "b", [row(0), job(1)])
    await take(queue)
    before = (await redis.info("persistence"))["rdb_changes_since_last_save"]
    for _ in range(10):
        assert await take(queue) == []
    assert (await redis.info("persistence"))["rdb_changes_since_last_save"] == before


async def test_a_batch_behind_many_whose_sinks_lag_is_reached(redis: Redis, keys: Keys) -> None:
    queue = limited(redis, keys, max_outbox=1)
    for k in range(40):
        await add_batch(queue, f"slow-{k}", [row(0), job(1)], tenant=f"t{k % 3}")
    await add_batch(queue, "fast", [job(0)], tenant="t0")
    taken = [lease.batch_id for _ in range(50) for lease in await take(queue)]
    assert taken == ["fast"]


async def test_a_lagging_sink_does_not_make_the_leases_of_others_small(
    redis: Redis, keys: Keys
) -> None:
    queue = limited(redis, keys, max_outbox=1, burst=2, quantum_tokens=20)
    await add_batch(queue, "slow", [row(0), job(1)], tenant="a")
    await add_batch(queue, "fast", [job(k) for k in range(30)], tenant="b")
    assert len(await take(queue, max_jobs=30)) == 30


async def test_an_error_of_ours_is_not_taken_for_a_broken_batch(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0)])
    await queue.cancel("b")
    await redis.hset(queue.keys.backlog, f"jobs:{MODEL}", "not a number")
    with pytest.raises(ResponseError, match="arithmetic"):
        await take(queue)
    assert await redis.smembers(queue.keys.broken) == set()


async def test_lines_that_files_hold_are_not_computed_again(
    redis: Redis, queue: RedisQueue
) -> None:
    """Redis lost everything; the batch is rebuilt from the parts on disk."""
    await queue.create_batch(BatchSpec(batch_id="b"))
    counts = OutcomeCounts(num_ok=3, num_err=1)
    assert await queue.restore("b", [0, 1, 8, 17], counts)
    assert (await queue.enqueue("b", 0, [job(k) for k in range(18)], is_final=True)).accepted
    assert not await queue.restore("b", [0], counts), "its fan-out is over"
    leases = await take(queue)
    assert sorted(lease.idx for lease in leases) == [2, 3, 4, 5, 6, 7, *range(9, 17)]
    assert (await queue.commit("worker-a", commits(leases)))[-1] is CommitReply.LAST
    status = await queue.status("b")
    assert (status.num_ok, status.num_err, status.total) == (17, 1, 18)


async def test_a_batch_that_files_hold_completely_needs_nothing_more(queue: RedisQueue) -> None:
    await queue.create_batch(BatchSpec(batch_id="b"))
    await queue.restore("b", range(9), OutcomeCounts(num_ok=9))
    assert (await queue.enqueue("b", 0, [job(k) for k in range(9)], is_final=True)).accepted
    assert (await queue.status("b")).state is BatchState.FINALIZING


async def test_lost_jobs_are_put_back_from_the_input(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(k) for k in range(20)])
    await queue.commit("worker-a", commits(await take(queue, max_jobs=12)))
    await redis.delete(queue.keys.stream("b", MODEL))
    await redis.delete(queue.keys.bitmap("b"))
    missing = [job(k) for k in range(12, 19)] + [row(19)]
    counts = OutcomeCounts(num_ok=12)
    busy = await queue.reconcile("b", total=20, counts=counts, missing=missing)
    assert (busy.result, busy.count) == (ReconcileResult.BUSY, 12), "rows are on their way"

    await empty_outbox(queue, "b")
    done = await queue.reconcile("b", total=20, counts=counts, missing=missing)
    assert (done.result, done.count) == (ReconcileResult.REQUEUED, 8)
    await redis.xgroup_create(queue.keys.stream("b", MODEL), "g", "0")
    seen = await snapshot(redis, queue, "b")
    assert seen.with_result | set(seen.in_stream) == set(range(20))
    leases = await take(queue)
    assert [lease.idx for lease in leases] == list(range(12, 19))
    assert (await queue.commit("worker-a", commits(leases)))[-1] is CommitReply.LAST


async def test_counters_that_drifted_are_taken_from_the_files(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(k) for k in range(3)])
    await queue.commit("worker-a", commits(await take(queue)))
    await redis.hset(queue.keys.batch("b"), mapping={"ok": 2, "state": "in_progress"})
    await empty_outbox(queue, "b")
    reply = await queue.reconcile("b", total=3, counts=OutcomeCounts(num_ok=3), missing=[])
    assert reply.result is ReconcileResult.DONE
    assert (await queue.status("b")).num_ok == 3
    assert await queue.finish("b") is BatchState.COMPLETED


async def test_reconcile_leaves_other_batches_alone(queue: RedisQueue) -> None:
    none = OutcomeCounts()
    reply = await queue.reconcile("nobody", total=1, counts=none, missing=[job(0)])
    assert reply.result is ReconcileResult.STATE
    await queue.create_batch(BatchSpec(batch_id="b"))
    reply = await queue.reconcile("b", total=1, counts=none, missing=[job(0)])
    assert reply.result is ReconcileResult.STATE, "its producer is not done"
    await queue.enqueue("b", 0, [job(0)], is_final=True)
    reply = await queue.reconcile("b", total=1, counts=none, missing=[job(0)])
    assert (reply.result, reply.count) == (ReconcileResult.BUSY, 1)
    assert len(await take(queue)) == 1


async def test_a_server_without_memory_changes_nothing(redis: Redis, queue: RedisQueue) -> None:
    if is_fake(redis):
        pytest.skip("fakeredis has no memory limit")
    await add_batch(queue, "b", [job(0), job(1)], is_final=False)
    leases = await take(queue, max_jobs=1)
    before = await check_invariants(redis, queue, "b")
    await redis.config_set("maxmemory", "100kb")
    try:
        for refused in (
            lambda: queue.commit("worker-a", commits(leases)),
            lambda: queue.enqueue("b", 2, [job(2)], is_final=True),
        ):
            with pytest.raises(RedisError) as caught:
                await refused()
            assert is_passing(caught.value), caught.value
        assert await queue.renew("worker-a", leases, started=leases) == [], "leases are kept"
        assert await check_invariants(redis, queue, "b") == before
        assert await queue.release("worker-a", [Release(lease=leases[0], progress=b"p")]) == 1
    finally:
        await redis.config_set("maxmemory", "0")
    again = await take(queue)
    assert [(lease.idx, lease.attempt, lease.progress) for lease in again] == [
        (0, 1, b"p"),
        (1, 1, b""),
    ]
    assert await queue.commit("worker-a", commits(again)) == [CommitReply.OK] * 2
    await check_invariants(redis, queue, "b")
    assert await redis.smembers(queue.keys.broken) == set()


@pytest.mark.parametrize("ruin", ["delete", "replace", "ungroup"])
async def test_a_batch_with_ruined_keys_does_not_stop_the_others(
    redis: Redis, queue: RedisQueue, ruin: str
) -> None:
    if ruin == "replace" and is_fake(redis):
        pytest.skip("fakeredis crashes on stream commands against a string")
    await add_batch(queue, "ruined", [job(k) for k in range(4)])
    await add_batch(queue, "whole", [job(k) for k in range(4)])
    stream = queue.keys.stream("ruined", MODEL)
    if ruin == "ungroup":
        await redis.xgroup_destroy(stream, "g")
    else:
        await redis.delete(stream)
    if ruin == "replace":
        await redis.set(stream, "foreign")
    leases = await take(queue)
    assert [(lease.batch_id, lease.idx) for lease in leases] == [("whole", k) for k in range(4)]
    assert await redis.smembers(queue.keys.broken) == {b"ruined"}
    assert await take(queue) == []


async def test_a_commit_into_foreign_keys_does_not_stop_the_others(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "ruined", [job(0)])
    await add_batch(queue, "whole", [job(0)])
    leases = await take(queue)
    await redis.delete(queue.keys.outbox("ruined"))
    await redis.set(queue.keys.outbox("ruined"), "foreign")
    replies = await queue.commit("worker-a", commits(leases))
    assert replies == [CommitReply.GONE, CommitReply.LAST]
