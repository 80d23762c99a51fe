"""What happens to jobs when workers die, stall, come back, or give up."""

import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobs.keys import Keys
from jobs.queue import BatchState, CommitReply, Lease, LeaseLoss, Outcome, Release
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.retrying import is_passing
from schemas.result import ResultRow
from tests.jobs.queue_lines import (
    GROUP,
    MODEL,
    add_batch,
    check_invariants,
    commits,
    is_fake,
    job,
    let_lapse,
    outbox,
    start,
    take,
)


async def crash(
    queue: RedisQueue, redis: Redis, consumer: str, *, num_started: int, **limits: int
) -> list[Lease]:
    """A worker takes jobs, starts some of them and is never heard of again."""
    leases = await take(queue, consumer, **limits)
    await start(queue, consumer, leases[:num_started])
    await let_lapse(redis, queue.keys, leases)
    await asyncio.sleep(0.002)  # one reap interval
    return leases


async def test_a_dead_workers_jobs_go_to_another(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(k) for k in range(5)])
    lost = await crash(queue, redis, "dead", num_started=5)
    assert len(lost) == 5
    leases = await take(queue, "alive")
    assert [(lease.idx, lease.attempt) for lease in leases] == [(k, 2) for k in range(5)]
    assert (await queue.commit("alive", commits(leases)))[-1] is CommitReply.LAST
    assert {entry.attempt for entry in await outbox(queue, "b")} == {2}
    assert (await queue.counters())["reclaimed"] == 5
    await check_invariants(redis, queue, "b")


async def test_a_failover_does_not_fail_whoever_looks_for_dead_workers_jobs(
    redis: Redis, queue: RedisQueue
) -> None:
    if is_fake(redis):
        pytest.skip("fakeredis has no replicas")
    await add_batch(queue, "b", [job(0), job(1)])
    await crash(queue, redis, "dead", num_started=2)
    await redis.replicaof("127.0.0.1", "1")
    try:
        with pytest.raises(RedisError) as caught:
            await take(queue, "alive")
        assert is_passing(caught.value), caught.value
    finally:
        await redis.replicaof("NO", "ONE")
    assert [lease.idx for lease in await take(queue, "alive")] == [0, 1]
    await check_invariants(redis, queue, "b")


async def test_a_lease_that_is_renewed_is_not_taken_away(redis: Redis, keys: Keys) -> None:
    queue = RedisQueue(redis, keys, QueueSettings(lease_ms=40_000, reap_every_ms=1))
    await add_batch(queue, "b", [job(0), job(1)])
    leases = await take(queue, "slow")
    await let_lapse(redis, keys, leases, idle_ms=50_000)
    assert await queue.renew("slow", leases[:1]) == []
    others = await take(queue, "other")
    assert [lease.idx for lease in others] == [1], "only the lease that was not renewed is over"


async def test_a_lease_is_left_alone_before_its_time(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(0)])
    leases = await take(queue, "a")
    await let_lapse(redis, queue.keys, leases, idle_ms=queue.settings.lease_ms // 2)
    await asyncio.sleep(0.005)
    assert await take(queue, "b") == []


async def test_a_zombies_result_is_refused(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(0), job(1)])
    old = await crash(queue, redis, "zombie", num_started=2)
    new = await take(queue, "alive", max_jobs=1)
    assert await queue.commit("zombie", commits(old[:1])) == [CommitReply.FENCED]
    assert await outbox(queue, "b") == []
    lost = await queue.renew("zombie", old)
    assert [(each.lease.idx, each.loss) for each in lost] == [(0, LeaseLoss.FENCED)]
    assert await queue.commit("alive", commits(new)) == [CommitReply.OK]
    assert await queue.commit("zombie", commits(old[:1])) == [CommitReply.GONE]
    lost = await queue.renew("zombie", old)
    assert [(each.lease.idx, each.loss) for each in lost] == [(0, LeaseLoss.GONE)]
    assert (await queue.counters())["fenced"] == 1
    await check_invariants(redis, queue, "b")


async def test_a_consumer_cannot_use_its_own_former_lease(redis: Redis, queue: RedisQueue) -> None:
    """A process that slept longer than its lease and took the job again itself."""
    await add_batch(queue, "b", [job(0)])
    old = await crash(queue, redis, "same", num_started=1)
    new = await take(queue, "same")
    assert [lease.idx for lease in new] == [0]
    assert await queue.commit("same", commits(old)) == [CommitReply.FENCED]
    assert await queue.commit("same", commits(new)) == [CommitReply.LAST]


async def test_a_zombies_heartbeat_does_not_steal_the_job_back(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0)])
    old = await crash(queue, redis, "zombie", num_started=0)
    new = await take(queue, "alive")
    await queue.renew("zombie", old, started=old)
    assert await queue.commit("alive", commits(new)) == [CommitReply.LAST]


