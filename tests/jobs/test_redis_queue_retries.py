"""Jobs that failed without being at fault: put back, with a pause, a record, and an end."""

import asyncio
import json

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobs.keys import Keys
from jobs.outbox_rows import entry_to_row
from jobs.queue import BatchState, CommitReply, Lease, Outcome, Release
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.upkeep import Upkeep
from tests.jobs.queue_lines import (
    MODEL,
    RELEASED_IDLE_MS,
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

PAST_MS = 1_000_000_000_000


@pytest.fixture
def settings() -> QueueSettings:
    """No pause to speak of."""
    return QueueSettings(reap_every_ms=1, first_retry_ms=1, longest_retry_ms=1)


@pytest.fixture
def patient(redis: Redis, keys: Keys) -> RedisQueue:
    """Pauses that no test waits for."""
    return RedisQueue(
        redis,
        keys,
        QueueSettings(reap_every_ms=1, first_retry_ms=3_600_000, longest_retry_ms=3_600_000),
    )


async def fail_once(queue: RedisQueue, consumer: str = "worker-a", cause: str = "oops") -> Lease:
    """Take one job, start it, fail on it."""
    await asyncio.sleep(0.004)
    (lease,) = await take(queue, consumer, max_jobs=1)
    await start(queue, consumer, [lease])
    await queue.retry(consumer, failure(lease, cause))
    return lease


async def test_a_job_that_failed_runs_again_and_its_row_says_so(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0, body=b"body"), job(1)])
    (lease,) = await take(queue, "first", max_jobs=1)
    await start(queue, "first", [lease])
    assert await queue.retry("first", failure(lease, "device_error")) is CommitReply.LATER
    assert await queue.retry("first", failure(lease)) is CommitReply.FENCED
    assert await queue.commit("first", commits([lease])) == [CommitReply.FENCED]
    await check_invariants(redis, queue, "b")
    await asyncio.sleep(0.004)
    again = {each.idx: each for each in await take(queue, "second")}
    assert (again[0].attempt, again[0].body, again[0].is_last_attempt) == (2, b"body", False)
    await start(queue, "second", list(again.values()))
    assert (await queue.commit("second", commits(list(again.values()))))[-1] is CommitReply.LAST

    rows = {entry.idx: entry for entry in await outbox(queue, "b")}
    assert rows[1].attempts_json is None
    (record,) = json.loads(rows[0].attempts_json or "")
    assert record.pop("at_ms") > PAST_MS
    assert record == {
        "attempt": 1,
        "cause": "device_error",
        "message": "it broke",
        "worker": "first",
    }
    assert rows[0].attempt == 2
    assert (await queue.counters())["retried"] == 1
    assert not await redis.exists(queue.keys.attempts("b"))
    await check_invariants(redis, queue, "b")


async def test_a_pause_is_kept(patient: RedisQueue, redis: Redis) -> None:
    await add_batch(patient, "b", [job(0), job(1)])
    await fail_once(patient)
    assert [lease.idx for lease in await take(patient, "other")] == [1]
    due_ms = (await redis.zrange(patient.keys.later(MODEL), 0, -1, withscores=True))[0][1]
    seconds, _ = await redis.time()
    assert 1_700_000 < due_ms - seconds * 1000 <= 3_601_000, "half of the pause is chance"


async def test_pauses_double_up_to_the_longest(redis: Redis, keys: Keys) -> None:
    settings = QueueSettings(
        reap_every_ms=1, first_retry_ms=1_000_000, longest_retry_ms=3_000_000, max_attempts=9
    )
    queue = RedisQueue(redis, keys, settings)
    await add_batch(queue, "b", [job(0)])
    pauses: list[float] = []
    for _ in range(4):
        (lease,) = await take(queue)
        await start(queue, "worker-a", [lease])
        seconds, _ = await redis.time()
        assert await queue.retry("worker-a", failure(lease)) is CommitReply.LATER
        ((member, due_ms),) = await redis.zrange(keys.later(MODEL), 0, -1, withscores=True)
        pauses.append((due_ms - seconds * 1000) / 1_000_000)
        await redis.zadd(keys.later(MODEL), {member: 0})
    for pause, longest in zip(pauses, [1, 2, 3, 3], strict=True):
        assert longest / 2 <= pause <= longest + 0.01


