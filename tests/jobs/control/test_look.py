from dataclasses import replace

from jobs.control.collect import collect
from jobs.control.context import ControlSettings
from jobs.control.feed import feed
from jobs.control.look import Look, Needed
from jobs.control.steps import StepKind, lock_name
from jobs.lock import RedisLock
from tests.jobs.endpoint import Endpoint, lines


async def test_nothing_open_needs_nothing(endpoint: Endpoint) -> None:
    assert await Look(endpoint.control).steps() == []


async def test_what_a_batch_needs_follows_from_its_state_alone(endpoint: Endpoint) -> None:
    look = Look(endpoint.control)
    batch_id = await endpoint.order(await endpoint.upload(lines(2)))
    assert await look.steps() == [Needed(StepKind.FEED, batch_id)]
    await feed(endpoint.control, batch_id)
    assert await look.steps() == [], "it waits for workers"
    await endpoint.answer(await endpoint.take())
    assert await look.steps() == [Needed(StepKind.COLLECT, batch_id)]
    await endpoint.settle()
    assert await look.steps() == []


async def test_a_fan_out_that_stopped_half_way_is_seen(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(2)))
    await feed(endpoint.control, batch_id)
    await endpoint.redis.hdel(endpoint.keys.batch(batch_id), "enq_done", "total")
    assert await Look(endpoint.control).steps() == [Needed(StepKind.FEED, batch_id)]


async def test_a_step_that_another_process_does_is_left_to_it(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(2)))
    name = lock_name(StepKind.FEED, batch_id)
    lock = RedisLock(endpoint.redis, endpoint.keys, name, ttl_ms=60_000)
    await lock.hold()
    assert await Look(endpoint.control).steps() == []
    await lock.release()
    assert len(await Look(endpoint.control).steps()) == 1


async def test_few_rows_wait_a_little_for_more(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(9)))
    await feed(endpoint.control, batch_id)
    object.__setattr__(endpoint.control, "settings", ControlSettings(flush_rows=3, flush_s=60))
    look = Look(endpoint.control)
    assert await look.steps() == []
    await endpoint.answer(await endpoint.take(max_jobs=2))
    assert await look.steps() == []
    await endpoint.answer(await endpoint.take(max_jobs=1))
    assert await look.steps() == [Needed(StepKind.COLLECT, batch_id)]


async def test_batches_of_another_data_folder_are_left_alone(endpoint: Endpoint) -> None:
    batch_id = await endpoint.order(await endpoint.upload(lines(1)))
    await endpoint.control.batches.claim(batch_id, "elsewhere")
    assert await Look(endpoint.control).steps() == []


async def test_a_batch_that_another_process_ended_is_forgotten(endpoint: Endpoint) -> None:
    here = endpoint.control
    there = replace(here, stores={})
    look = Look(here)
    batch_id = await endpoint.order(await endpoint.upload(lines(2)))
    await feed(here, batch_id)
    await endpoint.answer(await endpoint.take(max_jobs=1))
    await collect(here, batch_id)
    assert list(here.stores) == [batch_id]
    await endpoint.answer(await endpoint.take())
    await collect(there, batch_id)
    assert await look.steps() == []
    assert not here.stores
