"""Batches with the counts of this moment.

Owns: which of the two views of a batch says what: the record for status and stamps, the queue for
the progress of a batch that runs, the record again once it has ended (then the counts are those of
the files). Must not know: HTTP.
"""

from collections.abc import Sequence

from jobs.queue import BatchState, BatchStatus
from jobs.records.batches import BatchRecord
from jobs.redis_queue import RedisQueue
from schemas.batch_object import Batch, RequestCounts

__all__ = ["live_batches"]

_RUNNING = (BatchState.IN_PROGRESS, BatchState.FINALIZING, BatchState.CANCELLING)


async def live_batches(records: Sequence[BatchRecord], queue: RedisQueue) -> list[Batch]:
    """The batches of `records`, in their order."""
    running = [record.batch.id for record in records if record.status in _RUNNING]
    statuses = dict(zip(running, await queue.statuses(running), strict=True))
    return [_live(record.batch, statuses.get(record.batch.id)) for record in records]


def _live(batch: Batch, status: BatchStatus | None) -> Batch:
    if status is None:
        return batch
    total = max(batch.request_counts.total, status.num_ok + status.num_err)
    counts = RequestCounts(total=total, completed=status.num_ok, failed=status.num_err)
    return batch.model_copy(update={"request_counts": counts})
