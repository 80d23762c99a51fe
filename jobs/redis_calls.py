"""Calls to Redis as the queue makes them: scripts and plain commands, patiently if so asked.

Owns: the one place where calls are repeated while a server is away. Must not know: batches, jobs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from jobs.errors import RedisConfigError
from jobs.keys import Keys
from jobs.retrying import Retrying, is_passing
from jobs.scripts import Argument, ScriptRunner

__all__ = ["REPLY_S", "RedisCalls"]

REPLY_S = 30.0  # more than twice the slowest script, also on a busy server

T = TypeVar("T")


class RedisCalls:
    """With `retrying`, calls wait for a server that is away; without, they raise redis' errors."""

    def __init__(self, redis: Redis, keys: Keys, retrying: Retrying | None = None) -> None:
        self._redis = redis
        self._retrying = retrying
        self._scripts = ScriptRunner(redis, keys.prefix)

    async def script(self, name: str, *arguments: Argument) -> Any:
        """A script's reply."""
        return await self._patiently(lambda: self._scripts.run(name, *arguments))

    async def scripts(self, name: str, calls: Sequence[Sequence[Argument]]) -> list[Any]:
        """One reply of the script for each of `calls`. A call that failed for good replies its
        RedisError; those that may pass are repeated alone.
        """
        replies: dict[int, Any] = {}

        async def send_rest() -> None:
            waiting = [k for k in range(len(calls)) if k not in replies]
            answers = await self._scripts.run_many(name, [calls[k] for k in waiting])
            passing: RedisError | None = None
            for k, answer in zip(waiting, answers, strict=True):
                if isinstance(answer, RedisError) and is_passing(answer):
                    passing = answer
                else:
                    replies[k] = answer
            if passing is not None:
                raise passing

        if calls:
            await self._patiently(send_rest)
        return [replies[k] for k in range(len(calls))]

    async def command(self, make: Callable[[Redis], object]) -> Any:
        """A plain command; redis-py types its reply as a value or an awaitable of one."""
        return await self._patiently(lambda: cast(Awaitable[Any], make(self._redis)))

    async def pipeline(
        self, commands: Sequence[Sequence[Argument]], *, keeps_errors: bool = False
    ) -> list[Any]:
        """The replies of plain commands that are sent together, as the server gives them. With
        `keeps_errors` a command that failed for good replies its RedisError.
        """
        return await self._patiently(lambda: self._send(commands, keeps_errors))

    async def _patiently(self, make: Callable[[], Awaitable[T]]) -> T:
        if self._retrying is None:
            return await self._in_time(make)
        return await self._retrying.call(lambda: self._in_time(make))

    async def _send(self, commands: Sequence[Sequence[Argument]], keeps_errors: bool) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            # An error that redis-py raises itself repeats the whole command, with what is in it.
            replies = list(await pipeline.execute(raise_on_error=False))
        for reply in replies:
            if isinstance(reply, RedisError) and (is_passing(reply) or not keeps_errors):
                raise reply
        return replies

    async def _in_time(self, make: Callable[[], Awaitable[T]]) -> T:
        """A half-open connection never answers, and those that lie idle beside it are as dead: they
        are closed, so that they are not waited for one after the other. redis-py's own
        socket_timeout is not used: it sends through asyncio.wait_for, which before Python 3.12
        loses a cancellation that comes just then.
        """
        try:
            async with asyncio.timeout(REPLY_S):
                return await make()
        except ResponseError as error:
            if str(error).startswith("MOVED "):
                raise RedisConfigError(
                    "this Redis is a node of a cluster, and another node holds headrace's keys: "
                    f"name that one, {str(error).split()[-1]}"
                ) from error
            raise
        except TimeoutError as error:
            await self._redis.connection_pool.disconnect(inuse_connections=False)
            raise RedisTimeoutError(f"no reply within {REPLY_S:.0f} s") from error
