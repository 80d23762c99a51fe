"""What a queue that lost its data is told: how many rows the files hold, and which lines they lack.

Owns: counting a store's rows by outcome, making jobs of the lines without a row. Must not know:
Redis.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from jobs.producers.fanout import Intake, Producer, fan_out
from jobs.producers.windows import Item
from jobs.queue import NewJob, OutcomeCounts, ReconcileReply, ReconcileResult
from jobs.result_store import ResultStore
from jobs.sinks.counts import RowCounts

__all__ = ["Reconciler", "count_outcomes", "outcomes_of", "put_back_missing"]

_MAX_ITEMS = 1000
_MAX_BYTES = 4 << 20


class Reconciler(Intake, Protocol):
    """What putting lines back needs of the queue."""

    async def reconcile(
        self, batch_id: str, *, total: int, counts: OutcomeCounts, missing: Sequence[Item]
    ) -> ReconcileReply: ...

    async def reopen(
        self, batch_id: str, done: Collection[int], counts: OutcomeCounts
    ) -> ReconcileReply: ...


def count_outcomes(store: ResultStore) -> OutcomeCounts:
    """The rows of `store` by outcome. Raises StoreDamagedError."""
    counts = RowCounts()
    for part in store.parts:
        counts.add(store.read(part))
    return outcomes_of(counts)


def outcomes_of(counts: RowCounts) -> OutcomeCounts:
    """The same counts as the queue has them."""
    return OutcomeCounts(
        num_ok=counts.num_ok,
        num_err=counts.num_failed,
        num_cancelled=counts.num_cancelled,
        num_expired=counts.num_expired,
    )


async def put_back_missing(
    queue: Reconciler, batch_id: str, producer: Producer, store: ResultStore
) -> bool:
    """Make jobs again of the lines of a quiet batch that `store` lacks, in bounded memory: a few
    at once, or many by a fan-out that starts over. False if that cannot be done now: rows are
    still on their way to the store, or the batch is not running.

    Raises StoreDamagedError and what the producer raises.
    """
    missing = await asyncio.to_thread(_find_missing, producer, store)
    counts = await asyncio.to_thread(count_outcomes, store)
    if missing.is_whole:
        reply = await queue.reconcile(
            batch_id, total=missing.total, counts=counts, missing=missing.items
        )
        return reply.result in (ReconcileResult.DONE, ReconcileResult.REQUEUED)
    reply = await queue.reopen(batch_id, store.done, counts)
    if reply.result is not ReconcileResult.REQUEUED:
        return False
    await fan_out(queue, batch_id, producer)
    return True


@dataclass(slots=True)
class _Missing:
    """Lines that a store lacks, and the lines in all; neither is known to the end if there are
    too many to hold.
    """

    items: list[Item]
    total: int = 0
    is_whole: bool = True


def _find_missing(producer: Producer, store: ResultStore) -> _Missing:
    missing = _Missing([])
    num_bytes = 0
    for chunk in producer.chunks():
        missing.total += len(chunk)
        for item in chunk:
            if item.idx not in store.done:
                missing.items.append(item)
                num_bytes += len(item.body if isinstance(item, NewJob) else item.payload)
        if len(missing.items) > _MAX_ITEMS or num_bytes > _MAX_BYTES:
            return _Missing([], is_whole=False)
    return missing
