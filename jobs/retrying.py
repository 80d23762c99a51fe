"""Waiting for Redis instead of dying with it.

Owns: which failures pass by themselves, how long to wait for that, and saying so once. Must not
know: what is called. Every script of the queue may be sent again: a repeated call finds the work
done and says so, so that a lost reply is one more reason to retry.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import (
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from jobs.errors import RedisUnavailableError

__all__ = ["Retrying", "is_passing"]

_log = logging.getLogger(__name__)
_PASSING = (
    RedisConnectionError,  # also LOADING and wrong passwords: both may be mended meanwhile
    RedisTimeoutError,
    OutOfMemoryError,  # until a sink has emptied an outbox
    ReadOnlyError,  # a failover
    ConnectionError,
    TimeoutError,
)
# What redis-py has no class for, and what a script has caught and raised again.
_PASSING_TEXTS = (
    "MISCONF",
    "BUSY ",
    "UNKILLABLE",
    "OOM ",
    "NOREPLICAS",
    "READONLY ",
    "MASTERDOWN ",
    "CLUSTERDOWN ",  # a node that has just started, a failover
    "TRYAGAIN ",
)
_FIRST_DELAY_S = 0.02
_LONGEST_DELAY_S = 1.0

T = TypeVar("T")


def is_passing(error: BaseException) -> bool:
    """Whether the same call may succeed later without anybody changing it."""
    if isinstance(error, _PASSING):
        return True
    return isinstance(error, ResponseError) and any(text in str(error) for text in _PASSING_TEXTS)


class Retrying:
    """Repeats calls until Redis answers. One object for all that talk to one server.

    `give_up_s` bounds one wait in seconds; None waits for ever, as a worker should.
    """

    def __init__(self, *, give_up_s: float | None = None) -> None:
        self._give_up_s = give_up_s
        self._num_waiting = 0

    @property
    def is_waiting(self) -> bool:
        """Whether a call waits for the server now. Others may go well meanwhile: a server without
        memory is read from, but not written to.
        """
        return self._num_waiting > 0

    async def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """The result of `make()`, tried again with growing pauses while the failure may pass.

        Raises RedisUnavailableError after `give_up_s`; any other failure at once.
        """
        try:
            return await make()
        except (RedisError, OSError) as error:
            if not is_passing(error):
                raise
            first = error
        self._begin(first)
        is_well = False
        try:
            result = await self._insist(make, first)
            is_well = True
        finally:
            self._end(is_well=is_well)
        return result

    async def _insist(self, make: Callable[[], Awaitable[T]], error: Exception) -> T:
        delay_s = _FIRST_DELAY_S
        started_s = monotonic()
        while True:
            waited_s = monotonic() - started_s
            if self._give_up_s is not None and waited_s >= self._give_up_s:
                raise RedisUnavailableError(
                    f"Redis could not be used for {waited_s:.0f} s: {error}"
                ) from error
            await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(delay_s * 2, _LONGEST_DELAY_S)
            try:
                return await make()
            except (RedisError, OSError) as caught:
                if not is_passing(caught):
                    raise
                error = caught

    def _begin(self, error: Exception) -> None:
        """The first of the calls that wait says so."""
        self._num_waiting += 1
        if self._num_waiting == 1:
            _log.warning("Redis cannot be used, waiting for it: %s", error)

    def _end(self, *, is_well: bool) -> None:
        self._num_waiting -= 1
        if self._num_waiting == 0 and is_well:
            _log.info("Redis can be used again")
