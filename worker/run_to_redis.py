"""`headrace run -o redis`: rows that stay in Redis.

Owns: a run without files. Must not know: how jobs are run. It cannot be resumed as a run: the
batch stays in the queue, where any worker continues it. A server that loses the batch loses its
rows too: while the run lives, it announces the batch again, and everything is computed anew.
"""

import asyncio
import json
import logging
import sys
from time import monotonic, time

from redis.exceptions import RedisError

from jobs.errors import UnknownBatchError
from jobs.identity import new_batch_id
from jobs.outbox_rows import entry_to_row
from jobs.producers.fanout import keep_fanned_out
from jobs.producers.jsonl import JsonlProducer, check_strictly
from jobs.producers.lines import InputFile, open_input
from jobs.queue import BatchSpec, BatchStatus
from jobs.redis_queue import RedisQueue
from worker.bad_lines import refuse_bad_lines
from worker.body_sweeper import sweep_bodies_for_ever
from worker.collect import snapshot_of
from worker.connection import Connection, bodies_in, open_connection, queue_settings
from worker.continuation import farewell, unknown_farewell
from worker.errors import InterruptedRun, RunError
from worker.health_port import open_health_port
from worker.lazy_worker import LazyWorker
from worker.maintain import build_maintenance
from worker.metrics import WorkerMetrics
from worker.names import served_names
from worker.options import engine_config
from worker.producing import producer_settings
from worker.progress import Display, Summary
from worker.settings import RunSettings
from worker.shutdown import Shutdown
from worker.vitals import Vitals

__all__ = ["run_to_redis"]

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.25
_LAST_LOOK_S = 10.0
_ROWS_AT_ONCE = 500


async def run_to_redis(settings: RunSettings, display: Display, started_s: float) -> Summary:
    """Run the file's jobs and leave their rows in the outbox of the batch, whose id is printed.

    Raises InterruptedRun, RunError, SettingsError, JobsError, EngineError.
    """
    source = open_input(settings.file)
    if settings.batch.on_bad_line == "fail":
        names = served_names(settings.process.model)
        refuse_bad_lines(settings.file, check_strictly(source, served_models=names))
    run = _Run(settings, source, display)
    with run.shutdown.handling_signals():
        return await run.execute(started_s)


