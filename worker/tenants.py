"""Whose batch a job belongs to.

Owns: a bounded memory of batch -> tenant. Must not know: what tenants may do. The prefix cache is
salted by tenant, so that nobody can time what another one's prompts were.
"""

from collections import OrderedDict

from jobs.redis_queue import RedisQueue

__all__ = ["Tenants"]

_MAX_BATCHES = 4096
_UNKNOWN = "default"


class Tenants:
    """Looks a batch's tenant up once."""

    def __init__(self, queue: RedisQueue) -> None:
        self._queue = queue
        self._known: OrderedDict[str, str] = OrderedDict()

    async def of(self, batch_id: str) -> str:
        """The tenant of a batch; "default" for one that is gone or unreadable: none of its results
        will count, unless it is announced again or repaired.
        """
        if batch_id in self._known:
            self._known.move_to_end(batch_id)
            return self._known[batch_id]
        (status,) = await self._queue.statuses([batch_id])
        if status is None:
            return _UNKNOWN
        self._known[batch_id] = status.tenant
        if len(self._known) > _MAX_BATCHES:
            self._known.popitem(last=False)
        return status.tenant
