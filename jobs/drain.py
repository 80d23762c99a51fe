"""Results on their way from the outbox to the disk.

The outbox is read from its start, never by a cursor, so that it may be rolled back or read by two;
the store drops what it has. Entries are deleted only when the store says that their rows are safe.

Owns: when to flush, the order of storing and deleting, retries of a full or absent disk. Must not
know: Redis commands, the store's files.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from jobs.bitmap import Bitmap
from jobs.errors import StoreWriteError
from jobs.outbox_rows import entry_to_row, storable
from jobs.queue import BatchState, BatchStatus, OutboxEntry
from jobs.result_store import ResultStore
from jobs.store import AppendReport

__all__ = ["Drain", "DrainReport", "DrainSettings", "FlushReport", "Outbox"]

_log = logging.getLogger(__name__)

_FIRST_READ = 64
_MIN_READ = 8
_MAX_BACKOFF_S = 10.0


class Outbox(Protocol):
    """What the drain needs of the queue."""

    async def status(self, batch_id: str) -> BatchStatus | None: ...

    async def read_outbox(self, batch_id: str, count: int) -> list[OutboxEntry]:
        """The oldest `count` entries."""
        ...

    async def delete_outbox(self, batch_id: str, entry_ids: Sequence[str]) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainSettings:
    """A flush happens at `max_rows`, about `max_bytes` of payload, or `max_wait_s` after the first
    row came. A failing disk is tried again for `retry_for_s` (None: for ever).
    """

    max_rows: int = 1000
    max_bytes: int = 8 << 20
    max_wait_s: float = 2.0
    poll_s: float = 0.05
    retry_for_s: float | None = 60.0
    first_backoff_s: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class FlushReport:
    """One flush: rows stored, rows that were stored before, payload bytes, wall seconds."""

    num_rows: int
    num_known: int
    num_bytes: int
    seconds: float


@dataclass(slots=True)
class DrainReport:
    """What `run` moved. `state` is the batch's at the end, None if the queue does not know it."""

    num_rows: int = 0
    state: BatchState | None = None


class Drain:
    """Moves one batch's outbox into `store`. `on_flush` hears of each flush (for metrics); `thread`
    (of one worker) may be shared with other drains.
    """

    def __init__(
        self,
        outbox: Outbox,
        store: ResultStore,
        *,
        settings: DrainSettings | None = None,
        on_flush: Callable[[FlushReport], None] | None = None,
        thread: ThreadPoolExecutor | None = None,
    ) -> None:
        self._outbox = outbox
        self._store = store
        self._settings = settings or DrainSettings()
        self._on_flush = on_flush
        self._read_count = min(_FIRST_READ, self._settings.max_rows)
        # Arrow's allocator keeps memory for each thread that ever worked, so it is always one.
        self._thread = thread or ThreadPoolExecutor(max_workers=1, thread_name_prefix="drain")

    async def run(self) -> DrainReport:
        """Drain until the batch has its last result and the outbox is empty.

        Cancelling it lets the flush under way finish. Raises StoreWriteError when the disk has
        failed for `retry_for_s`; nothing is lost then, the entries are still in the outbox.
        """
        report = DrainReport()
        waiting_since: float | None = None
        while (status := await self._outbox.status(self._store.batch_id)) is not None:
            report.state = status.state
            is_ending = status.state.is_final or status.state is BatchState.FINALIZING
            if status.num_outbox == 0:
                if is_ending:
                    return report
                waiting_since = None
            else:
                now = time.monotonic()
                waiting_since = now if waiting_since is None else waiting_since
                is_due = now - waiting_since >= self._settings.max_wait_s
                if is_ending or is_due or status.num_outbox >= self._read_count:
                    flushed = await self.flush()
                    report.num_rows += flushed.num_rows
                    waiting_since = None
                    continue
            await asyncio.sleep(self._settings.poll_s)
        report.state = None
        return report

    async def flush(self) -> FlushReport:
        """Store and delete the oldest entries, as many as one flush holds."""
        started = time.monotonic()
        entries = await self._outbox.read_outbox(self._store.batch_id, self._read_count)
        num_bytes = sum(len(entry.payload) for entry in entries)
        self._adapt(len(entries), num_bytes)
        stored = await self._store_with_retries(entries)
        report = FlushReport(
            num_rows=stored.num_rows,
            num_known=stored.num_known,
            num_bytes=num_bytes,
            seconds=time.monotonic() - started,
        )
        if self._on_flush is not None and entries:
            self._on_flush(report)
        return report

    def _adapt(self, num_entries: int, num_bytes: int) -> None:
        """Read as many entries next time as fit `max_bytes` at the size seen now. The count at
        most quadruples, since one read of large payloads must fit into memory.
        """
        if num_entries == 0:
            return
        fitting = self._settings.max_bytes * num_entries // max(num_bytes, 1)
        largest = min(self._settings.max_rows, self._read_count * 4)
        self._read_count = max(min(_MIN_READ, largest), min(fitting, largest))

    async def _store_with_retries(self, entries: Sequence[OutboxEntry]) -> AppendReport:
        started, backoff_s = time.monotonic(), self._settings.first_backoff_s
        while True:
            try:
                stored = await _finish_before_cancel(self._store_and_delete(entries))
            except StoreWriteError as error:
                retry_for_s = self._settings.retry_for_s
                if retry_for_s is not None and time.monotonic() - started >= retry_for_s:
                    raise
                if backoff_s == self._settings.first_backoff_s:
                    _log.warning("%s; results wait in the queue meanwhile", error)
            else:
                if backoff_s > self._settings.first_backoff_s:
                    _log.warning("results can be written to %s again", self._store.place)
                return stored
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, _MAX_BACKOFF_S)

    async def _store_and_delete(self, entries: Sequence[OutboxEntry]) -> AppendReport:
        loop = asyncio.get_running_loop()
        stored = await loop.run_in_executor(self._thread, self._store_entries, entries)
        if entries:
            entry_ids = [entry.entry_id for entry in entries]
            await self._outbox.delete_outbox(self._store.batch_id, entry_ids)
        return stored

    def _store_entries(self, entries: Sequence[OutboxEntry]) -> AppendReport:
        usable = [entry for entry in entries if Bitmap.can_hold(entry.idx)]
        if len(usable) < len(entries):
            _log.error("%d outbox entries name no line and are dropped", len(entries) - len(usable))
        rows = [entry_to_row(entry) for entry in usable]
        try:
            return self._store.append(rows)
        except (pa.ArrowException, ValueError, OverflowError):
            return self._store.append(storable(usable, rows))


async def _finish_before_cancel(work: Coroutine[None, None, AppendReport]) -> AppendReport:
    """Await `work`; a cancellation meanwhile is raised only when it has ended, because a thread
    that writes cannot be stopped and must not be left alone with the store.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("the last flush failed: %s", error)
        raise
