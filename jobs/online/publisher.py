"""From a worker to the clients that wait for its jobs.

Owns: sending messages in order, many in one round trip, without anybody waiting for that. Must not
know: what messages mean. What cannot be sent is dropped: the row that is recorded says it all.
"""

import asyncio
import logging
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobs.keys import Keys

__all__ = ["TokenPublisher"]

_log = logging.getLogger(__name__)

_MAX_WAITING = 10_000
_MAX_PER_CALL = 512
_SEND_S = 5.0


class TokenPublisher:
    """The channels of waiting clients, for writing. `run` must be running meanwhile."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._waiting: list[tuple[str, bytes]] = []
        self._wake = asyncio.Event()

    def publish(self, batch_id: str, idx: int, message: bytes) -> None:
        """Send a message soon, after those before it."""
        if len(self._waiting) < _MAX_WAITING:
            self._waiting.append((self._keys.tokens(batch_id, idx), message))
            self._wake.set()

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, []
            for first in range(0, len(waiting), _MAX_PER_CALL):
                await self._send(waiting[first : first + _MAX_PER_CALL])

    async def _send(self, messages: Sequence[tuple[str, bytes]]) -> None:
        try:
            async with asyncio.timeout(_SEND_S), self._redis.pipeline(transaction=False) as calls:
                for channel, message in messages:
                    calls.publish(channel, message)
                # An error that redis-py raises itself repeats the message, which is an answer.
                replies = await calls.execute(raise_on_error=False)
            refusal = next((reply for reply in replies if isinstance(reply, RedisError)), None)
            if refusal is not None:
                raise refusal
        except (RedisError, OSError, TimeoutError) as error:
            _log.debug("%d messages for waiting clients are dropped: %s", len(messages), error)
