"""Now and then: delete large requests that nobody needs any more.

Owns: what is still needed, and when to look. Must not know: how bodies are kept.
"""

import asyncio
import logging
from time import time

from redis.exceptions import RedisError

from jobs.bodies import LEFT_BEHIND_S, Bodies, key_of
from jobs.dead_letters import DeadLetters
from jobs.errors import JobsError
from jobs.queue import BatchStatus
from worker.connection import Connection

__all__ = ["drop_bodies", "sweep_bodies", "sweep_bodies_for_ever"]

_log = logging.getLogger(__name__)

_EVERY_S = 900.0
_REVIVED = "retry_"


async def sweep_bodies_for_ever(connection: Connection) -> None:
    """Look every 15 minutes until cancelled; does nothing where bodies have no place."""
    while connection.bodies is not None:
        await asyncio.sleep(_EVERY_S)
        try:
            await sweep_bodies(connection, connection.bodies)
        except (RedisError, JobsError, OSError) as error:
            _log.warning("large requests are not swept up yet: %s", error)


async def sweep_bodies(connection: Connection, bodies: Bodies) -> int:
    """Look once; how many were deleted."""
    # Before the batches: the job of a letter that is revived just now is part of one of them then.
    needed = await _needed_by_letters(connection)
    batches = await connection.queue.list_batches()
    alive = [status.batch_id for status in batches if _may_run(status)]
    if any(batch_id.startswith(_REVIVED) for batch_id in alive):
        return 0  # its jobs may need bodies of batches that have ended
    num_deleted = await asyncio.to_thread(bodies.sweep, alive, needed)
    if num_deleted:
        _log.info("%d large requests that nobody needs are deleted", num_deleted)
    return num_deleted


async def drop_bodies(connection: Connection, batch_id: str) -> None:
    """Delete the bodies of a batch whose rows are all in their final files, so that its jobs mean
    nothing any more. What cannot be deleted now is swept up later.
    """
    if connection.bodies is None:
        return
    try:
        needed = await _needed_by_letters(connection)
        await asyncio.to_thread(connection.bodies.drop, batch_id, needed)
    except (RedisError, JobsError, OSError) as error:
        _log.warning("large requests stay behind for now: %s", error)


async def _needed_by_letters(connection: Connection) -> set[str]:
    letters = DeadLetters(
        connection.redis, connection.keys, connection.settings, retrying=connection.retrying
    )
    return {key async for letter in letters.find() if (key := key_of(letter.body)) is not None}


def _may_run(status: BatchStatus) -> bool:
    """Whether jobs of the batch run, or may come back if its server forgets its latest writes."""
    if not status.state.is_final:
        return True
    return time() - (status.final_at_ms or 0) / 1000 < LEFT_BEHIND_S
