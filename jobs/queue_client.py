"""What every client of one namespace holds.

Owns: nothing but the common construction. Must not know: what the calls mean.
"""

from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.queue_settings import QueueSettings
from jobs.redis_calls import RedisCalls
from jobs.retrying import Retrying

__all__ = ["QueueClient"]


class QueueClient:
    """A namespace on one server. With `retrying`, calls wait for a server that is away; without,
    they raise redis' errors.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        settings: QueueSettings,
        *,
        retrying: Retrying | None = None,
    ) -> None:
        self._calls = RedisCalls(redis, keys, retrying)
        self._keys = keys
        self._settings = settings

    @property
    def keys(self) -> Keys:
        return self._keys

    @property
    def settings(self) -> QueueSettings:
        return self._settings
