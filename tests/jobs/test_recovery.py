import asyncio
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

from jobs.producers.fanout import fan_out
from jobs.producers.jsonl import JsonlProducer
from jobs.producers.lines import open_input
from jobs.producers.windows import Item, ProducerSettings
from jobs.queue import (
    BatchSpec,
    BatchStatus,
    CommitReply,
    EnqueueReply,
    OutcomeCounts,
    ReconcileReply,
    ReconcileResult,
)
from jobs.recovery import count_outcomes, put_back_missing
from jobs.redis_queue import RedisQueue
from jobs.store import PartStore
from schemas.result import ResultRow
from tests.jobs.builders import FakeQueue, make_line, make_row, write_lines
from tests.jobs.queue_lines import MODEL, commits, empty_outbox, outbox, take


def test_outcomes_are_counted_from_the_files(tmp_path: Path) -> None:
    store = PartStore.open(tmp_path, "batch_a")
    store.append([make_row(0), make_row(1, status_code=500), make_row(2, status_code=400)])
    store.append([make_row(3), ResultRow(idx=4, error_code="batch_cancelled")])
    store.append([ResultRow(idx=5, error_code="batch_expired")])
    assert count_outcomes(store) == OutcomeCounts(
        num_ok=2, num_err=2, num_cancelled=1, num_expired=1
    )


class Reconciling:
    """Remembers what it is told."""

    def __init__(self, result: ReconcileResult) -> None:
        self.result = result
        self.said: tuple[str, int, OutcomeCounts, list[int]] | None = None

    async def reconcile(
        self, batch_id: str, *, total: int, counts: OutcomeCounts, missing: Sequence[Item]
    ) -> ReconcileReply:
        self.said = (batch_id, total, counts, sorted(item.idx for item in missing))
        return ReconcileReply(result=self.result, count=len(missing))


@pytest.mark.parametrize(
    ("result", "is_put_right"),
    [
        (ReconcileResult.REQUEUED, True),
        (ReconcileResult.BUSY, False),
        (ReconcileResult.STATE, False),
    ],
)
async def test_the_lines_without_a_row_become_jobs_again(
    tmp_path: Path, result: ReconcileResult, is_put_right: bool
) -> None:
    path = write_lines(tmp_path / "x", [make_line(number) for number in range(12)])
    store = PartStore.open(tmp_path / "parts", "batch_a")
    store.append([make_row(idx) for idx in range(12) if idx not in (2, 7, 8)])
    producer = JsonlProducer(open_input(path), settings=ProducerSettings(chunk_items=4))
    queue = Reconciling(result)
    assert await put_back_missing(queue, "batch_a", producer, store) is is_put_right
    assert queue.said == ("batch_a", 12, OutcomeCounts(num_ok=9), [2, 7, 8])


async def test_many_lost_lines_are_sent_again_in_bounded_memory(
    redis: Redis, queue: RedisQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.recovery._MAX_ITEMS", 10)
    path = write_lines(tmp_path / "x", [make_line(number) for number in range(60)])
    producer = JsonlProducer(open_input(path), settings=ProducerSettings(chunk_items=8))
    await queue.create_batch(BatchSpec(batch_id="b"))
    await fan_out(queue, "b", producer)
    store = PartStore.open(tmp_path / "parts", "b")
    leases = await take(queue, max_jobs=20)
    await queue.commit("worker-a", commits(leases))
    assert not await put_back_missing(queue, "b", producer, store), "rows are on their way"
    done = [lease.idx for lease in leases]
    store.append([make_row(idx) for idx in done])
    await empty_outbox(queue, "b")
    assert not await put_back_missing(queue, "b", producer, store), "jobs wait"
    await redis.delete(queue.keys.stream("b", MODEL))
    assert await put_back_missing(queue, "b", producer, store)
    status = await queue.status("b")
    assert status is not None
    assert (status.total, status.num_ok) == (60, 20)
    await redis.xgroup_create(queue.keys.stream("b", MODEL), "g", "0")
    again = await take(queue)
    assert sorted([*done, *(lease.idx for lease in again)]) == list(range(60))
    replies = await queue.commit("worker-a", commits(again))
    assert replies[-1] is CommitReply.LAST
    assert len(await outbox(queue, "b")) == 40


async def test_lost_entries_in_a_living_stream_are_sent_again(
    redis: Redis, queue: RedisQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice, since entry ids must go on growing."""
    monkeypatch.setattr("jobs.recovery._MAX_ITEMS", 3)
    path = write_lines(tmp_path / "x", [make_line(number) for number in range(12)])
    producer = JsonlProducer(open_input(path), settings=ProducerSettings(chunk_items=5))
    await queue.create_batch(BatchSpec(batch_id="b"))
    await fan_out(queue, "b", producer)
    store = PartStore.open(tmp_path / "parts", "b")
    for _ in range(2):
        for entry_id, _fields in await redis.xrange(queue.keys.stream("b", MODEL)):
            await redis.xdel(queue.keys.stream("b", MODEL), entry_id)
        assert await put_back_missing(queue, "b", producer, store)
    leases = await take(queue)
    assert sorted(lease.idx for lease in leases) == list(range(12))
    assert (await queue.commit("worker-a", commits(leases)))[-1] is CommitReply.LAST


def test_memory_does_not_grow_with_what_is_missing(tmp_path: Path) -> None:
    filler = "x" * 4_000
    path = tmp_path / "x"
    with path.open("wb") as file:
        for number in range(5_000):
            file.write(make_line(number, body={"user": filler}) + b"\n")
    settings = ProducerSettings(window_bytes=1 << 20, chunk_bytes=1 << 18)
    producer = JsonlProducer(open_input(path), settings=settings)
    store = PartStore.open(tmp_path / "parts", "batch_a")

    class Queue:
        """Takes everything and keeps nothing."""

        num_items = 0

        async def reopen(self, *_: object) -> ReconcileReply:
            return ReconcileReply(result=ReconcileResult.REQUEUED, count=0)

        async def status(self, batch_id: str) -> BatchStatus:
            status = await FakeQueue(batch_id=batch_id).status(batch_id)
            assert status is not None
            return status

        async def enqueue(
            self, _batch_id: str, position: int, items: Sequence[Item], *, is_final: bool
        ) -> EnqueueReply:
            self.num_items += len(items)
            return EnqueueReply(accepted=True, position=position + len(items))

    queue = Queue()
    tracemalloc.start()
    assert asyncio.run(put_back_missing(queue, "batch_a", producer, store))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert queue.num_items == 5_000
    assert path.stat().st_size > 20_000_000
    assert peak < 10_000_000, f"{peak} bytes"
