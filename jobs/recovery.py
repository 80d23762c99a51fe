"""What a queue that lost its data is told: how many rows the files hold, and which lines they lack.

Owns: counting a store's rows by outcome, finding the lines without a row. Must not know: Redis.
"""

from collections.abc import Container, Iterator

from jobs.producers.fanout import Producer
from jobs.producers.jsonl import Item
from jobs.queue import OutcomeCounts
from jobs.sinks.counts import RowCounts
from jobs.store import PartStore

__all__ = ["count_outcomes", "missing_items"]


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


def missing_items(producer: Producer, done: Container[int]) -> Iterator[list[Item]]:
    """The items of the lines that are not in `done`, in fan-out order, a chunk at a time. Raises
    what the producer raises.
    """
    for chunk in producer.chunks():
        if missing := [item for item in chunk if item.idx not in done]:
            yield missing
