import pytest
from redis.asyncio import Redis

from jobs.errors import BadBatchError
from jobs.keys import Keys
from jobs.online.jobs import (
    NewRequest,
    OnlineJobs,
    Refusal,
    TenantLimits,
    Waiting,
    new_ticket,
)
from jobs.queue import BatchSpec, Commit, Lease, NewJob, Outcome
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from schemas.result import ResultRow

ANY = TenantLimits()


@pytest.fixture
def jobs(redis: Redis, keys: Keys, settings: QueueSettings) -> OnlineJobs:
    return OnlineJobs(redis, keys, settings)


def request(number: int = 0, *, cost: int = 10, ttl_ms: int = 60_000) -> NewRequest:
    return NewRequest(
        request_id=f"req_{number}",
        model="m",
        url="/v1/chat/completions",
        cost_tokens=cost,
        body=b"{}",
        ttl_ms=ttl_ms,
    )


async def submit(jobs: OnlineJobs, tenant: str = "acme", **about: int) -> Waiting:
    waiting = await jobs.submit(new_ticket(tenant), request(**about), ANY)
    assert isinstance(waiting, Waiting)
    return waiting


async def take(queue: RedisQueue, consumer: str = "me", max_jobs: int = 10) -> list[Lease]:
    return await queue.take(
        consumer, ["m"], max_jobs=max_jobs, max_cost_tokens=10**6, num_in_flight=0
    )


async def answer(queue: RedisQueue, lease: Lease, **columns: object) -> None:
    row = ResultRow(idx=lease.idx, custom_id=lease.custom_id, status_code=200, **columns)
    await queue.commit("me", [Commit(lease=lease, outcome=Outcome.OK, payload=row.encode())])


async def test_a_request_is_answered_once_and_leaves_nothing(
    jobs: OnlineJobs, queue: RedisQueue, redis: Redis, keys: Keys
) -> None:
    waiting = await submit(jobs, number=5)
    assert await jobs.look(waiting) == "waiting"
    (lease,) = await take(queue)
    assert (lease.idx, lease.custom_id) == (waiting.ticket.idx, "req_5")
    await answer(queue, lease, content="hello")
    row = await jobs.look(waiting)
    assert isinstance(row, ResultRow)
    assert row.content == "hello"
    assert await jobs.look(waiting) == "lost"
    batch = waiting.ticket.batch_id
    assert await redis.xlen(keys.outbox(batch)) == 0
    assert await redis.exists(keys.bitmap(batch), keys.attempts(batch), keys.cancels(batch)) == 0
    assert await jobs.num_waiting("acme") == 0


async def test_a_repeated_submission_is_one_job(jobs: OnlineJobs, queue: RedisQueue) -> None:
    ticket = new_ticket("acme")
    first = await jobs.submit(ticket, request(), TenantLimits(max_requests=1))
    again = await jobs.submit(ticket, request(), TenantLimits(max_requests=1))
    assert isinstance(first, Waiting)
    assert isinstance(again, Waiting)
    assert again.entry_id == first.entry_id
    assert len(await take(queue)) == 1


async def test_limits_count_what_waits_and_runs_for_the_tenant_alone(
    jobs: OnlineJobs, queue: RedisQueue
) -> None:
    limits = TenantLimits(max_requests=2, max_tokens=100)

    async def ask(tenant: str, cost: int) -> Waiting | Refusal:
        return await jobs.submit(new_ticket(tenant), request(cost=cost), limits)

    assert isinstance(await ask("acme", 500), Waiting)  # dearer than the limit, but alone
    assert await ask("acme", 1) == Refusal("tokens", 500)
    assert isinstance(await ask("other", 50), Waiting)
    assert isinstance(await ask("other", 50), Waiting)
    leases = await take(queue)
    assert await ask("other", 1) == Refusal("requests", 2)
    for lease in leases:
        await answer(queue, lease)
    assert isinstance(await ask("other", 1), Waiting)


