"""Now and then: delete large requests that nobody needs any more.

Owns: what is still needed, and when to look. Must not know: how bodies are kept.
"""

import asyncio
import logging

from redis.exceptions import RedisError

from jobs.bodies import Bodies, key_of
from jobs.dead_letters import DeadLetters
from jobs.errors import JobsError
from worker.connection import Connection

__all__ = ["sweep_bodies", "sweep_bodies_for_ever"]

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
    batches = await connection.queue.list_batches()
    alive = [status.batch_id for status in batches if not status.state.is_final]
    if any(batch_id.startswith(_REVIVED) for batch_id in alive):
        return 0  # its jobs may need bodies of batches that have ended
    letters = DeadLetters(
        connection.redis, connection.keys, connection.settings, retrying=connection.retrying
    )
    needed = {key async for letter in letters.find() if (key := key_of(letter.body)) is not None}
    num_deleted = await asyncio.to_thread(bodies.sweep, alive, needed)
    if num_deleted:
        _log.info("%d large requests that nobody needs are deleted", num_deleted)
    return num_deleted
