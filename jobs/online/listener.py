"""One connection that listens for all waiting clients of a process.

Owns: the subscriptions and their connection. Must not know: what messages mean. Messages are lost
while the connection is down; whoever waits looks at the queue from time to time, too.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import NoPermissionError, RedisError

from jobs.keys import Keys
from jobs.server import another_client

__all__ = ["TokenListener"]

_log = logging.getLogger(__name__)

_READ_S = 5.0
_SUBSCRIBE_S = 5.0
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0


class _Channel:
    """What has come in for one waiting client."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.is_subscribed = asyncio.Event()


class TokenListener:
    """Hands messages to those who listen. `run` must be running meanwhile."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = another_client(redis)
        self._idle_channel = f"{keys.prefix}t:"  # redis-py reads only while it is subscribed
        self._channels: dict[bytes, _Channel] = {}
        self._pubsub: PubSub | None = None
        self._has_complained = False

    async def run(self) -> None:
        """Receive until cancelled, over a new connection whenever one breaks."""
        pause_s = _FIRST_PAUSE_S
        try:
            while True:
                try:
                    async with self._redis.pubsub() as pubsub:
                        await pubsub.subscribe(self._idle_channel, *self._channels)
                        self._pubsub = pubsub
                        await self._subscribe_rest(pubsub)
                        pause_s = _FIRST_PAUSE_S
                        await self._receive(pubsub)
                except NoPermissionError as error:
                    self._complain(str(error))
                except (RedisError, OSError) as error:
                    _log.debug("the channel of waiting clients broke: %s", error)
                finally:
                    self._pubsub = None
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        finally:
            await self._redis.aclose()

    @asynccontextmanager
    async def listening(self, channel: str) -> AsyncIterator[asyncio.Queue[bytes]]:
        """The channel's messages from the first one after the block has begun.

        Raises TimeoutError if nothing can be received now.
        """
        name = channel.encode()
        entry = self._channels[name] = _Channel()
        try:
            await self._send("subscribe", name)
            try:
                async with asyncio.timeout(_SUBSCRIBE_S):
                    await entry.is_subscribed.wait()
            except TimeoutError:
                raise TimeoutError("Redis does not let us listen for the answer") from None
            yield entry.messages
        finally:
            del self._channels[name]
            await self._send("unsubscribe", name)

    def _complain(self, reason: str) -> None:
        """Users of an access list may use no channel unless it says so. It is said once."""
        if not self._has_complained:
            self._has_complained = True
            _log.warning(
                "waiting clients get no answers: this Redis user needs the channels &%s* (%s)",
                self._idle_channel,
                reason,
            )

    async def _send(self, command: str, channel: bytes) -> None:
        """A connection that breaks is replaced by `run`, which subscribes to everything again."""
        if self._pubsub is not None:
            with suppress(RedisError, OSError):
                await getattr(self._pubsub, command)(channel)

    async def _subscribe_rest(self, pubsub: PubSub) -> None:
        """Channels that were asked for while there was no connection."""
        names = [name for name, entry in self._channels.items() if not entry.is_subscribed.is_set()]
        if names:
            await pubsub.subscribe(*names)

    async def _receive(self, pubsub: PubSub) -> None:
        while True:
            message = await pubsub.get_message(timeout=_READ_S)
            entry = self._channels.get(message["channel"]) if message is not None else None
            if message is None or entry is None:
                continue
            if message["type"] == "subscribe":
                entry.is_subscribed.set()
            elif message["type"] == "message":
                entry.messages.put_nowait(message["data"])
