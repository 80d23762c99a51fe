"""Whose jobs come first, and how much of them."""

import time
from collections import Counter
from itertools import pairwise

import pytest
from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.queue import BatchSpec, Lease
from jobs.queue_settings import QueueSettings
from jobs.redis_calls import RedisCalls
from jobs.redis_queue import RedisQueue
from jobs.wire import item_arguments, spec_fields
from tests.jobs.queue_lines import add_batch, commits, is_fake, job, take


@pytest.fixture
def queue(redis: Redis, keys: Keys) -> RedisQueue:
    """Turns of 4 jobs or 400 tokens."""
    return RedisQueue(redis, keys, QueueSettings(burst=4, quantum_tokens=400))


async def drain(queue: RedisQueue, num_jobs: int, *, per_take: int = 8) -> list[Lease]:
    """The first jobs that a worker gets which finishes all it takes."""
    done: list[Lease] = []
    while len(done) < num_jobs:
        leases = await take(queue, max_jobs=per_take)
        assert leases, "there is work, but none was given"
        await queue.commit("worker-a", commits(leases))
        done += leases
    return done[:num_jobs]


async def test_a_small_batch_behind_a_big_one_starts_at_once(queue: RedisQueue) -> None:
    await add_batch(queue, "big", [job(k) for k in range(500)])
    await drain(queue, 50)
    await add_batch(queue, "small", [job(k) for k in range(20)])
    done = await drain(queue, 60)
    assert Counter(lease.batch_id for lease in done)["small"] == 20


async def test_tenants_share_alike_however_many_batches_they_have(queue: RedisQueue) -> None:
    for k in range(120):
        await add_batch(queue, f"flood-{k}", [job(0), job(1)], tenant="flood")
    await add_batch(queue, "one", [job(k) for k in range(120)], tenant="quiet")
    shares = Counter(lease.batch_id == "one" for lease in await drain(queue, 120))
    assert 50 <= shares[True] <= 70


async def test_tenants_share_by_weight(queue: RedisQueue) -> None:
    await queue.set_tenant_weight("heavy", 3)
    await add_batch(queue, "h", [job(k) for k in range(200)], tenant="heavy")
    await add_batch(queue, "l", [job(k) for k in range(200)], tenant="light")
    shares = Counter(lease.batch_id for lease in await drain(queue, 200))
    assert 140 <= shares["h"] <= 160


async def test_shares_are_tokens_not_jobs(queue: RedisQueue) -> None:
    await add_batch(queue, "large", [job(k, cost=1000) for k in range(50)], tenant="a")
    await add_batch(queue, "small", [job(k, cost=200) for k in range(200)], tenant="b")
    tokens: Counter[str] = Counter()
    for lease in await drain(queue, 180):
        tokens[lease.batch_id] += lease.cost_tokens
    assert 0.8 < tokens["large"] / tokens["small"] < 1.25


@pytest.mark.parametrize(
    ("high", "low", "at_least"), [("high", "normal", 3), ("normal", "low", 3), ("high", "low", 12)]
)
async def test_a_higher_priority_gets_more_but_not_all(
    queue: RedisQueue, high: str, low: str, at_least: int
) -> None:
    await add_batch(queue, "h", [job(k) for k in range(200)], priority=high)
    await add_batch(queue, "l", [job(k) for k in range(200)], priority=low)
    shares = Counter(lease.batch_id for lease in await drain(queue, 150))
    assert shares["h"] >= at_least * shares["l"]
    assert shares["l"] > 0, "the lower priority is starved"


async def test_interactive_jobs_come_before_all_others(queue: RedisQueue) -> None:
    await add_batch(queue, "bulk", [job(k) for k in range(100)], priority="high")
    await take(queue, max_jobs=10)
    await add_batch(queue, "chat", [job(k) for k in range(30)], tenant="x", priority="interactive")
    batches = [lease.batch_id for lease in await take(queue, max_jobs=40)]
    assert batches == ["chat"] * 30 + ["bulk"] * 10


async def test_a_permanent_batch_may_run_dry_and_go_on(queue: RedisQueue) -> None:
    await queue.create_batch(BatchSpec(batch_id="online", priority="interactive", sink="redis"))
    for k in range(5):
        await queue.enqueue("online", k, [job(k)], is_final=False)
        leases = await take(queue)
        assert [lease.idx for lease in leases] == [k]
        await queue.commit("worker-a", commits(leases))
        assert await take(queue) == []


async def test_a_turn_goes_on_in_the_next_take(queue: RedisQueue) -> None:
    """Runs of one batch stay together, for the prefixes its lines share."""
    await add_batch(queue, "a", [job(k) for k in range(8)])
    await add_batch(queue, "b", [job(k) for k in range(8)])
    order = [lease.batch_id for _ in range(16) for lease in await take(queue, max_jobs=1)]
    runs = [order[k : k + 4] for k in range(0, 16, 4)]
    assert all(len(set(run)) == 1 for run in runs)
    assert [run[0] for run in runs] == ["a", "b", "a", "b"]


async def test_one_huge_job_is_reached(queue: RedisQueue) -> None:
    await add_batch(queue, "huge", [job(k, cost=1_000_000) for k in range(3)], tenant="a")
    await add_batch(queue, "tiny", [job(k, cost=1) for k in range(3)], tenant="b")
    done = []
    for _ in range(200):
        leases = await take(queue, max_cost=100)
        await queue.commit("worker-a", commits(leases))
        done += leases
    assert len(done) == 6


