"""The maintenance that this process takes part in.

Owns: its composition and its way into the metrics. Must not know: what the rounds do.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

from redis.exceptions import RedisError

from jobs.errors import JobsError
from jobs.lock import RedisLock
from jobs.maintenance import DrainBatch, Maintenance
from jobs.upkeep import Upkeep
from worker.connection import Connection
from worker.metrics import WorkerMetrics

__all__ = ["Upkeeper", "build_maintenance"]

_log = logging.getLogger(__name__)

_LOCK_NAME = "maintenance"
_LOCK_TTL_MS = 30_000


@dataclass(frozen=True, slots=True)
class Upkeeper:
    """Maintenance and the lock under which one process at a time does it."""

    maintenance: Maintenance
    lock: RedisLock

    async def run(self) -> None:
        """Do the rounds until cancelled; the first one at once, if the lock is free."""
        try:
            if await self.lock.hold():
                await self.maintenance.sweep()
        except (RedisError, OSError, JobsError) as error:
            _log.debug("maintenance begins later: %s", error)
        except asyncio.CancelledError:
            with suppress(RedisError, OSError):
                await self.lock.release()  # else nobody does the rounds until it lapses
            raise
        await self.maintenance.run(self.lock)


def build_maintenance(
    connection: Connection,
    metrics: WorkerMetrics | None = None,
    *,
    drain: DrainBatch | None = None,
) -> Upkeeper:
    """The maintenance of this connection's namespace; its gauges are shown by `metrics`."""
    upkeep = Upkeep(
        connection.redis, connection.keys, connection.settings, retrying=connection.retrying
    )
    maintenance = Maintenance(connection.queue, upkeep, drain=drain)
    if metrics is not None:
        metrics.backlog_jobs.set_function(
            lambda: sum(model.num_jobs for model in maintenance.gauges.backlog.values())
        )
        metrics.backlog_tokens.set_function(
            lambda: sum(model.num_tokens for model in maintenance.gauges.backlog.values())
        )
        metrics.jobs_dead_lettered.set_function(lambda: maintenance.gauges.counters.get("dead", 0))
        metrics.jobs_deduped.set_function(lambda: maintenance.gauges.counters.get("deduped", 0))
        metrics.dead_letters_dropped.set_function(
            lambda: maintenance.gauges.counters.get("dead_dropped", 0)
        )
        metrics.dead_letters.set_function(lambda: maintenance.gauges.num_dead_letters)
    lock = RedisLock(connection.redis, connection.keys, _LOCK_NAME, ttl_ms=_LOCK_TTL_MS)
    return Upkeeper(maintenance, lock)
