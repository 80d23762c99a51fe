"""The queue as a chaos process sees it: the real one, with points around its calls.

Owns: where a worker dies around TAKE, the announcement of starts, and COMMIT. Must not know: odds.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from redis.asyncio import Redis

from jobs.keys import Keys
from jobs.queue import Commit, CommitReply, Lease, LostLease
from jobs.queue_settings import QueueSettings
from jobs.redis_queue import RedisQueue
from jobs.retrying import Retrying
from tests.chaos.kill_points import KillPoints

__all__ = ["KillingQueue"]


class KillingQueue(RedisQueue):
    """Dies at the points of `points`."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        settings: QueueSettings,
        *,
        retrying: Retrying,
        points: KillPoints,
    ) -> None:
        super().__init__(redis, keys, settings, retrying=retrying)
        self.points = points
        self._redis = redis
        self._retrying = retrying

    async def take(self, consumer: str, models: Sequence[str], **ask: Any) -> list[Lease]:
        leases = await super().take(consumer, models, **ask)
        if leases:
            self.points.begin()
            self.points.hit("after-take")
        return leases

    async def renew(
        self, consumer: str, leases: Sequence[Lease], started: Collection[Lease] = ()
    ) -> list[LostLease]:
        lost = await super().renew(consumer, leases, started)
        if started:
            self.points.hit("after-start")
        return lost

    async def commit(self, consumer: str, commits: Sequence[Commit]) -> list[CommitReply]:
        self.points.hit("before-commit")
        if len(commits) > 1 and self.points.draw("mid-commit"):
            await super().commit(consumer, commits[: len(commits) // 2])
            self.points.die()
        replies = await super().commit(consumer, commits)
        self.points.hit("after-commit")
        return replies

    async def delete_outbox(self, batch_id: str, entry_ids: Sequence[str]) -> None:
        self.points.hit("after-manifest")
        await super().delete_outbox(batch_id, entry_ids)
        self.points.hit("after-delete")

    async def _command(self, make: Callable[[Redis], Any]) -> Any:
        return await self._retrying.call(lambda: make(self._redis))
