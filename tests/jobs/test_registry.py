import asyncio

from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.registry import Registry, WorkerInfo


def worker(consumer: str, *models: str, max_model_len: int = 100) -> WorkerInfo:
    return WorkerInfo(
        consumer=consumer, models=models, max_model_len=max_model_len, host="h", pid=7, device="cpu"
    )


async def test_a_worker_is_known_as_it_described_itself(redis: Redis, keys: Keys) -> None:
    registry = Registry(redis, keys)
    assert await registry.live_workers() == []
    first, second = worker("b", "m1", "m2"), worker("a", "m3")
    await registry.register(first)
    await registry.register(second)
    assert await registry.live_workers() == [second, first]
    assert await registry.served_models() == {"m1", "m2", "m3"}


async def test_a_worker_without_heartbeat_is_gone(redis: Redis, keys: Keys) -> None:
    registry = Registry(redis, keys, ttl_ms=50_000)
    for consumer in ("dies", "lives"):
        await registry.register(worker(consumer, "m1"))
        assert 0 < await redis.pttl(keys.worker(consumer)) <= 50_000
        await redis.pexpire(keys.worker(consumer), 20)
    await registry.register(worker("lives", "m1"))
    await asyncio.sleep(0.03)
    assert [each.consumer for each in await registry.live_workers()] == ["lives"]
    assert await redis.smembers(keys.workers) == {b"lives"}, "the dead are forgotten"


async def test_models_stay_known_without_workers(redis: Redis, keys: Keys) -> None:
    registry = Registry(redis, keys)
    await registry.register(worker("a", "m1", max_model_len=10))
    await registry.register(worker("b", "m1", max_model_len=20))
    await registry.deregister("a")
    await registry.deregister("b")
    assert await registry.live_workers() == []
    assert await registry.served_models() == set()
    models = await registry.known_models()
    assert {name: model.max_model_len for name, model in models.items()} == {"m1": 20}


async def test_notes_of_a_newer_version_are_read(redis: Redis, keys: Keys) -> None:
    registry = Registry(redis, keys)
    await registry.register(worker("a", "m1"))
    note = '{"consumer":"a","models":["m1"],"max_model_len":5,"colour":"red"}'
    await redis.set(keys.worker("a"), note)
    await redis.hset(keys.known_models, "m1", '{"max_model_len":5,"colour":"red"}')
    assert [each.max_model_len for each in await registry.live_workers()] == [5]
    assert (await registry.known_models())["m1"].max_model_len == 5
