"""The way of jobs that nothing happens to: in, leased, committed, out."""

import pytest
from redis.asyncio import Redis

from jobs.errors import BadBatchError, UnknownBatchError
from jobs.keys import Keys
from jobs.queue import BatchSpec, BatchState, CommitReply, NewJob, Outcome
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from tests.jobs.queue_lines import (
    MODEL,
    add_batch,
    check_invariants,
    commits,
    job,
    outbox,
    row,
    take,
)


async def test_a_batch_goes_all_the_way(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(0), job(1), row(2), job(3)])

    leases = await take(queue)
    assert [lease.idx for lease in leases] == [0, 1, 3]
    assert all(lease.attempt == 1 and not lease.is_last_attempt for lease in leases)

    replies = await queue.commit("worker-a", commits(leases))
    assert replies == [CommitReply.OK, CommitReply.OK, CommitReply.LAST]
    assert (await queue.status("b")).state is BatchState.FINALIZING

    entries = await outbox(queue, "b")
    assert {entry.idx: entry.payload for entry in entries} == {
        0: b"result 0",
        1: b"result 1",
        2: b"row",
        3: b"result 3",
    }
    await check_invariants(redis, queue, "b")
    assert await queue.finish("b") is BatchState.FINALIZING, "rows are not in their sink yet"
    await queue.delete_outbox("b", [entry.entry_id for entry in entries])
    assert await queue.finish("b") is BatchState.COMPLETED
    assert await queue.finish("b") is BatchState.COMPLETED


async def test_a_lease_carries_the_job_as_it_was_enqueued(queue: RedisQueue) -> None:
    body = bytes(range(256)) + "grüße\r\n\0".encode()
    sent = NewJob(
        idx=7, custom_id="ä\n{}", model="org/model:v1", url="/v1/x", cost_tokens=123, body=body
    )
    await add_batch(queue, "b", [sent])
    (lease,) = await take(queue, models=["org/model:v1"])
    got = (lease.idx, lease.custom_id, lease.model, lease.url, lease.cost_tokens, lease.body)
    assert got == (7, "ä\n{}", "org/model:v1", "/v1/x", 123, body)
    assert lease.key == ("b", 7)
    assert lease.enqueued_ms > 1_600_000_000_000
    assert lease.progress == b""


@pytest.mark.parametrize("custom_id", [None, "", "=", "x"])
async def test_a_missing_custom_id_is_not_an_empty_one(
    queue: RedisQueue, custom_id: str | None
) -> None:
    lines = [NewJob(idx=0, custom_id=custom_id, model=MODEL, url="/", cost_tokens=0, body=b"")]
    await add_batch(queue, "b", lines)
    leases = await take(queue)
    assert [lease.custom_id for lease in leases] == [custom_id]
    await queue.commit("worker-a", commits(leases))
    assert [entry.custom_id for entry in await outbox(queue, "b")] == [custom_id]


async def test_a_batch_id_names_one_batch(queue: RedisQueue) -> None:
    assert await queue.create_batch(BatchSpec(batch_id="b", tenant="first"))
    assert not await queue.create_batch(BatchSpec(batch_id="b", tenant="second"))
    assert (await queue.status("b")).tenant == "first"


@pytest.mark.parametrize(
    "spec",
    [
        BatchSpec(batch_id="a:b"),
        BatchSpec(batch_id="b", tenant="a b"),
        BatchSpec(batch_id="b", priority="urgent"),
        BatchSpec(batch_id="b", weight=0),
    ],
)
async def test_a_batch_that_cannot_be_kept_apart_is_refused(
    queue: RedisQueue, spec: BatchSpec
) -> None:
    with pytest.raises(BadBatchError):
        await queue.create_batch(spec)
    assert await queue.list_batches() == []


async def test_the_status_tells_what_the_spec_said(queue: RedisQueue) -> None:
    await queue.create_batch(
        BatchSpec(
            batch_id="b",
            tenant="t",
            expires_at_ms=9_999_999_999_999,
            sink="/data/out.jsonl",
            metadata_json='{"a":1}',
        )
    )
    status = await queue.status("b")
    assert (status.state, status.total, status.num_enqueued) == (BatchState.IN_PROGRESS, None, 0)
    assert (status.tenant, status.sink) == ("t", "/data/out.jsonl")
    assert (status.expires_at_ms, status.metadata_json) == (9_999_999_999_999, '{"a":1}')
    assert await queue.status("unknown") is None
    assert [each.batch_id for each in await queue.list_batches()] == ["b"]