async def test_the_last_failure_ends_in_a_row_and_a_letter(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(0, body=b"the body")], tenant="acme")
    for attempt in range(3):
        assert (await fail_once(queue, f"w{attempt}")).attempt == attempt + 1
    assert (await queue.status("b")).state is BatchState.FINALIZING
    (entry,) = await outbox(queue, "b")
    row = entry_to_row(entry)
    assert (entry.outcome, entry.attempt, entry.worker) == (Outcome.ERR, 3, "w2")
    assert (row.status_code, row.error_code) == (500, "oops")
    records = json.loads(row.attempts_json or "")
    assert [(each["attempt"], each["worker"]) for each in records] == [(1, "w0"), (2, "w1")]
    ((_, letter),) = await redis.xrange(queue.keys.dead)
    assert (letter[b"j"], letter[b"e"], letter[b"r"]) == (b"the body", b"oops", b"it broke")
    assert (letter[b"n"], letter[b"w"], letter[b"t"]) == (b"3", b"w2", b"acme")
    assert json.loads(b"[" + letter[b"h"] + b"]") == records
    assert (await queue.counters())["dead"] == 1
    await check_invariants(redis, queue, "b")


async def test_failures_that_workers_survive_never_ask_for_an_empty_worker(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0)])
    await fail_once(queue)
    await fail_once(queue)
    await asyncio.sleep(0.004)
    (lease,) = await take(queue, "busy", in_flight=5)
    assert (lease.attempt, lease.is_last_attempt) == (3, False)


async def test_a_crash_and_a_failure_make_the_last_attempt_run_alone(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0), job(1)])
    await fail_once(queue, "survivor")
    await asyncio.sleep(0.004)
    crashed = [each for each in await take(queue, "dead") if each.idx == 0]
    await start(queue, "dead", crashed)
    await let_lapse(redis, queue.keys, crashed)
    await asyncio.sleep(0.002)
    assert await take(queue, "busy", in_flight=1) == []
    (lease,) = await take(queue, "busy", in_flight=0)
    assert (lease.idx, lease.attempt, lease.is_last_attempt) == (0, 3, True)
    await start(queue, "busy", [lease])
    await queue.commit("busy", commits([lease]))
    (entry,) = await outbox(queue, "b")
    causes = [each["cause"] for each in json.loads(entry.attempts_json or "")]
    assert causes == ["oops", "worker_lost"]


async def test_a_last_attempt_that_became_due_at_a_busy_worker_waits_for_an_empty_one(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0)])
    crashed = await take(queue, "dead")
    await start(queue, "dead", crashed)
    await let_lapse(redis, queue.keys, crashed)
    await fail_once(queue, "survivor")
    await asyncio.sleep(0.004)
    assert await take(queue, "busy", in_flight=1) == []
    assert [lease.attempt for lease in await take(queue, "busy", in_flight=0)] == [3]


async def test_a_dead_workers_name_is_on_record(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(0)])
    leases = await take(queue, "dead")
    await start(queue, "dead", leases)
    await let_lapse(redis, queue.keys, leases)
    await asyncio.sleep(0.002)
    leases = await take(queue, "alive")
    await queue.commit("alive", commits(leases))
    (record,) = json.loads((await outbox(queue, "b"))[0].attempts_json or "")
    assert (record["cause"], record["worker"], record["attempt"]) == ("worker_lost", "dead", 1)


async def test_a_release_spends_no_attempt_and_leaves_no_record(
    redis: Redis, queue: RedisQueue
) -> None:
    await add_batch(queue, "b", [job(0)])
    await fail_once(queue)
    await asyncio.sleep(0.004)
    leases = await take(queue, "leaves")
    await start(queue, "leaves", leases)
    await queue.release("leaves", [Release(lease=lease) for lease in leases])
    (lease,) = await take(queue, "stays")
    assert lease.attempt == 2
    await queue.commit("stays", commits([lease]))
    assert len(json.loads((await outbox(queue, "b"))[0].attempts_json or "")) == 1


@pytest.mark.parametrize("end", ["cancel", "expire", "cancel one"])
async def test_a_pause_counts_against_cancel_and_expiry(
    redis: Redis, patient: RedisQueue, keys: Keys, end: str
) -> None:
    await add_batch(patient, "b", [job(0), job(1)])
    await fail_once(patient)
    upkeep = Upkeep(redis, keys, patient.settings)
    if end == "cancel":
        await patient.cancel("b")
    elif end == "expire":
        await redis.hset(keys.batch("b"), "expires_at", PAST_MS)
    else:
        await patient.cancel_job("b", 0)
        await redis.zadd(keys.later(MODEL), {"b:1-0": 0})
        await take(patient)
    if end != "cancel one":
        await upkeep.sweep(["b"])
        assert (await patient.status("b")).state is BatchState.FINALIZING
        assert not await redis.exists(keys.later(MODEL)), "nothing of it waits any more"
    row = entry_to_row((await outbox(patient, "b"))[0 if end == "cancel one" else -1])
    rows = {each.idx: entry_to_row(each) for each in await outbox(patient, "b")}
    assert row.status_code is None
    assert rows[0].error_code == ("batch_expired" if end == "expire" else "batch_cancelled")
    assert json.loads(rows[0].attempts_json or "")[0]["cause"] == "oops"
    await check_invariants(redis, patient, "b")


