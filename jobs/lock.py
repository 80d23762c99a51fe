"""A lock among processes, with a number that tells its holders apart.

Owns: one named lock on the Redis server. Must not know: what it protects. The lock alone excludes
nobody that was stopped while holding it; what is done under it must be idempotent, or must be
checked against the token, which only grows.
"""

from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.redis_calls import RedisCalls

__all__ = ["RedisLock"]


class RedisLock:
    """One process's view of a lock. It expires `ttl_ms` after the last renewal."""

    def __init__(self, redis: Redis, keys: Keys, name: str, *, ttl_ms: int) -> None:
        self._calls = RedisCalls(redis, keys)
        self._name = name
        self._ttl_ms = ttl_ms
        self._token: int | None = None
        self._last_token: int | None = None  # ours, unless it lapsed

    @property
    def ttl_s(self) -> float:
        return self._ttl_ms / 1000

    @property
    def token(self) -> int | None:
        """The fencing token while we hold the lock, as far as we know."""
        return self._token

    async def hold(self) -> bool:
        """Take the lock, or keep it; False if somebody else has it."""
        self._token = None  # until the server says otherwise
        if self._last_token is None or not await self._call("renew", self._last_token):
            self._last_token = await self._call("acquire", 0) or None
        self._token = self._last_token
        return self._token is not None

    async def release(self) -> None:
        """Give the lock back if we still hold it."""
        self._token, held = None, self._last_token
        if held is not None:
            await self._call("release", held)
            self._last_token = None

    async def _call(self, verb: str, token: int) -> int:
        return int(await self._calls.script("lock", verb, self._name, self._ttl_ms, token))