async def test_a_chunk_counts_once_however_often_it_is_sent(
    redis: Redis, queue: RedisQueue
) -> None:
    await queue.create_batch(BatchSpec(batch_id="b"))
    first = [job(0), job(1)]
    assert (await queue.enqueue("b", 0, first, is_final=False)).position == 2
    again = await queue.enqueue("b", 0, first, is_final=False)
    assert (again.accepted, again.position, again.is_full) == (False, 2, False)
    ahead = await queue.enqueue("b", 5, [job(5)], is_final=False)
    assert (ahead.accepted, ahead.position) == (False, 2)
    last = await queue.enqueue("b", 2, [job(2)], is_final=True)
    assert (last.accepted, last.position) == (True, 3)
    repeated = await queue.enqueue("b", 2, [job(2)], is_final=True)
    assert (repeated.accepted, repeated.position) == (True, 3)
    assert len(await take(queue)) == 3
    await check_invariants(redis, queue, "b")


async def test_a_chunk_that_was_torn_half_way_is_completed(redis: Redis, queue: RedisQueue) -> None:
    """A server that lost the end of a transaction has entries that no counter knows of."""
    await queue.create_batch(BatchSpec(batch_id="b"))
    await queue.enqueue("b", 0, [job(0), row(1), job(2)], is_final=False)
    await redis.hset(queue.keys.batch("b"), "enq", 0)
    assert (await queue.enqueue("b", 0, [job(0), row(1), job(2), job(3)], is_final=True)).accepted
    assert [lease.idx for lease in await take(queue)] == [0, 2, 3]
    await check_invariants(redis, queue, "b")


async def test_lines_of_an_unknown_or_closed_batch_are_refused(queue: RedisQueue) -> None:
    assert (await queue.enqueue("b", 0, [job(0)], is_final=False)).state == ""
    await add_batch(queue, "b", [job(0)])
    late = await queue.enqueue("b", 1, [job(1)], is_final=False)
    assert (late.accepted, late.state, late.position) == (False, "in_progress", 1)


async def test_an_empty_batch_is_complete_at_once(queue: RedisQueue) -> None:
    await add_batch(queue, "b", [])
    assert (await queue.status("b")).state is BatchState.FINALIZING
    assert await queue.finish("b") is BatchState.COMPLETED


async def test_a_batch_of_refused_lines_needs_no_worker(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [row(0), row(1, Outcome.OK)])
    status = await queue.status("b")
    assert (status.state, status.num_ok, status.num_err) == (BatchState.FINALIZING, 1, 1)
    assert await take(queue) == []
    await check_invariants(redis, queue, "b")


async def test_fan_out_order_need_not_be_line_order(queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(5), job(0), job(3)])
    assert [lease.idx for lease in await take(queue)] == [5, 0, 3]


async def test_jobs_go_to_workers_that_serve_their_model(queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(0, model="m1"), job(1, model="m2"), job(2, model="m1")])
    assert [lease.idx for lease in await take(queue, models=["m2"])] == [1]
    assert await take(queue, models=["m3"]) == []
    assert [lease.idx for lease in await take(queue, models=["m1", "m2"])] == [0, 2]


async def test_no_model_of_a_worker_starves_another(queue: RedisQueue) -> None:
    await add_batch(queue, "b1", [job(k, model="m1") for k in range(50)])
    await add_batch(queue, "b2", [job(k, model="m2") for k in range(50)])
    taken = [
        lease.model
        for _ in range(10)
        for lease in await take(queue, models=["m1", "m2"], max_jobs=1)
    ]
    assert taken.count("m1") == taken.count("m2") == 5


async def test_a_consumer_gets_no_more_jobs_than_it_asked_for(queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(k) for k in range(100)])
    assert len(await take(queue, max_jobs=7)) == 7
    assert await take(queue, max_jobs=0) == []
    assert await take(queue, models=[]) == []
    assert [lease.idx for lease in await take(queue, max_jobs=3)] == [7, 8, 9]


