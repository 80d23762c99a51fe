"""Keys of a batch that somebody removed or replaced: the trouble of that batch alone."""

import asyncio
import logging

import pytest
from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.maintenance import Maintenance, MaintenanceSettings
from jobs.queue import BatchState, CommitReply, LeaseLoss, Outcome, Release
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

AT_ONCE = MaintenanceSettings(quiet_sweeps=2)


def maintenance(queue: RedisQueue, upkeep: Upkeep) -> Maintenance:
    async def drain(batch_id: str, _sink: str) -> bool:
        await empty_outbox(queue, batch_id)
        return True

    return Maintenance(queue, upkeep, drain=drain, settings=AT_ONCE)


async def replace(redis: Redis, key: str) -> None:
    await redis.delete(key)
    await redis.set(key, "foreign")


def key_of(keys: Keys, name: str) -> str:
    key: str = getattr(keys, name)("ruined")
    return key


@pytest.mark.parametrize("name", ["batch", "outbox", "models", "deadlines", "attempts"])
async def test_a_foreign_key_stops_no_other_batch(
    redis: Redis,
    queue: RedisQueue,
    upkeep: Upkeep,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if name == "outbox" and is_fake(redis):
        pytest.skip("fakeredis crashes on stream commands against a string")
    await add_batch(queue, "ruined", [job(0, ttl_ms=60_000), job(1)], sink="/out")
    await add_batch(queue, "well", [job(0)], sink="/out")
    await replace(redis, key_of(queue.keys, name))
    await queue.cancel("well")
    work = maintenance(queue, upkeep)
    for _ in range(4):
        await work.sweep()
        await work.empty_outboxes()
    status, ruined = await queue.statuses(["well", "ruined"])
    assert status is not None
    assert status.state is BatchState.CANCELLED
    assert (ruined is None) == (name == "batch")
    assert "well" in {each.batch_id for each in await queue.list_batches()}
    assert caplog.text.count("cannot be repaired") == (name in ("batch", "outbox"))


async def test_a_sweep_that_fails_is_said_once_and_costs_one_batch(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await add_batch(queue, "odd", [job(0)], is_final=False)
    await add_batch(queue, "well", [job(0)], sink="redis")
    await queue.cancel("odd")
    await queue.cancel("well")
    await redis.hset(queue.keys.batch("odd"), "touched", "no number")
    work = maintenance(queue, upkeep)
    for _ in range(3):
        await work.sweep()
    assert (await queue.status("well")).state is BatchState.FINALIZING
    assert caplog.text.count("batch odd cannot be maintained") == 1


async def test_leases_of_neighbours_are_renewed_beside_a_foreign_key(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    for name in ("ruined", "well"):
        await add_batch(queue, name, [job(k) for k in range(4)])
    held = await take(queue, max_jobs=4)
    assert {lease.batch_id for lease in held} >= {"ruined"}
    held += await take(queue, max_jobs=2)
    await replace(redis, queue.keys.attempts("ruined"))
    lost = await queue.renew("worker-a", held, started=held)
    of_ruined = [lease for lease in held if lease.batch_id == "ruined"]
    assert [each.lease for each in lost] == of_ruined
    assert {each.loss for each in lost} == {LeaseLoss.GONE}
    assert await upkeep.broken_batches() == ["ruined"]
    more = await take(queue)
    assert {lease.batch_id for lease in more} <= {"well"}, "a broken batch gets no workers"

    await let_lapse(redis, queue.keys, of_ruined, idle_ms=RELEASED_IDLE_MS)
    assert await upkeep.repair("ruined")
    again = await take(queue, "other")
    assert sorted(lease.idx for lease in again) == [0, 1, 2, 3]
    await start(queue, "other", again)
    assert (await queue.commit("other", commits(again)))[-1] is CommitReply.LAST
    await check_invariants(redis, queue, "ruined")


@pytest.mark.parametrize("name", ["batch", "attempts"])
async def test_every_call_of_a_worker_survives_a_foreign_key(
    redis: Redis, queue: RedisQueue, name: str
) -> None:
    await add_batch(queue, "ruined", [job(0), job(1)])
    ruined = await take(queue)
    await add_batch(queue, "well", [job(0), job(1)])
    well = await take(queue)
    await replace(redis, key_of(queue.keys, name))
    assert await queue.retry("worker-a", failure(ruined[0])) is CommitReply.GONE
    replies = await queue.commit("worker-a", commits([ruined[0], well[0]]))
    assert replies == [CommitReply.GONE, CommitReply.OK]
    assert {each.lease.batch_id for each in await queue.renew("worker-a", ruined + well[1:])} == (
        {"ruined"} if name == "batch" else set()
    )
    releases = [Release(lease=lease, progress=b"p") for lease in (*ruined, well[1])]
    await queue.release("worker-a", releases)
    assert [lease.key for lease in await take(queue, "other")] == [("well", 1)]


@pytest.mark.parametrize(
    "name", ["models", "attempts", "cancels", "deadlines", "shared", "kept", "stream"]
)
async def test_a_repaired_batch_comes_to_its_end(redis: Redis, keys: Keys, name: str) -> None:
    if name == "stream" and is_fake(redis):
        pytest.skip("fakeredis crashes on stream commands against a string")
    settings = QueueSettings(lease_ms=20, reap_every_ms=1, max_attempts=100)
    queue, upkeep = RedisQueue(redis, keys, settings), Upkeep(redis, keys, settings)
    lines = [job(k, ttl_ms=60_000, answer_hash=f"{k % 3}") for k in range(8)]
    await add_batch(queue, "ruined", lines, sink="redis")
    await queue.cancel_job("ruined", 7)
    assert len(await queue.commit("worker-a", commits(await take(queue, max_jobs=1)))) == 1
    await replace(redis, keys.stream("ruined", MODEL) if name == "stream" else key_of(keys, name))
    work = maintenance(queue, upkeep)
    async with asyncio.timeout(20):
        while (await queue.status("ruined")).num_finished < 8:
            leases = await take(queue)
            await queue.renew("worker-a", leases, started=leases)
            await queue.commit("worker-a", commits(leases))
            await asyncio.sleep(0.01)
            await work.sweep()
    rows = await outbox(queue, "ruined")
    assert sorted(entry.idx for entry in rows) == list(range(8))
    assert await upkeep.broken_batches() == []
    assert (await queue.finish("ruined")).is_final
    assert sum(each.num_jobs for each in (await queue.backlog()).values()) == 0


async def test_a_batch_that_lost_its_models_is_not_taken_for_lost(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep
) -> None:
    await add_batch(queue, "ruined", [job(k) for k in range(4)], sink="redis")
    held = await take(queue, max_jobs=1)
    await redis.delete(queue.keys.models("ruined"))
    work = maintenance(queue, upkeep)
    for _ in range(5):
        await work.sweep()
    assert (await queue.status("ruined")).num_finished == 0
    assert await redis.smembers(queue.keys.models("ruined")) == {MODEL.encode()}
    assert (await queue.commit("worker-a", commits(held + await take(queue))))[-1] is (
        CommitReply.LAST
    )


async def test_what_cannot_be_repaired_is_said_once(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep, caplog: pytest.LogCaptureFixture
) -> None:
    await add_batch(queue, "ruined", [job(0)])
    await replace(redis, queue.keys.batch("ruined"))
    work = maintenance(queue, upkeep)
    for _ in range(3):
        await work.sweep()
    assert caplog.text.count("cannot be repaired") == 1
    assert await queue.delete_batch("ruined"), "an operator can do away with it"
    assert await upkeep.active_batches() == await upkeep.broken_batches() == []
    assert (await queue.backlog())[MODEL].num_jobs == 0


@pytest.mark.parametrize("hand", ["delete", "replace"])
async def test_a_batch_without_its_hash_does_not_fill_the_queue_for_ever(
    redis: Redis, keys: Keys, hand: str
) -> None:
    settings = QueueSettings(max_depth=1300)
    queue, upkeep = RedisQueue(redis, keys, settings), Upkeep(redis, keys, settings)
    lines = [job(k, model=f"m{k % 2}", cost=7, body=b"x" * 10) for k in range(1200)]
    await add_batch(queue, "ruined", lines)
    await add_batch(queue, "well", [job(0, model="m0", cost=3)])
    await take(queue, models=["m0"], max_jobs=5)
    await redis.delete(keys.batch("ruined"))
    if hand == "replace":
        await redis.set(keys.batch("ruined"), "foreign")
        assert await queue.delete_batch("ruined")
    else:
        await maintenance(queue, upkeep).sweep()
    backlog = await queue.backlog()
    assert (backlog["m0"].num_jobs, backlog["m0"].num_tokens) == (1, 3)
    assert (backlog["m1"].num_jobs, backlog["m1"].num_tokens) == (0, 0)
    assert int(await redis.hget(keys.backlog, "bytes")) == len(b"{}")
    assert [key async for key in redis.scan_iter("*:ruined*")] == []
    await add_batch(queue, "next", lines)
    leases = await take(queue, models=["m0"])
    assert {lease.batch_id for lease in leases} == {"next", "well"}


async def test_a_batch_that_is_announced_again_starts_over(redis: Redis, queue: RedisQueue) -> None:
    """Its hash was removed while it ran; whoever has its input tells the queue everything again."""
    await add_batch(queue, "b", [job(k) for k in range(6)])
    held = await take(queue, max_jobs=2)
    await queue.commit("worker-a", commits(held[:1]))
    await redis.delete(queue.keys.batch("b"))
    await add_batch(queue, "b", [job(k) for k in range(6)])
    assert await queue.commit("worker-a", commits(held[1:])) == [CommitReply.GONE]
    assert (await queue.backlog())[MODEL].num_jobs == 6
    await check_invariants(redis, queue, "b")
    leases = await take(queue)
    assert (await queue.commit("worker-a", commits(leases)))[-1] is CommitReply.LAST
    assert (await queue.backlog())[MODEL].num_jobs == 0
    assert {entry.outcome for entry in await outbox(queue, "b")} == {Outcome.OK}
    assert await redis.exists(queue.keys.lane("default", MODEL)) == 0