async def test_batches_without_waiting_jobs_do_not_hide_work(queue: RedisQueue) -> None:
    """Batches whose jobs are all leased are not walked over."""
    for k in range(200):
        await add_batch(queue, f"b{k}", [job(0)], tenant=f"t{k % 7}")
    while await take(queue, "holder", max_jobs=100):
        pass
    await add_batch(queue, "new", [job(0)], tenant="late")
    assert [lease.batch_id for lease in await take(queue)] == ["new"]


async def test_lanes_and_rings_are_empty_when_nothing_waits(
    redis: Redis, queue: RedisQueue
) -> None:
    for k in range(20):
        await add_batch(queue, f"b{k}", [job(0), job(1)], tenant=f"t{k % 3}", sink="redis")
    await drain(queue, 40)
    assert await take(queue) == []
    left = {key.decode() for key in await redis.keys("*")}
    assert not [key for key in left if ":ring" in key or ":lane" in key or ":deficit" in key]


async def test_a_batch_that_had_no_turn_for_long_gets_one_whatever_it_owes(
    redis: Redis, keys: Keys, queue: RedisQueue
) -> None:
    """Low priority behind a flood of high priority, and in debt for a huge job."""
    await add_batch(queue, "low", [job(k, cost=50_000) for k in range(20)], priority="low")
    await add_batch(queue, "high", [job(k) for k in range(300)], priority="high")
    first = [lease.batch_id for lease in await take(queue, max_jobs=1)]
    later = await drain(queue, 60)
    assert (first + [lease.batch_id for lease in later]).count("low") == 1
    aged_ms = int((await redis.time())[0]) * 1000 - queue.settings.age_ms
    await redis.hset(keys.batch("low"), "turn:demo", aged_ms)
    assert "low" in [lease.batch_id for lease in await drain(queue, 30)]
    assert [lease.batch_id for lease in await drain(queue, 60)].count("low") == 0, "one turn"


async def test_bulk_behind_an_endless_chat_is_never_starved(redis: Redis, keys: Keys) -> None:
    queue = RedisQueue(redis, keys, QueueSettings(burst=4, quantum_tokens=400, age_ms=50))
    await add_batch(queue, "bulk", [job(k) for k in range(100)], priority="low", tenant="t")
    await queue.create_batch(BatchSpec(batch_id="chat", priority="interactive", sink="redis"))
    position = 0
    turns: list[float] = []
    started = time.monotonic()
    while time.monotonic() - started < 0.6:
        await queue.enqueue("chat", position, [job(position + k) for k in range(8)], is_final=False)
        position += 8
        leases = await take(queue, max_jobs=6)
        turns += [time.monotonic() - started for each in leases if each.batch_id == "bulk"][:1]
        assert any(lease.batch_id == "chat" for lease in leases), "interactive jobs wait for bulk"
        await queue.commit("worker-a", commits(leases))
    assert 3 <= len(turns) <= 12, "a turn every 50 ms or so"
    assert all(later - earlier < 0.3 for earlier, later in pairwise(turns))


@pytest.mark.slow
async def test_a_small_batch_behind_a_very_long_one_starts_at_once(
    redis: Redis, keys: Keys
) -> None:
    if is_fake(redis):
        pytest.skip("the in-process server takes long for so many jobs")
    num_lines = 50_000
    queue = RedisQueue(redis, keys, QueueSettings())
    await queue.create_batch(BatchSpec(batch_id="big"))
    for first in range(0, num_lines, 5_000):
        items = [job(k, cost=300) for k in range(first, first + 5_000)]
        await queue.enqueue("big", first, items, is_final=first + 5_000 == num_lines)
    await drain(queue, 256, per_take=256)
    await add_batch(queue, "small", [job(k, cost=300) for k in range(20)])
    started = time.monotonic()
    done = await drain(queue, 128, per_take=64)
    assert Counter(lease.batch_id for lease in done)["small"] == 20
    assert time.monotonic() - started < 2.0


@pytest.mark.slow
async def test_ten_thousand_tiny_batches_of_one_tenant_starve_nobody(
    redis: Redis, keys: Keys
) -> None:
    if is_fake(redis):
        pytest.skip("the in-process server takes long for so many batches")
    queue = RedisQueue(redis, keys, QueueSettings(burst=4, quantum_tokens=400))
    calls = RedisCalls(redis, keys)
    names = [f"tiny-{k}" for k in range(10_000)]
    for first in range(0, len(names), 1_000):
        some = names[first : first + 1_000]
        fields = [spec_fields(BatchSpec(batch_id=name, tenant="flood")) for name in some]
        await calls.scripts(
            "create",
            [(name, "epoch", *each) for name, each in zip(some, fields, strict=True)],
        )
        item = item_arguments([job(0)])
        await calls.scripts("enqueue", [(name, 0, 1, 10**6, 10**9, 10**6, *item) for name in some])
    await add_batch(queue, "one", [job(k) for k in range(100)], tenant="quiet")
    started = time.monotonic()
    done = await drain(queue, 200, per_take=16)
    took_s = time.monotonic() - started
    shares = Counter(lease.batch_id == "one" for lease in done)
    assert 80 <= shares[True] <= 100, "half of the work is the quiet tenant's"
    assert took_s < 2.0, "the flood makes every TAKE slow"