async def test_a_failure_of_a_cancelled_batch_is_cancelled(queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(0)])
    leases = await take(queue)
    await start(queue, "worker-a", leases)
    await queue.cancel("b")
    assert await queue.retry("worker-a", failure(leases[0])) is CommitReply.LAST
    assert (await outbox(queue, "b"))[0].outcome is Outcome.CANCELLED


async def test_nobody_but_the_owner_can_put_a_job_back(redis: Redis, queue: RedisQueue) -> None:
    await add_batch(queue, "b", [job(0)])
    old = await take(queue, "zombie")
    await let_lapse(redis, queue.keys, old)
    await asyncio.sleep(0.002)
    new = await take(queue, "alive")
    assert await queue.retry("zombie", failure(old[0])) is CommitReply.FENCED
    await queue.commit("alive", commits(new))
    assert await queue.retry("zombie", failure(old[0])) is CommitReply.GONE


async def test_a_restart_of_the_only_process_keeps_the_pauses(patient: RedisQueue) -> None:
    await add_batch(patient, "b", [job(0), job(1)])
    await fail_once(patient)
    held = await take(patient, "before")
    assert await patient.reclaim_all("b") == len(held) == 1
    assert [lease.idx for lease in await take(patient, "after")] == [1]


async def test_a_pause_longer_than_a_lease_is_no_lapsed_lease(
    redis: Redis, patient: RedisQueue, keys: Keys
) -> None:
    await add_batch(patient, "b", [job(0)])
    lease = await fail_once(patient)
    await let_lapse(redis, keys, [lease], idle_ms=RELEASED_IDLE_MS)
    await redis.zadd(keys.reap(MODEL), {"b": 0})
    assert await take(patient) == []
    assert await redis.zcard(keys.later(MODEL)) == 1


async def test_a_job_whose_time_was_forgotten_runs_again(
    redis: Redis, patient: RedisQueue, keys: Keys
) -> None:
    """A server that came back with half of its data may lack the set of times."""
    await add_batch(patient, "b", [job(0)])
    lease = await fail_once(patient)
    await redis.delete(keys.later(MODEL))
    await let_lapse(redis, keys, [lease])
    await redis.zadd(keys.reap(MODEL), {"b": 0})
    assert [each.attempt for each in await take(patient)] == [2]


async def test_a_stale_time_of_another_life_is_dropped(
    redis: Redis, queue: RedisQueue, keys: Keys
) -> None:
    await redis.zadd(keys.later(MODEL), {"gone:1-0": 0, "b:1-0": 0})
    await add_batch(queue, "b", [job(0)])
    leases = await take(queue, "a")
    assert [lease.idx for lease in leases] == [0]
    await redis.zadd(keys.later(MODEL), {"b:1-0": 0})
    assert await take(queue, "b") == [], "it is held by somebody"
    assert await queue.commit("a", commits(leases)) == [CommitReply.LAST]
    assert not await redis.exists(keys.later(MODEL))


async def test_a_full_outbox_makes_a_due_job_wait(redis: Redis, keys: Keys) -> None:
    queue = RedisQueue(redis, keys, QueueSettings(reap_every_ms=1, max_outbox=1))
    await add_batch(queue, "b", [job(0), job(1)])
    await fail_once(queue)
    await queue.commit("worker-a", commits(await take(queue)))
    await redis.zadd(keys.later(MODEL), {"b:1-0": 0})
    assert await take(queue) == []
    await empty_outbox(queue, "b")
    await asyncio.sleep(0.004)
    assert [lease.idx for lease in await take(queue)] == [0]


async def test_a_server_without_memory_puts_nothing_half_back(
    redis: Redis, queue: RedisQueue
) -> None:
    if is_fake(redis):
        pytest.skip("fakeredis has no memory limit")
    await add_batch(queue, "b", [job(0)])
    leases = await take(queue)
    await start(queue, "worker-a", leases)
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(RedisError, match="maxmemory"):
            await queue.retry("worker-a", failure(leases[0]))
    finally:
        await redis.config_set("maxmemory", 0)
    assert await queue.retry("worker-a", failure(leases[0])) is CommitReply.LATER
    await asyncio.sleep(0.004)
    (again,) = await take(queue)
    assert again.attempt == 2
