"""Two queues that break the promise, to show that the count of losses can count.

Owns: the broken ways to record a result. Must not know: who checks them. Never imported by the
product. Both keep everything else as it is: leases, redelivery, the outbox, the counters.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from jobs.queue import Commit, CommitReply
from jobs.store import PartStore
from tests.chaos.killing_queue import KillingQueue

__all__ = ["AckThenWriteQueue", "CarelessStore", "WriteThenAckQueue"]

GROUP = "g"


class CarelessStore(PartStore):
    """Stores every row that it is given, also the second one of a line."""

    def _without_known(self, table: pa.Table) -> pa.Table:
        return table


class _TwoStepQueue(KillingQueue):
    """Recording and acknowledging are two calls, and nobody asks who holds the lease."""

    async def _write(self, consumer: str, commit: Commit) -> None:
        lease = commit.lease
        fields: dict[Any, Any] = {
            "i": lease.idx,
            "c": "" if lease.custom_id is None else f"={lease.custom_id}",
            "s": commit.outcome.value,
            "w": consumer,
            "a": lease.attempt,
            "r": commit.payload,
        }
        await self._command(lambda r: r.xadd(self.keys.outbox(lease.batch_id), fields))

    async def _acknowledge(self, commit: Commit) -> None:
        lease = commit.lease
        stream = self.keys.stream(lease.batch_id, lease.model)
        batch = self.keys.batch(lease.batch_id)
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.xack(stream, GROUP, lease.entry_id)
            pipeline.xdel(stream, lease.entry_id)
            pipeline.setbit(self.keys.bitmap(lease.batch_id), lease.idx, 1)
            pipeline.hincrby(batch, commit.outcome.value, 1)
            await pipeline.execute()


class WriteThenAckQueue(_TwoStepQueue):
    """No fence and no bitmap: a kill between the two steps runs the job again."""

    async def commit(self, consumer: str, commits: Sequence[Commit]) -> list[CommitReply]:
        for commit in commits:
            await self._write(consumer, commit)
            self.points.hit("mid-commit")
            await self._acknowledge(commit)
        return [CommitReply.OK] * len(commits)


class AckThenWriteQueue(_TwoStepQueue):
    """A kill between the two steps loses the result."""

    async def commit(self, consumer: str, commits: Sequence[Commit]) -> list[CommitReply]:
        for commit in commits:
            await self._acknowledge(commit)
            self.points.hit("mid-commit")
            await self._write(consumer, commit)
        return [CommitReply.OK] * len(commits)
