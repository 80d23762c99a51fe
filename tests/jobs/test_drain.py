import asyncio
import errno
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from jobs.drain import Drain, DrainSettings, FlushReport
from jobs.errors import StoreWriteError
from jobs.queue import BatchState, OutboxEntry, Outcome
from jobs.store import AppendReport, PartStore
from schemas.result import ResultRow
from tests.jobs.builders import FakeQueue, make_row

FAST = DrainSettings(poll_s=0.001, max_wait_s=0.01, first_backoff_s=0.001)


def entry(idx: int, *, outcome: Outcome = Outcome.OK, **cells: Any) -> OutboxEntry:
    is_answered = outcome in (Outcome.OK, Outcome.ERR)
    return OutboxEntry(
        entry_id=f"{idx}-1",
        idx=idx,
        custom_id=f"request-{idx}",
        outcome=outcome,
        worker="w",
        attempt=1,
        payload=make_row(idx, **cells).encode() if is_answered else b"",
    )


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue(state=BatchState.FINALIZING)


@pytest.fixture
def store(tmp_path: Path) -> PartStore:
    return PartStore.open(tmp_path / "parts", "batch_a")


class BrokenStore(PartStore):
    """Fails `num_failures` times as a full disk does."""

    num_failures = 0

    def append(self, rows: Sequence[ResultRow]) -> AppendReport:
        if self.num_failures > 0:
            self.num_failures -= 1
            raise StoreWriteError("cannot write: the disk is full", errno=errno.ENOSPC)
        return super().append(rows)


