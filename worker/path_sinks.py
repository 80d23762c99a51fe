"""Batches whose results belong into files that the workers can write.

Owns: the part stores of such batches while this process does the maintenance, and that their final
files hold a row for every line. Must not know: locks, rounds. The same files as `headrace results`
writes; any worker may go on where another one stopped.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import TypeVar

from jobs.drain import Drain, DrainSettings
from jobs.errors import JobsError
from jobs.gaps import fill_gaps
from jobs.queue import BatchState, BatchStatus
from jobs.recovery import outcomes_of
from jobs.result_store import ResultStore, open_result_store
from jobs.sinks.final import FinalReport, write_final_files
from jobs.sinks.manifest import RunFacts
from jobs.sinks.target import Target, parse_target, prepare_target
from jobs.upkeep import Upkeep
from worker.connection import Connection
from worker.metrics import WorkerMetrics

__all__ = ["PathSinks", "batch_facts", "open_batch_store"]

_log = logging.getLogger(__name__)

_ROWS_AT_ONCE = 500
_LONGEST_WAIT_S = 5.0
_PAUSE_SHARE = 10  # a place that fails slowly takes a tenth of the others' time at most
_LONGEST_PAUSE_S = 300.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a batch could not be stored, and when to try again (monotonic seconds)."""

    error: Exception
    until_s: float


class PathSinks:
    """Empties outboxes into the paths that their batches name (jobs.maintenance.DrainBatch)."""

    def __init__(self, connection: Connection, metrics: WorkerMetrics) -> None:
        self._queue = connection.queue
        self._upkeep = Upkeep(
            connection.redis, connection.keys, connection.settings, retrying=connection.retrying
        )
        self._metrics = metrics
        self._stores: dict[str, ResultStore] = {}
        self._flushed_s: dict[str, float] = {}
        self._failures: dict[str, _Failure] = {}
        # Arrow's allocator keeps memory for each thread that ever worked, so it is always one.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="path-sinks")

    async def drain(self, batch_id: str, sink: str) -> bool:
        """Store what is recorded; write the final files once the batch has its last row.

        True if the outbox is empty and all is durable. Raises TargetError, StoreError: the last one
        again where it took long to fail, since other batches wait meanwhile.
        """
        started_s = monotonic()
        failure = self._failures.get(batch_id)
        if failure is not None and started_s < failure.until_s:
            raise failure.error.with_traceback(None)
        try:
            is_empty = await self._drain(batch_id, sink)
        except (JobsError, OSError) as error:
            ended_s = monotonic()
            pause_s = min((ended_s - started_s) * _PAUSE_SHARE, _LONGEST_PAUSE_S)
            self._failures[batch_id] = _Failure(error, ended_s + pause_s)
            raise
        self._failures.pop(batch_id, None)
        return is_empty

    async def _drain(self, batch_id: str, sink: str) -> bool:
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
            self._stores[batch_id] = await self._in_thread(open_batch_store, target, batch_id)
        drain = Drain(
            self._queue,
            self._stores[batch_id],
            settings=DrainSettings(retry_for_s=0.0),  # the next round tries again: others wait
            on_flush=lambda report: self._metrics.sink_flush_seconds.observe(report.seconds),
            thread=self._thread,
        )
        while (report := await drain.flush()).num_rows + report.num_known:
            continue
        self._flushed_s[batch_id] = monotonic()

    async def _finish(self, target: Target, status: BatchStatus) -> None:
        """Opened anew, because another process may have stored rows meanwhile."""
        self._stores.pop(status.batch_id, None)
        self._flushed_s.pop(status.batch_id, None)
        report = await self._in_thread(_write_files, target, status)
        await self._upkeep.recount(status.batch_id, outcomes_of(report.counts))

    async def _in_thread(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *args)


def _write_files(target: Target, status: BatchStatus) -> FinalReport:
    """The final files, with a row for each line: also for those whose rows were stored and are
    gone, as happens to a part that is torn. Nobody here has the input to compute them again.
    """
    prepare_target(target)
    store = open_batch_store(target, status.batch_id)
    assert status.total is not None, "a batch that is finalizing knows its lines"
    num_lost = fill_gaps(store, None, total=status.total, code=None)
    if num_lost:
        _log.warning(
            "%d of %d rows of batch %s are gone from %s: their lines end as errors (job_lost)",
            num_lost,
            status.total,
            status.batch_id,
            store.place,
        )
    return write_final_files(target, store, facts=batch_facts(status))


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