async def test_a_repeated_commit_after_a_lost_reply_changes_nothing(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0), job(1)])
    leases = await take(queue)
    assert (await queue.commit("worker-a", commits(leases)))[1] is CommitReply.LAST
    assert await queue.commit("worker-a", commits(leases)) == [CommitReply.GONE] * 2
    assert (await queue.counters())["gone"] == 2
    await check_invariants(redis, queue, "b")


async def test_jobs_that_only_waited_are_not_blamed(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(k) for k in range(10)])
    for death in range(4):
        leases = await crash(queue, redis, f"dead-{death}", num_started=0)
        assert [lease.attempt for lease in leases] == [1] * 10
    leases = await take(queue, "alive")
    assert not any(lease.is_last_attempt for lease in leases)
    counters = await queue.counters()
    assert (counters["restored"], counters.get("reclaimed", 0)) == (40, 0)


async def test_a_start_is_counted_once_however_often_it_is_renewed(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0)])
    leases = await take(queue, "a")
    for _ in range(5):
        await start(queue, "a", leases)
    await let_lapse(redis, queue.keys, leases)
    assert [lease.attempt for lease in await take(queue, "b")] == [2]


async def test_the_last_attempt_runs_alone(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(k) for k in range(6)])
    for death in range(2):
        await crash(queue, redis, f"dead-{death}", num_started=2, max_jobs=2)
    assert [lease.idx for lease in await take(queue, "busy", in_flight=3)] == [], (
        "a consumer that found a last attempt while busy gets nothing until it is empty"
    )
    others = await take(queue, "third", in_flight=1)
    assert [lease.idx for lease in others] == [2, 3, 4, 5], "the rest goes on elsewhere"

    (first,) = await take(queue, "busy", in_flight=0)
    assert (first.idx, first.attempt, first.is_last_attempt) == (0, 3, True)
    assert await queue.commit("busy", commits([first])) == [CommitReply.OK]
    (second,) = await take(queue, "busy", in_flight=0)
    assert (second.idx, second.is_last_attempt) == (1, True)
    assert (await queue.counters())["deferred"] >= 2


async def test_an_empty_worker_takes_a_last_attempt_at_once(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(k) for k in range(3)])
    for death in range(2):
        await crash(queue, redis, f"dead-{death}", num_started=1, max_jobs=1)
    leases = await take(queue, "idle")
    assert [(lease.idx, lease.is_last_attempt) for lease in leases] == [(0, True)]


async def test_a_consumer_that_dies_while_it_empties_itself_blocks_nobody(
    redis: Redis, keys: Keys
) -> None:
    queue = RedisQueue(redis, keys, QueueSettings(lease_ms=100, reap_every_ms=1))
    await add_batch(queue, "b", [job(0)])
    for death in range(2):
        await crash(queue, redis, f"dead-{death}", num_started=1)
    assert await take(queue, "dies", in_flight=1) == []
    await asyncio.sleep(0.15)
    assert await take(queue, "lives", in_flight=1) == []
    assert [lease.idx for lease in await take(queue, "lives", in_flight=0)] == [0]


async def test_a_job_that_kills_every_worker_becomes_a_dead_letter(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0, body=b"poison"), job(1)])
    for death in range(3):
        leases = await crash(queue, redis, f"dead-{death}", num_started=1, max_jobs=1)
        assert leases[0].idx == 0
    leases = await take(queue, "alive")
    assert [lease.idx for lease in leases] == [1]
    await queue.commit("alive", commits(leases))
    assert (await queue.status("b")).state is BatchState.FINALIZING

    entry = next(entry for entry in await outbox(queue, "b") if entry.idx == 0)
    result = ResultRow.decode(entry.payload)
    assert entry.outcome is Outcome.ERR
    assert (result.status_code, result.error_code) == (500, "max_deliveries_exceeded")
    assert (result.custom_id, result.attempt, result.worker) == ("line-0", 3, "dead-2")
    assert '"code":"max_deliveries_exceeded"' in (result.response_json or "")

    ((_, letter),) = await redis.xrange(queue.keys.dead)
    assert (letter[b"b"], letter[b"i"], letter[b"n"]) == (b"b", b"0", b"3")
    assert (letter[b"j"], letter[b"m"], letter[b"w"]) == (b"poison", MODEL.encode(), b"dead-2")
    assert (await queue.counters())["dead"] == 1
    await check_invariants(redis, queue, "b")


async def test_neighbours_of_poison_are_never_given_up(redis: Redis, queue: RedisQueue) -> None:
    """A worker starts all it takes and dies when the poison is among it; each job may start three
    times, the last time alone."""
    poison = {3, 17}
    await add_batch(queue, "b", [job(k) for k in range(30)])
    for turn in range(200):
        leases = await take(queue, f"w{turn}", max_jobs=8)
        if not leases:
            break
        await start(queue, f"w{turn}", leases)
        if any(lease.idx in poison for lease in leases):
            await let_lapse(redis, queue.keys, leases)
            await asyncio.sleep(0.002)
        else:
            await queue.commit(f"w{turn}", commits(leases))
    rows = await outbox(queue, "b")
    assert {entry.idx for entry in rows if entry.outcome is Outcome.ERR} == poison
    assert (await queue.status("b")).num_ok == 28
    await check_invariants(redis, queue, "b")


