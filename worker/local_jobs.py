"""Jobs of this process through an engine of this process, without a queue.

Owns: the window of jobs in hand, their order, trying again what failed through no fault of its own.
Must not know: who wants the rows, Redis, Arrow. A job is translated, run and answered by the same
code as in a worker; only what a worker tells the queue is kept here.
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import monotonic, time

from jobs.identity import new_batch_id
from jobs.producers.fanout import Producer
from jobs.producers.windows import Item
from jobs.queue import CommitReply, FinishedRow, Lease, NewJob, Outcome
from jobs.queue_settings import QueueSettings
from schemas.result import ResultRow
from worker.credit import CreditWindow
from worker.errors import first_cause
from worker.job import HeldJob
from worker.job_runner import JobRunner
from worker.machine import Machine
from worker.metrics import WorkerMetrics

__all__ = ["LocalJobs"]

_TRANSLATED_AT_ONCE = 64
_LINGER_S = 0.05
_MAX_ROWS_WAITING = 1_000
_RETRIES = QueueSettings()


class LocalJobs:
    """The rows of one producer's items, in the order in which they are finished.

    `machine.engine` must have been started on this loop. No more jobs start while a thousand rows
    wait to be fetched. `num_tokens` counts the output tokens of the rows, `total` the rows there
    will be, once the input was read. `on_computed` hears of each row that was computed here.
    """

    def __init__(
        self,
        machine: Machine,
        metrics: WorkerMetrics,
        producer: Producer,
        *,
        on_computed: Callable[[ResultRow], None] | None = None,
    ) -> None:
        self.num_tokens = 0
        self.total: int | None = None
        self._machine = machine
        self._producer = producer
        self._on_computed = on_computed
        self._batch_id = new_batch_id()
        self._runner = JobRunner(machine.engine, machine.translator, self, metrics)
        self._window = CreditWindow(
            max_num_seqs=machine.max_num_seqs, kv_cache_tokens=machine.kv_cache_tokens
        )
        self._rows: list[ResultRow] = []
        self._waiting: deque[Lease] = deque()
        self._earlier: dict[int, list[dict[str, object]]] = {}
        self._num_held = 0
        self._num_read = 0
        self._changed = asyncio.Event()
        self._has_rows = asyncio.Event()
        self._main: asyncio.Task[None] | None = None

    async def next_rows(self) -> list[ResultRow]:
        """Rows that were finished since the last call, after a moment for more; empty at the end.

        Raises EngineError if the engine died, and what the producer raises.
        """
        if self._main is None:
            self._main = asyncio.create_task(self._run())
        await _either(self._has_rows, self._main)
        if self._rows:
            await asyncio.wait([self._main], timeout=_LINGER_S)
        elif not self._main.cancelled() and (error := self._main.exception()) is not None:
            raise first_cause(error)
        rows, self._rows = self._rows, []
        self._has_rows.clear()
        self._changed.set()
        return rows

    async def close(self) -> None:
        """Abort what runs; its KV blocks are free after the step under way."""
        if self._main is not None:
            self._main.cancel()
            await asyncio.wait([self._main])

    async def commit(self, job: HeldJob, outcome: Outcome, payload: bytes) -> CommitReply:
        """Keep a row. Part of `worker.job_runner.Recorder`."""
        self._keep_computed(ResultRow.decode(payload))
        return CommitReply.OK

    async def fail(self, job: HeldJob, row: ResultRow) -> CommitReply:
        """Run the job again after a pause, or give it up. Part of `worker.job_runner.Recorder`."""
        lease = job.lease
        if lease.attempt >= _RETRIES.max_attempts:
            self._keep_computed(row)
            return CommitReply.OK
        self._earlier.setdefault(lease.idx, []).append(_attempt(lease, row))
        pause_ms = _RETRIES.first_retry_ms * 2 ** (lease.attempt - 1)
        await asyncio.sleep(min(pause_ms, _RETRIES.longest_retry_ms) / 1000)
        self._waiting.append(replace(lease, attempt=lease.attempt + 1, fence=lease.fence + 1))
        return CommitReply.LATER

    async def _run(self) -> None:
        """Everything from the first item to the last row."""
        translators = ThreadPoolExecutor(1, "headrace-translate")
        chunks = self._producer.chunks()
        is_read = False
        try:
            async with asyncio.TaskGroup() as jobs:
                while not is_read or self._waiting or self._num_held:
                    if not is_read and not self._waiting and self._has_room:
                        is_read = not await self._read(chunks)
                    elif fresh := self._take():
                        ordered = await asyncio.get_running_loop().run_in_executor(
                            translators, self._machine.translator.prepare, fresh
                        )
                        for job in ordered:
                            jobs.create_task(self._run_one(job))
                    else:
                        await self._pause()
        finally:
            translators.shutdown(wait=False, cancel_futures=True)

    async def _read(self, chunks: Iterator[list[Item]]) -> bool:
        """The next items; False at the end."""
        chunk = await asyncio.to_thread(next, chunks, None)
        if chunk is None:
            self.total = self._num_read
            return False
        now_ms = int(time() * 1000)
        for item in chunk:
            self._num_read += 1
            if isinstance(item, FinishedRow):
                self._keep(ResultRow.decode(item.payload))
            else:
                self._waiting.append(_lease(self._batch_id, item, now_ms))
        return True

    @property
    def _has_room(self) -> bool:
        return len(self._rows) < _MAX_ROWS_WAITING

    def _take(self) -> list[HeldJob]:
        """As many jobs as may start to be translated now."""
        fresh: list[HeldJob] = []
        ask = self._window.ask() if self._has_room else None
        if ask is None:
            return fresh
        cost_tokens = 0
        while (
            self._waiting
            and len(fresh) < min(ask.num_jobs, _TRANSLATED_AT_ONCE)
            and cost_tokens < ask.cost_tokens
        ):
            lease = self._waiting.popleft()
            fresh.append(HeldJob(lease=lease, leased_s=monotonic(), queue_s=_queue_s(lease)))
            cost_tokens += lease.cost_tokens
            self._window.hold(lease.cost_tokens)
            self._num_held += 1
        return fresh

    async def _run_one(self, job: HeldJob) -> None:
        try:
            await self._runner.run(job)
        finally:
            self._num_held -= 1
            self._window.drop(job.lease.cost_tokens)
            self._changed.set()

    def _keep_computed(self, row: ResultRow) -> None:
        earlier = self._earlier.pop(row.idx, None)
        if earlier is not None:
            row = row.model_copy(update={"attempts_json": json.dumps(earlier)})
        if self._on_computed is not None:
            self._on_computed(row)
        self._keep(row)

    def _keep(self, row: ResultRow) -> None:
        self.num_tokens += row.completion_tokens or 0
        self._rows.append(row)
        self._has_rows.set()

    async def _pause(self) -> None:
        """Wait until a job has ended or rows were fetched."""
        self._changed.clear()
        await self._changed.wait()


def _lease(batch_id: str, job: NewJob, now_ms: int) -> Lease:
    return Lease(
        batch_id=batch_id,
        model=job.model,
        entry_id="",
        attempt=1,
        idx=job.idx,
        custom_id=job.custom_id,
        url=job.url,
        cost_tokens=job.cost_tokens,
        body=job.body,
        enqueued_ms=now_ms,
        fence=1,
    )


def _queue_s(lease: Lease) -> float:
    return max(0.0, time() - lease.enqueued_ms / 1000)


def _attempt(lease: Lease, row: ResultRow) -> dict[str, object]:
    """An entry of the column `attempts_json`."""
    return {
        "attempt": lease.attempt,
        "cause": row.error_code or "internal_error",
        "message": row.error_message or "",
        "worker": row.worker,
        "at_ms": int(time() * 1000),
    }


async def _either(event: asyncio.Event, task: asyncio.Task[None]) -> None:
    """Wait until the event is set or the task has ended."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait([waiting, task], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
