import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.online.calls import Event, Failure, OnlineCall, OnlineCalls, OnlineSettings
from jobs.online.jobs import NewRequest, OnlineJobs
from jobs.online.listener import TokenListener
from jobs.online.messages import Accepted, Piece, Step
from jobs.online.publisher import TokenPublisher
from jobs.queue import Commit, Lease, Outcome
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.server import connect
from schemas.result import ResultRow
from tests.jobs.conftest import REAL, start_once

HEAD = Accepted(id="chatcmpl-1", created=1, model="m", fingerprint="fp")


@pytest.fixture(params=REAL[1:])
async def redis(request, running_servers, tmp_path_factory) -> AsyncIterator[Redis]:
    client = connect(start_once(request.param, running_servers, tmp_path_factory).url)
    await client.flushall()
    yield client
    await client.aclose()


class Site:
    def __init__(self, redis: Redis, keys: Keys, **settings: float) -> None:
        queue_settings = QueueSettings(reap_every_ms=1)
        self.redis = redis
        self.keys = keys
        self.queue = RedisQueue(redis, keys, queue_settings)
        self.listener = TokenListener(redis, keys)
        self.publisher = TokenPublisher(redis, keys)
        jobs = OnlineJobs(redis, keys, queue_settings)
        about = OnlineSettings(**({"look_every_s": 0.2} | settings))  # type: ignore[arg-type]
        self.calls = OnlineCalls(jobs, self.listener, keys, about)

    async def take(self) -> Lease:
        while True:
            leases = await self.queue.take(
                "me", ["m"], max_jobs=1, max_cost_tokens=10**6, num_in_flight=0
            )
            if leases:
                return leases[0]
            await asyncio.sleep(0.01)

    async def answer(self, lease: Lease) -> None:
        row = ResultRow(idx=lease.idx, custom_id=lease.custom_id, status_code=200, content="whole")
        await self.queue.commit(
            "me", [Commit(lease=lease, outcome=Outcome.OK, payload=row.encode())]
        )


@pytest.fixture
async def site(redis: Redis, keys: Keys) -> AsyncIterator[Site]:
    async with asyncio.TaskGroup() as group:
        one = Site(redis, keys)
        tasks = [group.create_task(one.listener.run()), group.create_task(one.publisher.run())]
        yield one
        for task in tasks:
            task.cancel()


REQUEST = NewRequest(
    request_id="req_1", model="m", url="/v1/x", cost_tokens=1, body=b"{}", ttl_ms=60_000
)


async def events(call: object) -> list[Event]:
    assert isinstance(call, OnlineCall)
    return [event async for event in call.events() if event is not None]


async def test_a_client_hears_of_the_start_of_each_step_and_of_the_end(site: Site) -> None:
    step = Step(attempt=1, number=0, pieces=(Piece(index=0, content="wh"),))
    async with site.calls.open("acme", REQUEST) as call:
        hearing = asyncio.create_task(events(call))
        lease = await site.take()
        for message in (HEAD.encode(), step.encode()):
            site.publisher.publish(lease.batch_id, lease.idx, message)
        await asyncio.sleep(0.2)
        await site.answer(lease)
        *before, row = await hearing
    assert before == [HEAD, step]
    assert isinstance(row, ResultRow)
    assert row.content == "whole"


async def test_two_clients_hear_of_their_own_jobs_only(site: Site) -> None:
    async def ask(tenant: str) -> str:
        async with site.calls.open(tenant, REQUEST) as call:
            row = (await events(call))[-1]
            assert isinstance(row, ResultRow)
            return f"{tenant} {row.idx}"

    asking = [asyncio.create_task(ask(tenant)) for tenant in ("a", "b")]
    wanted = set()
    for _ in asking:
        lease = await site.take()
        wanted.add(f"{lease.batch_id.removeprefix('online-')} {lease.idx}")
        await site.answer(lease)
    assert {await task for task in asking} == wanted


async def test_a_row_is_found_without_any_message(site: Site) -> None:
    async with site.calls.open("acme", REQUEST) as call:
        hearing = asyncio.create_task(events(call))
        lease = await site.take()
        for each in await site.redis.client_list(_type="pubsub"):
            await site.redis.client_kill_filter(_id=each["id"])
        await site.answer(lease)
        row = (await asyncio.wait_for(hearing, 10))[-1]
    assert isinstance(row, ResultRow)


async def test_listening_goes_on_after_the_connection_broke(site: Site) -> None:
    async with site.listener.listening("here") as before:
        for each in await site.redis.client_list(_type="pubsub"):
            await site.redis.client_kill_filter(_id=each["id"])
        async with site.listener.listening("there") as after:
            async with asyncio.timeout(10):
                while before.empty():
                    await site.redis.publish("here", b"1")
                    await asyncio.sleep(0.02)
            await site.redis.publish("there", b"2")
            assert await asyncio.wait_for(after.get(), 5) == b"2"


async def test_leaving_early_cancels_the_job(site: Site) -> None:
    async with site.calls.open("acme", REQUEST):
        lease = await site.take()
        assert await site.queue.renew("me", [lease]) == []
    (lost,) = await site.queue.renew("me", [lease])
    assert lost.loss.value == "cancelled"


async def test_a_request_that_no_worker_takes_is_given_up(redis: Redis, keys: Keys) -> None:
    site = Site(redis, keys, start_timeout_s=0.3)
    listening = asyncio.create_task(site.listener.run())
    async with site.calls.open("acme", REQUEST) as call:
        assert await events(call) == [Failure.NOT_STARTED]
    assert await site.queue.take("me", ["m"], max_jobs=1, max_cost_tokens=10, num_in_flight=0) == []
    listening.cancel()
    await asyncio.wait([listening])


async def test_a_request_that_takes_too_long_is_given_up(redis: Redis, keys: Keys) -> None:
    site = Site(redis, keys, request_timeout_s=0.5)
    tasks = [asyncio.create_task(each.run()) for each in (site.listener, site.publisher)]
    async with site.calls.open("acme", REQUEST) as call:
        hearing = asyncio.create_task(events(call))
        lease = await site.take()
        site.publisher.publish(lease.batch_id, lease.idx, HEAD.encode())
        assert (await hearing)[-1] is Failure.TOO_LONG
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@pytest.mark.parametrize(
    ("limit", "failure"),
    [("start_timeout_s", Failure.NOT_STARTED), ("request_timeout_s", Failure.TOO_LONG)],
)
async def test_a_limit_counts_though_the_queue_is_looked_at_more_rarely(
    redis: Redis, keys: Keys, limit: str, failure: Failure
) -> None:
    site = Site(redis, keys, look_every_s=60, **{limit: 0.3})
    listening = asyncio.create_task(site.listener.run())
    async with asyncio.timeout(10), site.calls.open("acme", REQUEST) as call:
        assert await events(call) == [failure]
    listening.cancel()
    await asyncio.wait([listening])


async def test_a_request_that_redis_forgot_is_lost(site: Site) -> None:
    async with site.calls.open("acme", REQUEST) as call:
        await site.redis.flushall()
        assert await asyncio.wait_for(events(call), 10) == [Failure.LOST]
