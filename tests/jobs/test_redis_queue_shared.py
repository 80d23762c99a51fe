"""Jobs of a batch that have the same answer: one of them computes it."""

import asyncio
from collections import Counter

import pytest
from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.outbox_rows import entry_to_row
from jobs.queue import BatchSpec, BatchState, Commit, CommitReply, Lease, Outcome
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.upkeep import Upkeep
from tests.jobs.builders import make_row
from tests.jobs.queue_lines import (
    MODEL,
    add_batch,
    check_invariants,
    commits,
    empty_outbox,
    failure,
    is_fake,
    job,
    let_lapse,
    outbox,
    start,
    take,
)


@pytest.fixture
def settings() -> QueueSettings:
    return QueueSettings(reap_every_ms=1, first_retry_ms=1, longest_retry_ms=1, max_attempts=2)


def twins(count: int, answer_hash: str = "a", *, first: int = 0) -> list:
    return [job(first + k, answer_hash=answer_hash) for k in range(count)]


async def finish(queue: RedisQueue, consumer: str = "worker-a") -> list[Lease]:
    """Compute everything, as a worker that never fails; what was computed."""
    computed: list[Lease] = []
    idle = 0
    while idle < 5:
        leases = await take(queue, consumer)
        await queue.commit(consumer, commits(leases))
        computed += leases
        idle = 0 if leases else idle + 1
        await asyncio.sleep(0.002)
    return computed


async def test_a_request_that_comes_often_is_computed_once(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [*twins(300), *twins(2, "other", first=300), job(302)])
    computed = await finish(queue)
    assert Counter(lease.answer_hash for lease in computed) == {"a": 1, "other": 1, None: 1}
    assert (await queue.status("b")).state is BatchState.FINALIZING
    rows = {entry.idx: entry for entry in await outbox(queue, "b")}
    assert len(rows) == 303
    leader = next(lease.idx for lease in computed if lease.answer_hash == "a")
    for idx in range(300):
        assert rows[idx].payload == f"result {leader}".encode()
        assert rows[idx].deduped_from == (None if idx == leader else leader)
    assert rows[302].deduped_from is None
    assert (await queue.counters())["deduped"] == 300
    await check_invariants(redis, queue, "b")


async def test_each_row_is_its_own_and_names_the_one_it_is_from(queue: RedisQueue) -> None:
    await add_batch(queue, "b", twins(2))
    (lease,) = await take(queue)
    payload = make_row(lease.idx, custom_id=lease.custom_id).encode()
    await queue.commit("worker-a", [Commit(lease=lease, outcome=Outcome.OK, payload=payload)])
    await finish(queue)
    rows = [entry_to_row(entry) for entry in await outbox(queue, "b")]
    assert [(row.idx, row.custom_id, row.deduped_from) for row in rows] == [
        (0, "line-0", None),
        (1, "line-1", 0),
    ]
    assert rows[0].content == rows[1].content


async def test_followers_wait_for_a_leader_wherever_it_runs(queue: RedisQueue) -> None:
    await add_batch(queue, "b", twins(3))
    (leader,) = await take(queue, "slow")
    for _ in range(3):
        assert await take(queue, "other") == []
    await queue.commit("slow", commits([leader]))
    assert await finish(queue, "other") == []
    assert (await queue.status("b")).num_ok == 3


async def test_a_result_is_kept_for_those_that_come_later(queue: RedisQueue) -> None:
    await queue.create_batch(BatchSpec(batch_id="b"))
    await queue.enqueue("b", 0, twins(1), is_final=False)
    assert len(await finish(queue)) == 1
    await queue.enqueue("b", 1, twins(5, first=1), is_final=True)
    assert await finish(queue) == []
    assert (await queue.status("b")).state is BatchState.FINALIZING


async def test_batches_do_not_share(queue: RedisQueue) -> None:
    await add_batch(queue, "b", twins(2))
    await add_batch(queue, "c", twins(2), tenant="other")
    assert sorted(lease.batch_id for lease in await finish(queue)) == ["b", "c"]