class _Run:
    """One batch, from its announcement to its last row."""

    def __init__(self, settings: RunSettings, source: InputFile, display: Display) -> None:
        process = settings.process
        names = served_names(process.model)
        self.shutdown = Shutdown()
        self._settings = settings
        self._display = display
        self._spec = _spec(settings, source)
        self._metrics = WorkerMetrics(names[0])
        self._worker = LazyWorker(
            engine_config(process.model, process.engine),
            names,
            process.service,
            self._metrics,
            display,
        )
        self._producer = JsonlProducer(
            source,
            served_models=names,
            settings=producer_settings(settings.batch, takes_large=process.blobs is not None),
        )

    async def execute(self, started_s: float) -> Summary:
        process = self._settings.process
        async with open_connection(
            process.queue,
            settings=queue_settings(lease_s=process.service.lease_seconds),
            bodies=await asyncio.to_thread(bodies_in, process.blobs),
        ) as connection:
            stall_s = process.service.lease_seconds
            vitals = Vitals(connection.retrying, self.shutdown, stall_s=stall_s)
            await connection.queue.create_batch(self._spec)
            sys.stdout.write(f"{self._spec.batch_id}\n")
            with open_health_port(self._metrics.registry, vitals, process.service):
                is_complete = await self._run_jobs(connection, vitals)
            if not is_complete:
                await self._leave(connection.queue)
            status = await self._finish(connection.queue)
            return await self._count(connection.queue, status, started_s)

    async def _run_jobs(self, connection: Connection, vitals: Vitals) -> bool:
        """Produce and compute until every line has its row; False if a signal came first."""
        async with asyncio.TaskGroup() as group:
            maintaining = group.create_task(build_maintenance(connection, self._metrics).run())
            sweeping = group.create_task(sweep_bodies_for_ever(connection))
            producing = group.create_task(self._produce(connection.queue))
            working = group.create_task(self._worker.run(connection, vitals, self.shutdown))
            following = group.create_task(self._follow(connection.queue))
            await self.shutdown.stopping.wait()
            producing.cancel()
            sweeping.cancel()
            await working
            is_complete = following.done()
            following.cancel()
            maintaining.cancel()
        return is_complete

    async def _produce(self, queue: RedisQueue) -> None:
        """Send the lines, and again those that the queue forgets."""

        def note(_position: int) -> None:
            if self._producer.report.num_jobs:
                self._worker.has_jobs.set()

        await keep_fanned_out(queue, self._spec.batch_id, self._producer, on_progress=note)

    async def _follow(self, queue: RedisQueue) -> None:
        """Show progress; stop the run when every line has its row."""
        while True:
            status = await queue.status(self._spec.batch_id)
            self._display.update(snapshot_of(status, self._worker.num_generated_tokens))
            if status is None:
                await self._announce_again(queue)
            elif _has_all_rows(status):
                self.shutdown.stop()
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _announce_again(self, queue: RedisQueue) -> None:
        """The server came back empty, or somebody emptied it. The fan-out notices by itself."""
        _log.warning(
            "the queue lost batch %s and its rows: all of its lines are computed again",
            self._spec.batch_id,
        )
        await queue.create_batch(self._spec)

    async def _leave(self, queue: RedisQueue) -> None:
        """A signal came: say how to go on."""
        batch_id = self._spec.batch_id
        try:
            async with asyncio.timeout(_LAST_LOOK_S):
                sentence = farewell(self._settings, batch_id, await queue.status(batch_id))
        except (TimeoutError, RedisError, OSError):
            sentence = unknown_farewell(self._settings, batch_id)
        assert self.shutdown.signal_number is not None
        raise InterruptedRun(sentence, signal_number=self.shutdown.signal_number)

    async def _finish(self, queue: RedisQueue) -> BatchStatus:
        """The status at the end. Raises RunError if the batch is not what the run has made it."""
        batch_id = self._spec.batch_id
        try:
            await queue.finish(batch_id)
        except UnknownBatchError:
            status = None
        else:
            status = await queue.status(batch_id)
        if status is None or status.total is None or not status.state.is_final:
            raise RunError(_lost(batch_id, "the rows"))
        if status.is_cut_short:
            raise RunError(
                f"batch {batch_id} is {status.state} with the {status.total} lines that were sent "
                "before its end; run the rest of the file as a new batch"
            )
        return status

    async def _count(self, queue: RedisQueue, status: BatchStatus, started_s: float) -> Summary:
        """The sums over the rows, which stay where they are. Raises RunError if some are gone."""
        batch_id = status.batch_id
        num_ok = num_failed = prompt = cached = completion = 0
        after: str | None = None
        while entries := await queue.read_outbox(batch_id, _ROWS_AT_ONCE, after=after):
            for row in map(entry_to_row, entries):
                num_ok += row.status_code == 200
                num_failed += row.status_code != 200
                prompt += row.prompt_tokens or 0
                cached += row.cached_tokens or 0
                completion += row.completion_tokens or 0
            after = entries[-1].entry_id
        num_missing = (status.total or 0) - num_ok - num_failed
        if num_missing > 0:
            raise RunError(_lost(batch_id, f"{num_missing} of {status.total} rows"))
        return Summary(
            num_ok=num_ok,
            num_failed=num_failed,
            num_reused=0,
            prompt_tokens=prompt,
            cached_tokens=cached,
            completion_tokens=completion,
            num_generated_tokens=self._worker.num_generated_tokens,
            computing_s=self._worker.computing_s,
            wall_s=monotonic() - started_s,
            files=(f"redis batch {batch_id}: headrace results {batch_id} -o OUT writes its rows",),
        )


def _spec(settings: RunSettings, source: InputFile) -> BatchSpec:
    """With the metadata by which `headrace enqueue` knows the batch as one of this file."""
    batch = settings.batch
    metadata = {"input": str(settings.file), "sha256": source.sha256}
    if batch.dedupe:
        metadata["order"] = "dedupe"
    return BatchSpec(
        batch_id=new_batch_id(),
        tenant=batch.tenant,
        priority=batch.priority,
        expires_at_ms=int((time() + batch.expires_in) * 1000) if batch.expires_in else None,
        sink="redis",
        metadata_json=json.dumps(metadata),
    )


def _has_all_rows(status: BatchStatus) -> bool:
    """A batch that was cut short gets the other lines yet, unless it is final."""
    if status.total is None or (status.is_cut_short and not status.state.is_final):
        return False
    return status.num_finished >= status.total


def _lost(batch_id: str, what: str) -> str:
    return (
        f"Redis lost {what} of batch {batch_id} when all were computed; run the same command again"
    )
