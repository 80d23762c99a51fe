"""A chaos process's way to its queue: the product's, with kill points around the queue's calls.

Owns: the connection and the maintenance of one process, with timings that suit a run of seconds.
Must not know: what the process is for.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from jobs.lock import RedisLock
from jobs.maintenance import Maintenance, MaintenanceSettings
from jobs.upkeep import Upkeep
from tests.chaos.broken import AckThenWriteQueue, WriteThenAckQueue
from tests.chaos.kill_points import KillPoints
from tests.chaos.killing_queue import KillingQueue
from tests.chaos.place import NAMESPACE, Place
from worker.connection import Connection, open_connection
from worker.maintain import Upkeeper
from worker.options import QueueOptions

__all__ = ["connected", "upkeeper"]

_QUEUES = {
    "real": KillingQueue,
    "write-then-ack": WriteThenAckQueue,
    "ack-then-write": AckThenWriteQueue,
}
_MAINTENANCE = MaintenanceSettings(sweep_every_s=0.5, drain_every_s=0.2)
_LOCK_TTL_MS = 2_000


@asynccontextmanager
async def connected(
    place: Place, points: KillPoints, *, give_up_s: float | None = None
) -> AsyncIterator[Connection]:
    options = QueueOptions(redis=place.url, namespace=NAMESPACE)
    settings = place.queue_settings()
    async with open_connection(options, settings=settings, give_up_s=give_up_s) as connection:
        queue = _QUEUES[place.queue_kind](
            connection.redis,
            connection.keys,
            settings,
            retrying=connection.retrying,
            points=points,
        )
        yield replace(connection, queue=queue)


def upkeeper(connection: Connection) -> Upkeeper:
    """The maintenance that every process of the product takes part in, in a hurry."""
    upkeep = Upkeep(
        connection.redis, connection.keys, connection.settings, retrying=connection.retrying
    )
    maintenance = Maintenance(connection.queue, upkeep, settings=_MAINTENANCE)
    lock = RedisLock(connection.redis, connection.keys, "maintenance", ttl_ms=_LOCK_TTL_MS)
    return Upkeeper(maintenance, lock)