async def test_a_leader_that_is_refused_leaves_the_others_their_own_try(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", twins(3))
    (leader,) = await take(queue)
    await queue.commit("worker-a", commits([leader], Outcome.ERR))
    computed = await finish(queue)
    assert [lease.idx for lease in computed] == [1]
    outcomes = {entry.idx: entry.outcome for entry in await outbox(queue, "b")}
    assert outcomes == {0: Outcome.ERR, 1: Outcome.OK, 2: Outcome.OK}
    await check_invariants(redis, queue, "b")


async def test_a_leader_that_fails_for_good_leaves_the_others_their_own_try(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", twins(3))
    for attempt in (1, 2):
        (leader,) = await take(queue, in_flight=0)
        assert (leader.idx, leader.attempt) == (0, attempt), "its followers wait meanwhile"
        await start(queue, "worker-a", [leader])
        await queue.retry("worker-a", failure(leader))
        await asyncio.sleep(0.004)
    assert len(await redis.xrange(queue.keys.dead)) == 1
    assert [lease.idx for lease in await finish(queue)] == [1]
    outcomes = {entry.idx: entry.outcome for entry in await outbox(queue, "b")}
    assert outcomes == {0: Outcome.ERR, 1: Outcome.OK, 2: Outcome.OK}


async def test_a_leader_whose_worker_dies_stays_the_leader(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", twins(4))
    lost = await take(queue, "dead")
    await let_lapse(redis, queue.keys, lost)
    await asyncio.sleep(0.002)
    assert [lease.idx for lease in await finish(queue, "alive")] == [0]
    assert (await queue.status("b")).num_ok == 4


async def test_a_restart_of_the_only_process_goes_on_sharing(queue: RedisQueue) -> None:
    await add_batch(queue, "b", twins(50))
    await take(queue, "before")
    await queue.reclaim_all("b")
    assert [lease.idx for lease in await finish(queue, "after")] == [0]
    assert (await queue.status("b")).num_ok == 50


async def test_a_leader_that_somebody_deleted_is_replaced(
    redis: Redis, keys: Keys, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", twins(3))
    await take(queue, "worker-b")
    stream = keys.stream("b", MODEL)
    await redis.xack(stream, "g", "1-0")
    await redis.xdel(stream, "1-0")
    await redis.zadd(keys.later(MODEL), {"b:2-1": 0, "b:3-2": 0})
    assert [lease.idx for lease in await finish(queue)] == [1]


async def test_followers_end_with_their_batch(
    redis: Redis, keys: Keys, queue: RedisQueue, upkeep: Upkeep
) -> None:
    await add_batch(queue, "b", twins(5), sink="redis")
    (leader,) = await take(queue)
    await queue.cancel("b")
    await upkeep.sweep(["b"])
    assert (await queue.status("b")).num_cancelled == 4
    await queue.commit("worker-a", commits([leader], Outcome.CANCELLED))
    assert await queue.finish("b") is BatchState.CANCELLED
    for key in (keys.shared("b"), keys.kept("b"), keys.followers("b", "a"), keys.later(MODEL)):
        assert not await redis.exists(key), key


async def test_one_follower_can_be_cancelled(queue: RedisQueue) -> None:
    await add_batch(queue, "b", twins(3))
    (leader,) = await take(queue)
    assert await queue.cancel_job("b", 1)
    await queue.commit("worker-a", commits([leader]))
    await finish(queue)
    status = await queue.status("b")
    assert (status.num_ok, status.num_cancelled) == (2, 1)


async def test_what_is_kept_is_bounded(redis: Redis, keys: Keys, queue: RedisQueue) -> None:
    if is_fake(redis):
        pytest.skip("the in-process server takes long for a thousand jobs")
    jobs = [job(k, answer_hash=f"h{k}") for k in range(1_100)]
    await add_batch(queue, "b", jobs, is_final=False)
    while leases := await take(queue):
        await queue.commit("worker-a", commits(leases))
    assert await redis.hlen(keys.shared("b")) == 1_000
    await queue.enqueue("b", 1_100, [job(1_100, answer_hash="h1099")], is_final=False)
    assert await take(queue) == []
    await queue.enqueue("b", 1_101, [job(1_101, answer_hash="h0")], is_final=True)
    assert [lease.idx for lease in await take(queue)] == [1_101], "forgotten, so computed again"


async def test_a_large_result_is_kept_only_for_those_who_wait(
    redis: Redis, keys: Keys, queue: RedisQueue
) -> None:
    large = b"x" * 100_000
    await add_batch(queue, "b", [*twins(2), job(2, answer_hash="lonely")])
    leases = await take(queue)
    replies = await queue.commit(
        "worker-a",
        [Commit(lease=lease, outcome=Outcome.OK, payload=large) for lease in leases],
    )
    assert set(replies) == {CommitReply.OK}
    assert [field[:2] for field in await redis.hkeys(keys.shared("b"))] == [b"r:"]
    await finish(queue)
    assert [entry.payload for entry in await outbox(queue, "b")] == [large] * 3


async def test_a_full_outbox_stops_the_copies(redis: Redis, keys: Keys) -> None:
    queue = RedisQueue(redis, keys, QueueSettings(reap_every_ms=1, max_outbox=50))
    await add_batch(queue, "b", twins(400))
    await queue.commit("worker-a", commits(await take(queue)))
    for _ in range(20):
        await take(queue)
        await asyncio.sleep(0.002)
    waiting = len(await outbox(queue, "b"))
    assert waiting < 300
    done = waiting
    for _ in range(200):
        await empty_outbox(queue, "b")
        assert await take(queue) == [], "nothing is computed again"
        await asyncio.sleep(0.002)
        done += len(await outbox(queue, "b"))
        if (await queue.status("b")).num_ok == 400:
            return
    pytest.fail(f"only {(await queue.status('b')).num_ok} rows came, {done} of them seen")
