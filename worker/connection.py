"""A process's way to its queue.

Owns: the settings of the queue's clients in one process. Must not know: what is done with them.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from redis.asyncio import Redis

from jobs.blobs import open_blobs
from jobs.bodies import Bodies
from jobs.errors import RedisUrlError
from jobs.keys import Keys
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.retrying import Retrying
from jobs.server import another_client, connect, open_redis
from worker.errors import SettingsError
from worker.options import QueueOptions

__all__ = ["Connection", "bodies_in", "needed_url", "open_connection", "queue_settings"]

_REAPS_PER_LEASE = 4
_LONGEST_REAP_MS = 5_000
_EMBEDDED_BOUNDS = {"max_depth": 4_000, "max_bytes": 64 << 20, "max_outbox": 4_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """A server and the queue on it. Calls of `queue` wait for a server that is away. `bodies` is
    where large requests lie; None: nowhere.
    """

    redis: Redis
    keys: Keys
    settings: QueueSettings
    retrying: Retrying
    queue: RedisQueue
    bodies: Bodies | None = None

    @asynccontextmanager
    async def beside(self) -> AsyncIterator[RedisQueue]:
        """The same queue over a client of its own, for another thread; its calls fail at once."""
        client = another_client(self.redis)
        try:
            yield RedisQueue(client, self.keys, self.settings)
        finally:
            await client.aclose()


def queue_settings(*, lease_s: float, is_embedded: bool = False) -> QueueSettings:
    """The queue's defaults with this lease. A server of our own holds few jobs at a time: its only
    producer reads them from a file as fast as they are wanted, so its memory stays flat too.
    """
    lease_ms = max(1, round(lease_s * 1000))
    settings = QueueSettings(
        lease_ms=lease_ms,
        reap_every_ms=min(_LONGEST_REAP_MS, max(1, lease_ms // _REAPS_PER_LEASE)),
    )
    return replace(settings, **_EMBEDDED_BOUNDS) if is_embedded else settings


def needed_url(options: QueueOptions) -> str:
    """The server's URL for commands that have no server of their own. Raises SettingsError."""
    if options.redis is None:
        raise SettingsError("which Redis? Give --redis URL or set HEADRACE_REDIS")
    return options.redis


def _checked_url(options: QueueOptions) -> str | None:
    """The server's URL, if one is named. Raises SettingsError if it cannot be understood."""
    if options.redis is not None:
        try:
            connect(options.redis)  # sends nothing yet
        except RedisUrlError as error:
            raise SettingsError(f"--redis: {error}") from error
    return options.redis


def bodies_in(place: str | None) -> Bodies | None:
    """Where large requests lie, if anywhere. Blocks. Raises BlobError."""
    return None if place is None else Bodies(open_blobs(place))


@asynccontextmanager
async def open_connection(
    options: QueueOptions,
    *,
    settings: QueueSettings | None = None,
    state_folder: Path | None = None,
    give_up_s: float | None = None,
    bodies: Bodies | None = None,
) -> AsyncIterator[Connection]:
    """Connect to the named server, or start one on `state_folder` if none is named.

    `give_up_s` bounds the wait for a server that goes away later. Raises what
    `jobs.server.open_redis` raises, SettingsError for an URL that cannot be understood, and
    BadBatchError for a namespace that cannot be used.
    """
    keys = Keys(options.namespace)
    async with open_redis(_checked_url(options), state_folder) as redis:
        retrying = Retrying(give_up_s=give_up_s)
        settings = settings or QueueSettings()
        queue = RedisQueue(redis, keys, settings, retrying=retrying, bodies=bodies)
        await queue.epoch()  # keys that we may not touch, or another node's, before anything else
        yield Connection(
            redis=redis,
            keys=keys,
            settings=settings,
            retrying=retrying,
            queue=queue,
            bodies=bodies,
        )