async def test_a_released_job_can_be_taken_at_once_and_costs_no_attempt(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0), job(1)])
    leases = await take(queue, "leaves")
    await start(queue, "leaves", leases)
    releases = [Release(lease=leases[0], progress=b"\x00tokens"), Release(lease=leases[1])]
    assert await queue.release("leaves", releases) == 2
    assert await queue.release("leaves", releases) == 0
    assert await queue.commit("leaves", commits(leases)) == [CommitReply.FENCED] * 2
    taken = await take(queue, "stays")
    assert [(each.idx, each.attempt, each.progress) for each in taken] == [
        (0, 1, b"\x00tokens"),
        (1, 1, b""),
    ]
    assert (await queue.commit("stays", commits(taken)))[-1] is CommitReply.LAST
    assert not await redis.exists(queue.keys.attempts("b")), "attempts and progress are gone"


async def test_work_that_was_given_back_waits_for_no_reap_interval(
    redis: Redis, keys: Keys
) -> None:
    queue = RedisQueue(redis, keys, QueueSettings(reap_every_ms=60_000))
    await add_batch(queue, "b", [job(0), job(1)])
    leases = await take(queue, "leaves", max_jobs=1)
    await queue.release("leaves", [Release(lease=lease) for lease in leases])
    assert [lease.idx for lease in await take(queue, "stays")] == [0, 1]
    await queue.reclaim_all("b")
    assert [lease.idx for lease in await take(queue, "later")] == [0, 1]


async def test_progress_survives_a_crash_of_the_next_worker(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0)])
    (lease,) = await take(queue, "a")
    await queue.release("a", [Release(lease=lease, progress=b"half")])
    await crash(queue, redis, "b", num_started=1)
    assert [each.progress for each in await take(queue, "c")] == [b"half"]


async def test_after_a_restart_all_leases_of_a_batch_are_over(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(k, model=f"m{k % 2}") for k in range(1100)])
    models = ["m0", "m1"]
    old = await take(queue, "before", models=models, max_jobs=1050)
    await start(queue, "before", old[:1])
    assert await queue.reclaim_all("b") == 1050
    assert await queue.commit("before", commits(old[:1])) == [CommitReply.FENCED]
    new = await take(queue, "after", models=models, max_jobs=2000)
    while more := await take(queue, "after", models=models, max_jobs=2000):
        new += more
    assert sorted(lease.idx for lease in new) == list(range(1100))
    assert {lease.idx for lease in new if lease.attempt == 2} == {old[0].idx}
    assert await queue.commit("before", commits(old[:3])) == [CommitReply.FENCED] * 3


async def test_a_dead_lease_behind_many_live_ones_is_found(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(k) for k in range(600)])
    leases = await take(queue, "alive", max_jobs=600)
    assert len(leases) == 600
    await let_lapse(redis, queue.keys, leases[599:])
    assert [lease.idx for lease in await take(queue, "other", max_jobs=1)] == [599]


async def test_an_operators_ack_does_not_lose_the_job(
    redis: Redis, queue: RedisQueue, upkeep: object
) -> None:
    await add_batch(queue, "b", [job(0), job(1)])
    leases = await take(queue, "a")
    await redis.xack(queue.keys.stream("b", MODEL), GROUP, leases[0].entry_id)
    assert await queue.commit("a", commits(leases)) == [CommitReply.GONE, CommitReply.OK]
    await upkeep.sweep(["b"])  # type: ignore[attr-defined]
    again = await take(queue, "b")
    assert [lease.idx for lease in again] == [0]
    assert await queue.commit("b", commits(again)) == [CommitReply.LAST]
    await check_invariants(redis, queue, "b")


async def test_an_operators_claim_fences_the_worker(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(0)])
    leases = await take(queue, "a")
    await redis.xclaim(queue.keys.stream("b", MODEL), GROUP, "operator", 0, [leases[0].entry_id])
    assert await queue.commit("a", commits(leases)) == [CommitReply.FENCED]


async def test_a_result_that_is_committed_after_a_foreign_delete_still_counts(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0)])
    leases = await take(queue, "a")
    await redis.xdel(queue.keys.stream("b", MODEL), leases[0].entry_id)
    assert await queue.commit("a", commits(leases)) == [CommitReply.LAST]
    assert [entry.payload for entry in await outbox(queue, "b")] == [b"result 0"]


@pytest.mark.parametrize("size", [1, 300])
async def test_renewing_is_positional(redis: Redis, queue: RedisQueue, size: int) -> None:
    await add_batch(queue, "b", [job(k) for k in range(size)])
    leases = await take(queue, "a", max_jobs=size)
    await queue.commit("a", commits(leases[::7]))
    lost = await queue.renew("a", leases, started=leases)
    assert [each.lease for each in lost] == leases[::7]
    assert {each.loss for each in lost} == {LeaseLoss.GONE}
    assert await queue.renew("a", []) == []