async def test_every_row_reaches_the_store_before_its_entry_goes(
    queue: FakeQueue, store: PartStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.outbox = [entry(idx) for idx in range(2500)]
    delete = queue.delete_outbox

    async def check_and_delete(batch_id: str, entry_ids: Sequence[str]) -> None:
        on_disk = set(PartStore.open(store.folder, "batch_a").done)
        assert {int(entry_id.split("-")[0]) for entry_id in entry_ids} <= on_disk
        await delete(batch_id, entry_ids)

    monkeypatch.setattr(queue, "delete_outbox", check_and_delete)
    reports: list[FlushReport] = []
    report = await Drain(queue, store, settings=FAST, on_flush=reports.append).run()
    assert list(store.done) == list(range(2500))
    assert queue.outbox == []
    assert report.num_rows == sum(each.num_rows for each in reports) == 2500
    assert report.state is BatchState.FINALIZING
    assert max(each.num_rows for each in reports) == 1000
    assert all(each.seconds > 0 for each in reports)


async def test_lines_that_were_never_answered_get_their_rows(
    queue: FakeQueue, store: PartStore
) -> None:
    queue.outbox = [entry(0, outcome=Outcome.CANCELLED), entry(1, outcome=Outcome.EXPIRED)]
    await Drain(queue, store, settings=FAST).run()
    codes = [store.read(part).column("error_code").to_pylist() for part in store.parts]
    assert codes == [["batch_cancelled", "batch_expired"]]


async def test_a_running_batch_is_flushed_in_portions_not_row_by_row(
    queue: FakeQueue, store: PartStore
) -> None:
    queue.state = BatchState.IN_PROGRESS
    settings = DrainSettings(poll_s=0.001, max_wait_s=0.2)
    drain = asyncio.create_task(Drain(queue, store, settings=settings).run())
    for idx in range(30):
        queue.outbox.append(entry(idx))
        await asyncio.sleep(0.002)
    assert store.parts == (), "neither enough rows nor enough time"
    await asyncio.sleep(0.4)
    assert len(store.parts) == 1
    queue.outbox.append(entry(30))
    queue.state = BatchState.FINALIZING
    report = await asyncio.wait_for(drain, 5)
    assert report.num_rows == 31
    assert len(store.parts) == 2
    assert len(store.done) == 31


async def test_an_empty_running_batch_is_waited_for_and_an_unknown_one_is_not(
    queue: FakeQueue, store: PartStore
) -> None:
    queue.state = BatchState.IN_PROGRESS
    drain = asyncio.create_task(Drain(queue, store, settings=FAST).run())
    await asyncio.sleep(0.02)
    assert not drain.done()
    queue.batch_id = "another"
    report = await asyncio.wait_for(drain, 5)
    assert report.state is None


async def test_large_rows_are_read_a_few_at_a_time(queue: FakeQueue, store: PartStore) -> None:
    settings = DrainSettings(poll_s=0.001, max_bytes=1 << 20)
    queue.outbox = [entry(idx, content="x" * 100_000) for idx in range(200)]
    sizes: list[int] = []
    await Drain(
        queue, store, settings=settings, on_flush=lambda report: sizes.append(report.num_bytes)
    ).run()
    assert len(store.done) == 200
    assert max(sizes[1:]) <= 1 << 20


async def test_rows_that_were_stored_before_are_not_stored_again(
    queue: FakeQueue, store: PartStore
) -> None:
    """The process died between the manifest and the deletion, or Redis was rolled back."""
    store.append([make_row(idx) for idx in range(10)])
    queue.outbox = [entry(idx, content="computed again") for idx in range(12)]
    flushed = await Drain(queue, store, settings=FAST).flush()
    assert (flushed.num_rows, flushed.num_known) == (2, 10)
    assert queue.outbox == []
    contents = [text for part in store.parts for text in store.read(part)["content"].to_pylist()]
    assert contents == [f"answer {idx}" for idx in range(10)] + ["computed again"] * 2


async def test_a_flush_of_nothing_is_not_counted(queue: FakeQueue, store: PartStore) -> None:
    reports: list[FlushReport] = []
    flushed = await Drain(queue, store, settings=FAST, on_flush=reports.append).flush()
    assert (flushed.num_rows, flushed.num_known, reports) == (0, 0, [])


async def test_rows_that_fit_no_column_or_name_no_line_do_not_block_the_others(
    queue: FakeQueue, store: PartStore
) -> None:
    queue.outbox = [entry(0), entry(1, prompt_tokens=1 << 40), entry(1 << 50), entry(2)]
    await Drain(queue, store, settings=FAST).run()
    statuses = store.read(store.parts[0]).column("status_code").to_pylist()
    assert statuses == [200, 500, 200]
    assert queue.outbox == []


async def test_a_full_disk_is_waited_out_and_said_once(
    queue: FakeQueue, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = BrokenStore.open(tmp_path, "batch_a")
    store.num_failures = 4
    queue.outbox = [entry(0)]
    with caplog.at_level(logging.WARNING):
        await Drain(queue, store, settings=FAST).run()
    assert list(store.done) == [0]
    texts = [record.getMessage() for record in caplog.records]
    assert sum("disk is full" in text for text in texts) == 1
    assert sum("again" in text for text in texts) == 1


async def test_a_disk_that_stays_full_surfaces_and_the_outbox_keeps_its_rows(
    queue: FakeQueue, tmp_path: Path
) -> None:
    store = BrokenStore.open(tmp_path, "batch_a")
    store.num_failures = 10**9
    queue.outbox = [entry(0)]
    settings = DrainSettings(poll_s=0.001, first_backoff_s=0.001, retry_for_s=0.02)
    with pytest.raises(StoreWriteError, match="disk is full"):
        await asyncio.wait_for(Drain(queue, store, settings=settings).run(), 5)
    assert len(queue.outbox) == 1


async def test_waiting_for_a_full_disk_can_be_cancelled(queue: FakeQueue, tmp_path: Path) -> None:
    store = BrokenStore.open(tmp_path, "batch_a")
    store.num_failures = 10**9
    queue.outbox = [entry(0)]
    settings = DrainSettings(first_backoff_s=60.0, retry_for_s=None)
    drain = asyncio.create_task(Drain(queue, store, settings=settings).run())
    await asyncio.sleep(0.05)
    drain.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(drain, 2)


async def test_cancelling_lets_the_flush_under_way_finish(
    queue: FakeQueue, store: PartStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.outbox = [entry(0)]
    has_begun, may_go_on = threading.Event(), threading.Event()
    append: Callable[..., AppendReport] = store.append

    def slow_append(rows: Sequence[ResultRow]) -> AppendReport:
        has_begun.set()
        may_go_on.wait(5)
        return append(rows)

    monkeypatch.setattr(store, "append", slow_append)
    drain = asyncio.create_task(Drain(queue, store, settings=FAST).run())
    await asyncio.to_thread(has_begun.wait, 5)
    drain.cancel()
    await asyncio.sleep(0.02)
    assert not drain.done(), "a thread is writing"
    may_go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(drain, 5)
    assert list(store.done) == [0]
    assert queue.outbox == []
