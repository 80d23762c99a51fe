"""Batches whose results belong into files that the workers can write.

Owns: the part stores of such batches while this process does the maintenance. Must not know: locks,
rounds. The same files as `headrace results` writes; any worker may go on where another one stopped.
"""

import asyncio
import json
from time import monotonic

from jobs.drain import Drain
from jobs.queue import BatchState, BatchStatus
from jobs.redis_queue import RedisQueue
from jobs.result_store import ResultStore, open_result_store
from jobs.sinks.final import write_final_files
from jobs.sinks.manifest import RunFacts
from jobs.sinks.target import Target, parse_target, prepare_target
from worker.metrics import WorkerMetrics

__all__ = ["PathSinks", "batch_facts", "open_batch_store"]

_ROWS_AT_ONCE = 500
_LONGEST_WAIT_S = 5.0


class PathSinks:
    """Empties outboxes into the paths that their batches name (jobs.maintenance.DrainBatch)."""

    def __init__(self, queue: RedisQueue, metrics: WorkerMetrics) -> None:
        self._queue = queue
        self._metrics = metrics
        self._stores: dict[str, ResultStore] = {}
        self._flushed_s: dict[str, float] = {}

    async def drain(self, batch_id: str, sink: str) -> bool:
        """Store what is recorded; write the final files once the batch has its last row.

        True if the outbox is empty and all is durable. Raises TargetError, StoreError.
        """
        status = await self._queue.status(batch_id)
        if status is None:
            return True
        target = parse_target(sink)
        is_ending = status.state is BatchState.FINALIZING
        if status.num_outbox and (is_ending or self._is_due(batch_id, status.num_outbox)):
            await self._empty(target, batch_id)
        if is_ending:
            await self._finish(target, status)
        elif status.num_outbox:
            return False
        return True

    def _is_due(self, batch_id: str, num_rows: int) -> bool:
        waited_s = monotonic() - self._flushed_s.get(batch_id, 0.0)
        return num_rows >= _ROWS_AT_ONCE or waited_s >= _LONGEST_WAIT_S

    async def _empty(self, target: Target, batch_id: str) -> None:
        if batch_id not in self._stores:
            prepare_target(target)
            self._stores[batch_id] = await asyncio.to_thread(open_batch_store, target, batch_id)
        drain = Drain(
            self._queue,
            self._stores[batch_id],
            on_flush=lambda report: self._metrics.sink_flush_seconds.observe(report.seconds),
        )
        while (report := await drain.flush()).num_rows + report.num_known:
            continue
        self._flushed_s[batch_id] = monotonic()

    async def _finish(self, target: Target, status: BatchStatus) -> None:
        """Opened anew, because another process may have stored rows meanwhile."""
        self._stores.pop(status.batch_id, None)
        self._flushed_s.pop(status.batch_id, None)

        def write() -> None:
            prepare_target(target)
            store = open_batch_store(target, status.batch_id)
            write_final_files(target, store, facts=batch_facts(status))

        await asyncio.to_thread(write)


def open_batch_store(target: Target, batch_id: str) -> ResultStore:
    """The parts of a batch next to its results. Raises StoreError."""
    assert target.state_folder is not None
    return open_result_store(target, target.state_folder / batch_id, batch_id)


def batch_facts(status: BatchStatus) -> RunFacts:
    """What the batch's producer wrote down about its input."""
    try:
        known = json.loads(status.metadata_json or "{}")
    except ValueError:
        known = {}
    return RunFacts(
        input_path=str(known.get("input", "")), input_sha256=str(known.get("sha256", ""))
    )
