import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from jobs.keys import Keys
from jobs.lock import RedisLock
from jobs.redis_calls import RedisCalls


def lock(redis: Redis, keys: Keys, *, name: str = "work") -> RedisLock:
    return RedisLock(redis, keys, name, ttl_ms=60_000)


async def let_expire(redis: Redis, keys: Keys) -> None:
    """As if nobody had renewed the lock for a minute."""
    assert 0 < await redis.pttl(keys.lock("work")) <= 60_000
    await redis.pexpire(keys.lock("work"), 1)
    await asyncio.sleep(0.005)


async def unreachable(*_args: object) -> None:
    raise RedisConnectionError("nobody is there")


async def test_one_holder_at_a_time(redis: Redis, keys: Keys) -> None:
    first, second = lock(redis, keys), lock(redis, keys)
    assert await first.hold()
    assert not await second.hold()
    assert second.token is None
    assert await first.hold(), "its holder keeps it"
    await first.release()
    assert await second.hold()


async def test_tokens_only_grow(redis: Redis, keys: Keys) -> None:
    tokens = []
    for _ in range(3):
        held = lock(redis, keys)
        assert await held.hold()
        tokens.append(held.token)
        await held.release()
    assert tokens == sorted(set(tokens))


async def test_a_renewal_keeps_the_token_and_the_time(redis: Redis, keys: Keys) -> None:
    held = lock(redis, keys)
    assert await held.hold()
    token = held.token
    await redis.pexpire(keys.lock("work"), 5_000)
    assert await held.hold()
    assert held.token == token
    assert await redis.pttl(keys.lock("work")) > 5_000


async def test_who_slept_too_long_has_lost_it(redis: Redis, keys: Keys) -> None:
    sleeper, other = lock(redis, keys), lock(redis, keys)
    assert await sleeper.hold()
    await let_expire(redis, keys)
    assert await other.hold()
    assert not await sleeper.hold()
    assert sleeper.token is None
    await sleeper.release()
    assert await other.hold(), "a loser cannot release what is another's"


async def test_who_lost_it_to_nobody_gets_a_new_token(redis: Redis, keys: Keys) -> None:
    held = lock(redis, keys)
    assert await held.hold()
    before = held.token
    await let_expire(redis, keys)
    assert await held.hold()
    assert before is not None
    assert held.token is not None
    assert held.token > before


async def test_who_could_not_ask_still_has_it(redis: Redis, keys: Keys, monkeypatch) -> None:
    held, other = lock(redis, keys), lock(redis, keys)
    assert await held.hold()
    token = held.token
    with monkeypatch.context() as patch:
        patch.setattr(RedisCalls, "script", unreachable)
        with pytest.raises(RedisConnectionError):
            await held.hold()
    assert held.token is None, "nobody knows"
    assert not await other.hold()
    assert await held.hold()
    assert held.token == token


async def test_who_was_stopped_while_renewing_gives_it_back(
    redis: Redis, keys: Keys, monkeypatch
) -> None:
    held, other = lock(redis, keys), lock(redis, keys)
    assert await held.hold()
    with monkeypatch.context() as patch:
        patch.setattr(RedisCalls, "script", unreachable)
        with pytest.raises(RedisConnectionError):
            await held.hold()
    await held.release()
    assert await other.hold()


async def test_locks_of_other_names_are_free(redis: Redis, keys: Keys) -> None:
    assert await lock(redis, keys, name="a").hold()
    assert await lock(redis, keys, name="b").hold()
