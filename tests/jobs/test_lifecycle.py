"""The control plane as arq runs it, on a real server."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from time import monotonic

import pytest
from redis.asyncio import Redis

from jobs import lifecycle
from jobs.control.steps import StepKind, Steps
from jobs.embedded_server import EmbeddedServer
from jobs.lifecycle import Kicker, Lifecycle, LifecycleSettings
from jobs.maintenance import Maintenance
from jobs.server import connect
from tests.jobs.endpoint import Endpoint, lines, make_endpoint

pytestmark = pytest.mark.redis

NEVER = LifecycleSettings(look_every_s=3600)


@pytest.fixture
async def endpoint(redis_server: EmbeddedServer, tmp_path: Path) -> AsyncIterator[Endpoint]:
    client = connect(redis_server.url)
    await client.flushall()
    one = make_endpoint(client, tmp_path)
    yield one
    await one.client.aclose()
    one.control.thread.shutdown()
    await client.aclose()


@asynccontextmanager
async def living(
    endpoint: Endpoint, settings: LifecycleSettings | None = None, redis: Redis | None = None
) -> AsyncIterator[None]:
    """A control plane, ended orderly with the block."""
    redis = redis or endpoint.redis
    async with asyncio.TaskGroup() as group:
        steps = Steps(endpoint.control, redis, endpoint.keys, group)
        maintenance = Maintenance(endpoint.queue, endpoint.control.upkeep)
        lifecycle = Lifecycle(steps, maintenance, redis, endpoint.keys, settings)
        running = group.create_task(lifecycle.run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])
            await steps.stop()


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 30.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.02)


async def has_status(endpoint: Endpoint, batch_id: str, status: str) -> bool:
    return (await endpoint.batch(batch_id)).status == status


async def test_a_batch_that_nobody_mentions_is_found(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(3)))
    async with living(endpoint):
        while not await has_status(endpoint, batch_id, "completed"):
            await endpoint.answer(await endpoint.take())
            await asyncio.sleep(0.02)
        await until(lambda: nothing_open(endpoint))


async def nothing_open(endpoint: Endpoint) -> bool:
    return await endpoint.control.batches.open_ids() == []


async def test_a_kick_is_heard_at_once(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(3)))
    kicker = Kicker(endpoint.redis, endpoint.keys)
    async with living(endpoint, NEVER):
        await kicker.kick(batch_id)
        await until(lambda: has_status(endpoint, batch_id, "in_progress"))
    await kicker.close()


async def test_two_control_planes_do_no_harm(endpoint: Endpoint, tmp_path: Path) -> None:
    ids = [await endpoint.order(await endpoint.upload(lines(120))) for _ in range(3)]
    async with living(endpoint), living(endpoint):
        for _ in range(400):
            await endpoint.answer(await endpoint.take(max_jobs=50))
            if await nothing_open(endpoint):
                break
            await asyncio.sleep(0.02)
    for batch_id in ids:
        batch = await endpoint.batch(batch_id)
        assert batch.status == "completed"
        rows = await endpoint.content(batch.output_file_id)
        assert [row["custom_id"] for row in rows] == [f"r{n}" for n in range(120)]


async def test_a_step_that_fails_is_tried_again(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(3)))
    known_models = endpoint.control.registry.known_models
    failures = [OSError("no disk"), OSError("no disk")]

    async def fail_twice() -> object:
        if failures:
            raise failures.pop()
        return await known_models()

    endpoint.control.registry.known_models = fail_twice  # type: ignore[method-assign,assignment]
    kicker = Kicker(endpoint.redis, endpoint.keys)
    async with living(endpoint, NEVER):
        await kicker.kick(batch_id)
        await until(lambda: has_status(endpoint, batch_id, "in_progress"))
    assert failures == []
    await kicker.close()


async def test_the_worker_outlives_its_connection(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(3)))
    async with living(endpoint, LifecycleSettings(look_every_s=0.1)):
        await asyncio.sleep(0.3)
        await endpoint.redis.client_kill_filter(_type="normal", skipme=False)
        later = await endpoint.order(await endpoint.upload(lines(2)))
        await until(lambda: has_status(endpoint, batch_id, "in_progress"))
        await until(lambda: has_status(endpoint, later, "in_progress"))


async def test_what_arq_keeps_is_json(endpoint: Endpoint) -> None:
    """A pickle would let whoever writes to Redis run code here."""
    kicker = Kicker(endpoint.redis, endpoint.keys)
    await kicker.ask(StepKind.FEED, "batch_a")
    await kicker.ask(StepKind.FEED, "batch_a")
    names = [name async for name in endpoint.redis.scan_iter("arq:job:*")]
    assert len(names) == 1, "the same request is not queued twice"
    job = json.loads(await endpoint.redis.get(names[0]))
    assert job["a"] == ["batch_a"]
    await kicker.close()


async def test_a_foreign_job_does_not_stop_the_worker(endpoint: Endpoint) -> None:
    queue_name = f"{endpoint.keys.prefix}arq"
    await endpoint.redis.set("arq:job:evil", b"\x80\x04not json")
    await endpoint.redis.zadd(queue_name, {"evil": 1})
    batch_id = await endpoint.order(await endpoint.upload(lines(1)))
    async with living(endpoint):
        await until(lambda: has_status(endpoint, batch_id, "in_progress"))


async def test_ending_leaves_no_lock_behind(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(3)))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.8), living(endpoint):
            await asyncio.sleep(10)
    locks = [name async for name in endpoint.redis.scan_iter(f"{endpoint.keys.prefix}lock:*")]
    assert locks == []
    async with living(endpoint):
        await until(lambda: has_status(endpoint, batch_id, "in_progress"))


async def test_the_workers_lock_is_left_to_workers(endpoint: Endpoint) -> None:
    """Whoever holds it also empties outboxes into files that only workers can write."""
    async with asyncio.TaskGroup() as group:
        steps = Steps(endpoint.control, endpoint.redis, endpoint.keys, group)
        maintenance = Maintenance(endpoint.queue, endpoint.control.upkeep)
        lifecycle = Lifecycle(steps, maintenance, endpoint.redis, endpoint.keys)
        await lifecycle._sweep()
    assert await endpoint.redis.exists(endpoint.keys.lock("sweep"))
    assert not await endpoint.redis.exists(endpoint.keys.lock("maintenance"))


@asynccontextmanager
async def guest(endpoint: Endpoint, *keys: str) -> AsyncIterator[Redis]:
    """A client that may use only these keys, and no commands that touch the server itself."""
    admin, settings = endpoint.redis, endpoint.redis.connection_pool.connection_kwargs
    await admin.acl_setuser(
        "guest",
        enabled=True,
        reset=True,
        passwords=["+secret"],
        keys=list(keys),
        categories=["+@all", "-@dangerous", "-@admin"],
    )
    await admin.acl_log_reset()
    client = connect(f"redis://guest:secret@{settings['host']}:{settings['port']}")
    try:
        yield client
    finally:
        await client.aclose()
        await admin.acl_deluser("guest")


async def test_few_rights_are_enough(endpoint: Endpoint) -> None:
    """Hosted servers allow no INFO; a key without our hash tag is refused in a cluster, too."""
    async with guest(endpoint, "test:*", "arq:*:test:*") as redis:
        batch_id = await endpoint.order(await endpoint.upload(lines(3)))
        async with living(endpoint, redis=redis):
            while not await has_status(endpoint, batch_id, "completed"):
                await endpoint.answer(await endpoint.take())
                await asyncio.sleep(0.02)
        assert await endpoint.redis.acl_log() == []


async def test_a_missing_right_is_said_once(
    endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    async with guest(endpoint, "test:*") as redis:
        kicker = Kicker(redis, endpoint.keys)
        await kicker.kick("batch_a")
        await kicker.kick("batch_b")
        await kicker.close()
    (record,) = caplog.records
    assert "needs the keys arq:*:test:{q}:arq:*" in record.message


class DyingWorker:
    """Stands in for arq's: runs for the next of some times, and dies."""

    def __init__(self, lives_s: list[float]) -> None:
        self.lives_s = lives_s
        self.starts_s: list[float] = []

    async def async_run(self) -> None:
        self.starts_s.append(monotonic())
        if not self.lives_s:
            await asyncio.Event().wait()
        await asyncio.sleep(self.lives_s.pop(0))
        raise ConnectionResetError("Redis went away")

    async def close(self) -> None:
        pass


async def test_a_worker_that_ran_for_long_is_started_again_at_once(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "_FIRST_BACKOFF_S", 0.02)
    monkeypatch.setattr(lifecycle, "_LONGEST_BACKOFF_S", 0.64)
    worker = DyingWorker([0.0] * 5 + [1.0])
    monkeypatch.setattr(Lifecycle, "_worker", lambda *_: worker)
    async with living(endpoint, NEVER):
        async with asyncio.timeout(30):
            while len(worker.starts_s) < 7:
                await asyncio.sleep(0.01)
    pauses_s = [after - before for before, after in pairwise(worker.starts_s)]
    assert pauses_s[4] > 0.3, "one that dies again and again waits longer each time"
    assert pauses_s[5] - 1.0 < 0.3
