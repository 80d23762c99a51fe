import asyncio

from jobs.control.steps import StepKind, Steps, lock_name
from jobs.lock import RedisLock
from tests.jobs.endpoint import Endpoint, lines


async def test_a_step_runs_once_at_a_time(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(2)))
    async with asyncio.TaskGroup() as group:
        steps = Steps(endpoint.control, endpoint.redis, endpoint.keys, group)
        first = steps.start(StepKind.FEED, batch_id)
        assert steps.start(StepKind.FEED, batch_id) is first
        assert await first
        assert steps.start(StepKind.FEED, batch_id) is not first
    assert (await endpoint.batch(batch_id)).status == "in_progress"


async def test_a_step_that_another_process_does_is_left_to_it(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(2)))
    name = lock_name(StepKind.FEED, batch_id)
    lock = RedisLock(endpoint.redis, endpoint.keys, name, ttl_ms=60_000)
    await lock.hold()
    async with asyncio.TaskGroup() as group:
        steps = Steps(endpoint.control, endpoint.redis, endpoint.keys, group)
        assert await steps.start(StepKind.FEED, batch_id)
    assert (await endpoint.batch(batch_id)).status == "validating"


async def test_a_failure_is_counted_and_ends_nothing_else(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(2)))

    async def fail(_: str) -> None:
        raise OSError("no disk")

    endpoint.control.registry.known_models = fail  # type: ignore[method-assign,assignment]
    async with asyncio.TaskGroup() as group:
        steps = Steps(endpoint.control, endpoint.redis, endpoint.keys, group)
        assert not await steps.start(StepKind.FEED, batch_id)
    counted = endpoint.control.metrics.steps_failed.labels("feed")
    assert counted._value.get() == 1


async def test_stopping_gives_the_lock_back(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(2)))
    is_there = asyncio.Event()

    async def wait() -> dict[str, object]:
        is_there.set()
        await asyncio.sleep(60)
        return {}

    endpoint.control.registry.known_models = wait  # type: ignore[method-assign,assignment]
    async with asyncio.TaskGroup() as group:
        steps = Steps(endpoint.control, endpoint.redis, endpoint.keys, group)
        steps.start(StepKind.FEED, batch_id)
        await is_there.wait()
        await steps.stop()
    name = lock_name(StepKind.FEED, batch_id)
    assert await endpoint.control.batches.held([name]) == set()
