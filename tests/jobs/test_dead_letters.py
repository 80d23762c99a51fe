import asyncio
import json

import pytest
from redis.asyncio import Redis

from jobs.dead_letters import DeadLetter, DeadLetters, LetterFilter
from jobs.errors import UnknownLetterError
from jobs.keys import Keys
from jobs.online.jobs import NewRequest, OnlineJobs, TenantLimits, Waiting, new_ticket
from jobs.queue import BatchSpec, BatchState, Outcome
from jobs.queue_loads import QueueLoads
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.upkeep import Upkeep
from schemas.result import ResultRow
from tests.jobs.queue_lines import (
    MODEL,
    add_batch,
    check_invariants,
    commits,
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
    """One attempt."""
    return QueueSettings(reap_every_ms=1, max_attempts=1)


@pytest.fixture
def letters(redis: Redis, keys: Keys, settings: QueueSettings) -> DeadLetters:
    return DeadLetters(redis, keys, settings)


async def fail(queue: RedisQueue, idx: int, batch_id: str = "b", cause: str = "oops") -> None:
    """A worker takes all there is, fails on one line for good, and gives up on the others."""
    leases = await take(queue)
    for lease in leases:
        if (lease.batch_id, lease.idx) == (batch_id, idx):
            await queue.retry("worker-a", failure(lease, cause))
    await queue.reclaim_all(batch_id)


async def all_of(letters: DeadLetters, wanted: LetterFilter | None = None) -> list[DeadLetter]:
    return [letter async for letter in letters.find(wanted)]


async def test_a_letter_says_what_died_and_why(queue: RedisQueue, letters: DeadLetters) -> None:
    await add_batch(queue, "b", [job(0, body=b'{"model": "demo"}', cost=7)], tenant="acme")
    await fail(queue, 0)
    (letter,) = await all_of(letters)
    assert letter == await letters.get(letter.letter_id)
    assert (letter.batch_id, letter.idx, letter.custom_id) == ("b", 0, "line-0")
    assert (letter.tenant, letter.model, letter.num_attempts) == ("acme", MODEL, 1)
    assert (letter.cause, letter.message, letter.worker) == ("oops", "it broke", "worker-a")
    assert (letter.body, letter.cost_tokens) == (b'{"model": "demo"}', 7)
    assert json.loads(letter.attempts_json) == []
    assert letter.died_at_ms > 1_000_000_000_000


async def test_a_job_that_killed_its_worker_leaves_a_letter_too(
    redis: Redis, queue: RedisQueue, letters: DeadLetters
) -> None:
    await add_batch(queue, "b", [job(0, body=b"poison")])
    leases = await take(queue, "dead")
    await start(queue, "dead", leases)
    await let_lapse(redis, queue.keys, leases)
    await asyncio.sleep(0.002)
    assert await take(queue) == []
    (letter,) = await all_of(letters)
    assert (letter.cause, letter.worker, letter.body) == ("worker_lost", "dead", b"poison")


async def test_letters_are_found_by_what_they_say(queue: RedisQueue, letters: DeadLetters) -> None:
    for k in range(130):
        await add_batch(queue, f"b{k}", [job(0, model=f"m{k % 2}")], tenant=f"t{k % 3}")
    for model in ("m0", "m1"):
        while leases := await take(queue, models=[model]):
            for lease in leases:
                await queue.retry("worker-a", failure(lease, f"cause-{model}"))
    assert len(await all_of(letters)) == 130, "more than are read at once"
    assert [each.batch_id for each in await all_of(letters, LetterFilter(batch_id="b7"))] == ["b7"]
    assert len(await all_of(letters, LetterFilter(cause="cause-m1"))) == 65
    assert len(await all_of(letters, LetterFilter(model="m0", tenant="t1"))) == 21
    assert await all_of(letters, LetterFilter(tenant="nobody")) == []


@pytest.mark.parametrize("unknown", ["1-1", "", "x", "-", "+", "1-1\n", "9" * 50])
async def test_an_unknown_letter_is_named(letters: DeadLetters, unknown: str) -> None:
    with pytest.raises(UnknownLetterError, match="no dead letter"):
        await letters.get(unknown)


async def test_letters_can_be_dropped(queue: RedisQueue, letters: DeadLetters) -> None:
    await add_batch(queue, "b", [job(0)])
    await fail(queue, 0)
    (letter,) = await all_of(letters)
    assert await letters.drop([letter.letter_id, "1-1"]) == 1
    assert await letters.drop([letter.letter_id]) == 0
    assert await all_of(letters) == []


async def test_a_job_goes_back_into_its_open_batch(
    redis: Redis, queue: RedisQueue, letters: DeadLetters
) -> None:
    await add_batch(queue, "b", [job(0), job(1, body=b"again"), job(2)])
    await fail(queue, 1)
    assert (await queue.status("b")).num_err == 1
    (revival,) = await letters.revive(await all_of(letters))
    assert (revival.batch_id, revival.idx) == ("b", 1)
    await check_invariants(redis, queue, "b")
    assert await all_of(letters) == []
    leases = await take(queue)
    assert sorted(lease.idx for lease in leases) == [0, 1, 2]
    (again,) = [lease for lease in leases if lease.idx == 1]
    assert (again.body, again.custom_id, again.attempt) == (b"again", "line-1", 1)
    await queue.commit("worker-a", commits(leases))
    status = await queue.status("b")
    assert (status.state, status.num_ok, status.num_err) == (BatchState.FINALIZING, 3, 0)
    assert {entry.idx: entry.outcome for entry in await outbox(queue, "b")} == dict.fromkeys(
        range(3), Outcome.OK
    )
    await check_invariants(redis, queue, "b")


async def test_an_error_that_is_taken_back_is_counted_no_more(
    redis: Redis, queue: RedisQueue, letters: DeadLetters
) -> None:
    await add_batch(queue, "b", [job(0), job(1), job(2)])
    for lease in await take(queue):
        await queue.retry("worker-a", failure(lease, "oops" if lease.idx else "once"))
    loads = QueueLoads(redis, queue.keys, queue.settings)
    assert (await loads.of(["b"]))[0].errors == {"oops": 2, "once": 1}
    await letters.revive([each for each in await all_of(letters) if each.idx != 1])
    assert (await loads.of(["b"]))[0].errors == {"oops": 1}


async def test_a_request_of_the_interactive_endpoint_goes_into_a_new_batch(
    redis: Redis, queue: RedisQueue, letters: DeadLetters
) -> None:
    """Its client was told that it failed, even if it has not fetched the row."""
    online = OnlineJobs(redis, queue.keys, queue.settings)
    request = NewRequest(
        request_id="req_1", model=MODEL, url="/v1", cost_tokens=5, body=b"{}", ttl_ms=60_000
    )
    waiting = await online.submit(new_ticket("acme"), request, TenantLimits())
    assert isinstance(waiting, Waiting)
    (lease,) = await take(queue)
    await queue.retry("worker-a", failure(lease))
    (revival,) = await letters.revive(await all_of(letters))
    assert revival.batch_id not in (waiting.ticket.batch_id, None)
    assert isinstance(await online.look(waiting), ResultRow)
    assert [each.body for each in await take(queue)] == [b"{}"]


async def test_a_batch_whose_rows_nobody_has_fetched_opens_again(
    redis: Redis, queue: RedisQueue, upkeep: Upkeep, letters: DeadLetters
) -> None:
    await add_batch(queue, "b", [job(0)])
    await fail(queue, 0)
    assert await upkeep.finalizing_batches() == ["b"]
    (revival,) = await letters.revive(await all_of(letters))
    assert (revival.batch_id, (await queue.status("b")).state) == ("b", BatchState.IN_PROGRESS)
    assert await upkeep.finalizing_batches() == []
    await queue.commit("worker-a", commits(await take(queue)))
    assert (await queue.status("b")).state is BatchState.FINALIZING
    await check_invariants(redis, queue, "b")


async def test_lines_that_come_after_a_revived_one_find_their_place(
    redis: Redis, queue: RedisQueue, letters: DeadLetters
) -> None:
    await queue.create_batch(BatchSpec(batch_id="b"))
    await queue.enqueue("b", 0, [job(0), job(1)], is_final=False)
    await fail(queue, 0)
    await letters.revive(await all_of(letters))
    assert (await queue.enqueue("b", 2, [job(2), job(3)], is_final=True)).accepted
    leases = await take(queue)
    assert sorted(lease.idx for lease in leases) == [0, 1, 2, 3]
    await queue.commit("worker-a", commits(leases))
    await check_invariants(redis, queue, "b")


async def gather_rows(queue: RedisQueue) -> None:
    await queue.read_outbox("b", 10)


async def fetch_rows(queue: RedisQueue) -> None:
    entries = await queue.read_outbox("b", 10)
    await queue.delete_outbox("b", [entry.entry_id for entry in entries])


async def cancel(queue: RedisQueue) -> None:
    await queue.cancel("b")


async def forget(queue: RedisQueue) -> None:
    await queue.delete_batch("b")


@pytest.mark.parametrize("close", [gather_rows, fetch_rows, cancel, forget])
async def test_a_job_whose_row_is_final_goes_into_a_new_batch(
    redis: Redis, queue: RedisQueue, letters: DeadLetters, close
) -> None:
    await add_batch(queue, "b", [job(0, body=b"again"), job(1)], tenant="acme")
    await fail(queue, 0)
    await close(queue)
    (revival,) = await letters.revive(await all_of(letters))
    assert revival.batch_id not in ("b", None)
    status = await queue.status(revival.batch_id)
    assert (status.tenant, status.total, status.sink) == ("acme", 1, "client")
    leases = [lease for lease in await take(queue) if lease.batch_id != "b"]
    assert [(lease.idx, lease.custom_id, lease.body) for lease in leases] == [
        (0, "line-0", b"again")
    ]
    await queue.commit("worker-a", commits(leases))
    assert (await queue.status(revival.batch_id)).state is BatchState.FINALIZING
    await check_invariants(redis, queue, revival.batch_id)
    if close is not forget:
        assert (await queue.status("b")).num_err == 1, "the row that was seen stays"


async def test_a_sink_that_reads_first_wins(queue: RedisQueue, letters: DeadLetters) -> None:
    """What it has read stays recorded; a row that came later can still be taken back."""
    await add_batch(queue, "b", [job(0), job(1), job(2)])
    await fail(queue, 0)
    await gather_rows(queue)
    await asyncio.sleep(0.02)
    await fail(queue, 1)
    revivals = {each.idx: each.batch_id for each in await letters.revive(await all_of(letters))}
    assert revivals[1] == "b"
    assert revivals[0] not in ("b", None)
    assert [entry.idx for entry in await outbox(queue, "b")] == [0]


async def test_reviving_twice_changes_nothing(
    redis: Redis, queue: RedisQueue, letters: DeadLetters
) -> None:
    await add_batch(queue, "b", [job(0)])
    await fail(queue, 0)
    found = await all_of(letters)
    first, second = await asyncio.gather(letters.revive(found), letters.revive(found))
    assert sorted((first[0].batch_id or "", second[0].batch_id or "")) == ["", "b"]
    assert len(await take(queue)) == 1
    assert len(await queue.list_batches()) == 1, "no batch was made for nothing"


async def test_many_letters_of_a_tenant_share_a_new_batch(
    queue: RedisQueue, letters: DeadLetters
) -> None:
    await add_batch(queue, "b", [job(k) for k in range(3)], tenant="acme")
    await add_batch(queue, "c", [job(k) for k in range(2)], tenant="other")
    for lease in await take(queue):
        await queue.retry("worker-a", failure(lease))
    await queue.delete_batch("b")
    await queue.delete_batch("c")
    revivals = await letters.revive(await all_of(letters))
    assert len({each.batch_id for each in revivals}) == 2
    assert sorted([(await queue.status(each.batch_id)).tenant for each in revivals]) == [
        *["acme"] * 3,
        *["other"] * 2,
    ]


async def test_letters_of_an_earlier_version_can_be_read(
    redis: Redis, queue: RedisQueue, letters: DeadLetters
) -> None:
    fields = {"b": "b", "m": MODEL, "i": 3, "c": "=x", "u": "/v1", "k": 5, "n": 3, "w": "dead"}
    await redis.xadd(queue.keys.dead, {**fields, "j": "{}"})
    (letter,) = await all_of(letters)
    assert (letter.cause, letter.tenant, letter.custom_id) == ("worker_lost", "default", "x")
    (revival,) = await letters.revive([letter])
    assert revival.idx == 0


async def test_a_stream_that_cannot_be_used_keeps_the_letter(
    redis: Redis, queue: RedisQueue, letters: DeadLetters, upkeep: Upkeep
) -> None:
    if is_fake(redis):
        pytest.skip("fakeredis crashes on stream commands against a string")
    await add_batch(queue, "b", [job(0)])
    await fail(queue, 0)
    await redis.delete(queue.keys.stream("b", MODEL))
    await redis.set(queue.keys.stream("b", MODEL), "foreign")
    with pytest.raises(Exception, match="WRONGTYPE"):
        await letters.revive(await all_of(letters))
    assert len(await all_of(letters)) == 1
    assert await upkeep.broken_batches() == ["b"]


async def test_the_oldest_letters_make_room(
    queue: RedisQueue, letters: DeadLetters, redis: Redis, keys: Keys
) -> None:
    body = b"x" * (1 << 20)
    for number in range(70):
        await add_batch(queue, f"b{number}", [job(0, body=body)])
        await fail(queue, 0, f"b{number}")
    kept = await all_of(letters)
    assert [letter.batch_id for letter in kept] == [f"b{number}" for number in range(6, 70)]
    counters = await queue.counters()
    assert counters["dead_dropped"] == 6
    assert counters["dead_bytes"] == 64 << 20
    assert await letters.drop([letter.letter_id for letter in kept[:60]]) == 60
    assert await letters.drop([kept[0].letter_id]) == 0
    await letters.revive(kept[60:62])
    assert (await queue.counters())["dead_bytes"] == 2 << 20


async def test_a_wrong_sum_of_letters_heals(
    queue: RedisQueue, letters: DeadLetters, redis: Redis, keys: Keys
) -> None:
    await redis.hset(keys.stat, "dead_bytes", 1 << 40)
    await add_batch(queue, "b", [job(0)])
    await fail(queue, 0)
    assert len(await all_of(letters)) == 1
    assert (await queue.counters())["dead_bytes"] == len(b"{}")