async def test_waiting_clients_come_before_batches(jobs: OnlineJobs, queue: RedisQueue) -> None:
    await queue.create_batch(BatchSpec(batch_id="batch"))
    job = NewJob(idx=0, custom_id="c", model="m", url="/v1/x", cost_tokens=1, body=b"{}")
    await queue.enqueue("batch", 0, [job], is_final=True)
    assert await queue.num_interactive(["m"]) == 0
    await submit(jobs)
    assert await queue.num_interactive(["m", "n"]) == 1
    leases = await take(queue)
    assert [lease.batch_id for lease in leases] == ["online-acme", "batch"]


async def test_a_client_that_hangs_up_before_the_start_costs_no_device_time(
    jobs: OnlineJobs, queue: RedisQueue, redis: Redis, keys: Keys
) -> None:
    waiting = await submit(jobs)
    assert await jobs.hang_up(waiting)
    assert await take(queue) == []
    assert not await jobs.hang_up(waiting)
    assert await redis.exists(keys.cancels(waiting.ticket.batch_id)) == 0


async def test_a_client_that_hangs_up_later_is_told_of_when_renewing(
    jobs: OnlineJobs, queue: RedisQueue
) -> None:
    waiting = await submit(jobs)
    (lease,) = await take(queue)
    assert await queue.renew("me", [lease]) == []
    await jobs.hang_up(waiting)
    (lost,) = await queue.renew("me", [lease])
    assert lost.loss.value == "cancelled"
    await queue.commit("me", [Commit(lease=lease, outcome=Outcome.CANCELLED)])
    assert await queue.renew("me", [lease]) != []
    assert not await jobs.hang_up(waiting)


async def test_rows_that_nobody_reads_are_forgotten(
    jobs: OnlineJobs, queue: RedisQueue, redis: Redis, keys: Keys
) -> None:
    for number in range(3):
        await submit(jobs, number=number)
    for lease in await take(queue):
        await answer(queue, lease)
    outbox = keys.outbox("online-acme")
    assert 0 < await redis.pttl(outbox) <= 600_000


async def test_a_row_is_announced_where_its_client_listens(
    jobs: OnlineJobs, queue: RedisQueue, redis: Redis, keys: Keys
) -> None:
    ticket = new_ticket("acme")
    async with redis.pubsub(ignore_subscribe_messages=True) as listener:
        await listener.subscribe(keys.tokens(ticket.batch_id, ticket.idx))
        await listener.get_message(timeout=1)
        waiting = await jobs.submit(ticket, request(), ANY)
        assert isinstance(waiting, Waiting)
        (lease,) = await take(queue)
        await answer(queue, lease, content="x")
        message = await listener.get_message(timeout=5)
        assert message is not None
        assert message["data"][:1] == b"d"
        row = await jobs.read(waiting, message["data"][1:].decode())
    assert row is not None
    assert row.content == "x"


async def test_nobody_else_may_use_such_a_batch(queue: RedisQueue) -> None:
    with pytest.raises(BadBatchError, match="online-"):
        await queue.create_batch(BatchSpec(batch_id="online-mine"))


async def test_error_rows_are_counted_by_code(queue: RedisQueue, redis: Redis, keys: Keys) -> None:
    await queue.create_batch(BatchSpec(batch_id="batch"))
    new = [
        NewJob(idx=k, custom_id='"error_code":"x"', model="m", url="u", cost_tokens=1, body=b"{}")
        for k in range(2)
    ]
    await queue.enqueue("batch", 0, new, is_final=True)
    for lease in await take(queue):
        row = ResultRow(
            idx=lease.idx, custom_id=lease.custom_id, status_code=400, error_code="empty_array",
            response_json='{"error_code":"no"}',
        )  # fmt: skip
        await queue.commit("me", [Commit(lease=lease, outcome=Outcome.ERR, payload=row.encode())])
    fields = await redis.hgetall(keys.batch("batch"))
    assert {name: n for name, n in fields.items() if name.startswith(b"code:")} == {
        b"code:empty_array": b"2"
    }
