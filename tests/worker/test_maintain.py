import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from jobs.keys import Keys
from jobs.lock import RedisLock
from jobs.maintenance import Maintenance
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.upkeep import Upkeep
from worker.maintain import Upkeeper


class LongSweeps(Maintenance):
    """Its first sweep does not end by itself."""

    def __init__(self, redis: Redis) -> None:
        keys, settings = Keys(), QueueSettings()
        queue, upkeep = RedisQueue(redis, keys, settings), Upkeep(redis, keys, settings)
        super().__init__(queue, upkeep)
        self.sweeping = asyncio.Event()

    async def sweep(self) -> None:
        self.sweeping.set()
        await asyncio.Event().wait()


class LostLock(RedisLock):
    """The server goes away while it is held."""

    async def release(self) -> None:
        raise RedisConnectionError("nobody is there")


def lock(redis: Redis, kind: type[RedisLock] = RedisLock) -> RedisLock:
    return kind(redis, Keys(), "maintenance", ttl_ms=60_000)


async def stop_in_first_sweep(redis: Redis, held: RedisLock) -> None:
    rounds = LongSweeps(redis)
    task = asyncio.create_task(Upkeeper(rounds, held).run())
    await rounds.sweeping.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_who_is_stopped_in_the_first_sweep_gives_the_lock_back(redis: Redis) -> None:
    await stop_in_first_sweep(redis, lock(redis))
    assert await lock(redis).hold()


async def test_a_server_that_is_away_does_not_turn_a_stop_into_a_failure(redis: Redis) -> None:
    await stop_in_first_sweep(redis, lock(redis, LostLock))
