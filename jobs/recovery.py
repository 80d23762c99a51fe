"""What a queue that lost its data is told: how many rows the files hold, and which lines they lack.

Owns: counting a store's rows by outcome, making jobs of the lines without a row. Must not know:
Redis.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from jobs.producers.fanout import Producer
from jobs.producers.jsonl import Item
from jobs.queue import OutcomeCounts, ReconcileReply, ReconcileResult
from jobs.sinks.counts import RowCounts
from jobs.store import PartStore

__all__ = ["Reconciler", "count_outcomes", "put_back_missing"]


class Reconciler(Protocol):
    """What putting lines back needs of the queue."""

    async def reconcile(
        self, batch_id: str, *, total: int, counts: OutcomeCounts, missing: Sequence[Item]
    ) -> ReconcileReply: ...


def count_outcomes(store: PartStore) -> OutcomeCounts:
    """The rows of `store` by outcome. Raises StoreDamagedError."""
    counts = RowCounts()
    for part in store.parts:
        counts.add(store.read(part))
    return OutcomeCounts(
        num_ok=counts.num_ok,
        num_err=counts.num_failed,
        num_cancelled=counts.num_cancelled,
        num_expired=counts.num_expired,
    )


async def put_back_missing(
    queue: Reconciler, batch_id: str, producer: Producer, store: PartStore
) -> bool:
    """Make jobs again of the lines of a quiet batch that `store` lacks. False if that cannot be
    done now: rows are still on their way to the store, or the batch is not running.

    Raises StoreDamagedError and what the producer raises.
    """

    def look() -> tuple[list[Item], int]:
        missing: list[Item] = []
        total = 0
        for chunk in producer.chunks():
            missing += [item for item in chunk if item.idx not in store.done]
            total += len(chunk)
        return missing, total

    missing, total = await asyncio.to_thread(look)
    counts = await asyncio.to_thread(count_outcomes, store)
    reply = await queue.reconcile(batch_id, total=total, counts=counts, missing=missing)
    return reply.result in (ReconcileResult.DONE, ReconcileResult.REQUEUED)