async def test_leases_are_worth_the_tokens_that_were_asked_for(queue: RedisQueue) -> None:
    costs = [100, 900, 5, 5, 400, 30, 2000, 1, 1, 1] * 10
    await add_batch(queue, "b", [job(k, cost=cost) for k, cost in enumerate(costs)])
    seen = 0
    while leases := await take(queue, max_cost=1000):
        got = [lease.cost_tokens for lease in leases]
        assert sum(got) - got[-1] < 1000, "more than the last job is over the budget"
        assert sum(got) >= 1000 or seen + len(got) == len(costs)
        seen += len(got)
    assert seen == len(costs)
    assert await take(queue, max_cost=0) == []


async def test_jobs_without_cost_can_be_taken(queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(k, cost=0) for k in range(5)])
    leases = await take(queue, max_cost=1)
    await queue.commit("worker-a", commits(leases))
    assert len(leases) == 5
    assert (await queue.backlog())[MODEL].num_tokens == 0


async def test_the_backlog_is_what_is_queued_or_leased(queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(0, cost=10), job(1, cost=20), job(2, model="m2", cost=5)])
    assert [(b.num_jobs, b.num_tokens) for b in (await queue.backlog()).values()] == [
        (2, 30),
        (1, 5),
    ]
    leases = await take(queue)
    assert (await queue.backlog())[MODEL].num_jobs == 2, "leased work is backlog"
    await queue.commit("worker-a", commits(leases[:1]))
    assert (await queue.backlog())[MODEL].num_tokens == 20
    assert await queue.delete_batch("b")
    assert all(b.num_jobs == b.num_tokens == 0 for b in (await queue.backlog()).values())


async def test_a_deleted_batch_leaves_nothing_behind(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(0), job(1), row(2)])
    (lease,) = await take(queue, max_jobs=1)
    await queue.renew("worker-a", [lease], started=[lease])
    assert await queue.delete_batch("b")
    assert not await queue.delete_batch("b")
    assert await queue.commit("worker-a", commits([lease])) == [CommitReply.GONE]
    assert await take(queue) == []
    left = {key.decode() for key in await redis.keys("*")}
    shared = {queue.keys.backlog, queue.keys.stat, queue.keys.epoch}
    assert left - shared == set()


async def test_an_outbox_can_be_read_in_pages(queue: RedisQueue) -> None:
    await add_batch(queue, "b", [row(k) for k in range(5)], sink="redis")
    first = await queue.read_outbox("b", 3)
    rest = await queue.read_outbox("b", 3, after=first[-1].entry_id)
    assert [entry.idx for entry in [*first, *rest]] == [0, 1, 2, 3, 4]


async def test_results_for_readers_in_redis_stay_when_the_batch_is_final(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [row(0)], sink="redis")
    assert await queue.finish("b") is BatchState.COMPLETED
    assert len(await outbox(queue, "b")) == 1
    assert 0 < await redis.pttl(queue.keys.outbox("b")) <= queue.settings.retention_ms
    assert 0 < await redis.pttl(queue.keys.batch("b")) <= queue.settings.retention_ms


async def test_finishing_an_unknown_batch_says_so(queue: RedisQueue) -> None:
    with pytest.raises(UnknownBatchError, match="nobody"):
        await queue.finish("nobody")


async def test_finish_leaves_a_running_batch_alone(queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(0)])
    assert await queue.finish("b") is BatchState.IN_PROGRESS
    assert len(await take(queue)) == 1


async def test_a_server_that_forgets_its_scripts_is_told_again(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(k) for k in range(4)])
    leases = await take(queue)
    await queue.commit("worker-a", commits(leases[:1]))
    await redis.script_flush()
    assert await queue.commit("worker-a", commits(leases[1:])) == [
        CommitReply.OK,
        CommitReply.OK,
        CommitReply.LAST,
    ]
    await redis.script_flush()
    assert await queue.renew("worker-a", leases[:1]) != []


async def test_two_namespaces_do_not_meet(redis: Redis, queue: RedisQueue) -> None:
    other = RedisQueue(redis, Keys("other"), QueueSettings())
    await add_batch(queue, "b", [job(0)])
    assert await take(other) == []
    assert await other.list_batches() == []


async def test_the_epoch_names_the_data(redis: Redis, queue: RedisQueue) -> None:
    assert await queue.epoch() is None
    await add_batch(queue, "b1", [job(0)])
    first = await queue.epoch()
    await add_batch(queue, "b2", [job(0)])
    assert await queue.epoch() == first
    assert first
    await redis.flushall()
    await add_batch(queue, "b1", [job(0)])
    assert await queue.epoch() != first


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="max_attempts must be at least 1, not 0"):
        QueueSettings(max_attempts=0)
