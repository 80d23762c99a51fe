"""A run of a file into files: producer, queue, engine and sink in one process.

Owns: which of them run when, and how they end together. Must not know: how each of them works. Only
the lock on the state folder makes it safe to take leases back at the start: with an embedded
server, no other worker can live then.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic, time

from redis.exceptions import RedisError

from jobs.errors import JobsError
from jobs.lost_lines import LostLines
from jobs.producers.fanout import keep_fanned_out
from jobs.queue import BatchSpec, BatchState, BatchStatus
from jobs.recovery import count_outcomes, put_back_missing
from jobs.result_store import ResultStore, open_result_store
from jobs.run_state import RunKind, RunStart
from jobs.sinks.counts import RowCounts
from jobs.sinks.manifest import RunFacts
from jobs.upkeep import Upkeep
from worker.body_sweeper import drop_bodies
from worker.collect import Collector
from worker.connection import Connection, bodies_in, open_connection, queue_settings
from worker.errors import InterruptedRun, RunError
from worker.facts import settings_facts, version_facts
from worker.health_port import open_health_port
from worker.lazy_worker import LazyWorker
from worker.maintain import build_maintenance
from worker.metrics import WorkerMetrics
from worker.progress import Display, Summary
from worker.run_complete import summary_of
from worker.run_plan import RunPlan
from worker.shutdown import Shutdown
from worker.vitals import Vitals

__all__ = ["FileRun", "begun_s"]

_log = logging.getLogger(__name__)

_GIVE_UP_S = 60.0
_LAST_FLUSH_S = 10.0


class FileRun:
    """One attempt at finishing a plan. `execute` may be called once."""

    def __init__(self, plan: RunPlan, display: Display, started_s: float) -> None:
        self._plan = plan
        self._display = display
        self._started_s = started_s
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._producer = plan.producer()
        self._metrics = WorkerMetrics(plan.names[0])
        service = plan.settings.process.service
        self._worker = LazyWorker(plan.config, plan.names, service, self._metrics, display)
        self._begun_s = begun_s(plan.start)
        self._is_producing = True
        self._num_rows: int | None = None
        self._num_kept = 0
        self._computing_s = 0.0

    async def execute(self) -> Summary:
        """Run to the end, or to a signal. Raises InterruptedRun in the latter case."""
        shutdown = Shutdown()
        with shutdown.handling_signals():
            store = await asyncio.to_thread(
                open_result_store,
                self._plan.target,
                self._plan.folder.parts_folder,
                self._plan.batch_id,
            )
            self._num_kept = len(store.done)
            async with self._connected(shutdown) as (connection, vitals):
                collector = Collector(
                    queue=connection.queue,
                    store=store,
                    display=self._display,
                    on_flush=lambda report: self._metrics.sink_flush_seconds.observe(
                        report.seconds
                    ),
                    num_tokens=lambda: self._worker.num_generated_tokens,
                    rebuild=lambda: self._rebuild(connection, store),
                    is_producing=lambda: self._is_producing,
                )
                await self._announce(connection, store)
                is_complete = await self._run_jobs(connection, collector, vitals, shutdown)
                self._computing_s = self._worker.computing_s
                if not is_complete:
                    await self._leave(collector, shutdown)
                return await self._finish(connection, collector)

    @asynccontextmanager
    async def _connected(self, shutdown: Shutdown) -> AsyncIterator[tuple[Connection, Vitals]]:
        options = self._plan.settings.process
        async with open_connection(
            options.queue,
            settings=queue_settings(
                lease_s=options.service.lease_seconds, is_embedded=self._is_embedded
            ),
            state_folder=self._plan.target.state_folder,
            give_up_s=_GIVE_UP_S,
            bodies=await asyncio.to_thread(bodies_in, self._plan.bodies_place),
        ) as connection:
            vitals = Vitals(connection.retrying, shutdown, stall_s=options.service.lease_seconds)
            with open_health_port(self._metrics.registry, vitals, options.service):
                yield connection, vitals

    @property
    def _is_embedded(self) -> bool:
        return self._plan.settings.process.queue.redis is None

    async def _announce(self, connection: Connection, store: ResultStore) -> None:
        """Bring the queue to where the files are: create the batch, or take it up again."""
        queue, batch_id = connection.queue, self._plan.batch_id
        if self._is_embedded:
            replaced = [status.batch_id for status in await queue.list_batches()]
        else:
            replaced = [self._plan.replaced_batch_id] if self._plan.replaced_batch_id else []
        for other_id in replaced:
            if other_id != batch_id:
                await queue.delete_batch(other_id)
        status = await queue.status(batch_id)
        if status is not None and _must_begin_anew(status, store):
            await queue.delete_batch(batch_id)
        elif status is not None:
            await self._take_up(connection, status)
            return
        await queue.create_batch(self._spec())
        if len(store.done):
            await queue.restore(batch_id, list(store.done), count_outcomes(store))
        if status is not None and status.state is BatchState.CANCELLED and status.is_cut_short:
            await queue.cancel(batch_id)  # the lines that it never got are cancelled with it

    async def _take_up(self, connection: Connection, status: BatchStatus) -> None:
        self._num_kept = max(self._num_kept, status.num_finished)
        if self._is_embedded:
            await connection.queue.reclaim_all(status.batch_id)
        if status.num_enqueued > status.num_finished:
            self._worker.has_jobs.set()

    async def _rebuild(self, connection: Connection, store: ResultStore) -> None:
        """The server came back empty, or somebody emptied it."""
        _log.warning(
            "the queue lost its data: it is told again what is to be done, %d rows are kept",
            len(store.done),
        )
        await self._announce(connection, store)

    def _spec(self) -> BatchSpec:
        batch = self._plan.settings.batch
        expires_in_s = batch.expires_in
        # A batch that is announced again, since the queue lost it, does not get a new window.
        expires_at_s = None if expires_in_s is None else self._begun_s + expires_in_s
        return BatchSpec(
            batch_id=self._plan.batch_id,
            tenant=batch.tenant,
            priority=batch.priority,
            expires_at_ms=None if expires_at_s is None else int(expires_at_s * 1000),
        )

    async def _run_jobs(
        self, connection: Connection, collector: Collector, vitals: Vitals, shutdown: Shutdown
    ) -> bool:
        """Produce, compute and collect until every row is stored; False if a signal came first."""
        upkeeper = build_maintenance(connection, self._metrics)
        async with asyncio.TaskGroup() as group:
            maintaining = group.create_task(upkeeper.run())
            producing = group.create_task(self._produce(connection))
            watching = group.create_task(self._lost_lines(connection, collector.store).run())
            working = group.create_task(self._worker.run(connection, vitals, shutdown))
            collecting = group.create_task(self._collect(collector, shutdown))
            await shutdown.stopping.wait()
            producing.cancel()
            watching.cancel()
            await working
            maintaining.cancel()
            is_complete = collecting.done()
            collecting.cancel()
        return is_complete

    async def _collect(self, collector: Collector, shutdown: Shutdown) -> None:
        await collector.collect()
        shutdown.stop()

    async def _produce(self, connection: Connection) -> None:
        def note(_position: int) -> None:
            if self._producer.report.num_jobs:
                self._worker.has_jobs.set()

        def complete(num_rows: int) -> None:
            self._num_rows = num_rows
            self._is_producing = False

        await keep_fanned_out(
            connection.queue,
            self._plan.batch_id,
            self._producer,
            on_progress=note,
            on_complete=complete,
        )
        self._is_producing = False  # others ended the batch

    def _lost_lines(self, connection: Connection, store: ResultStore) -> LostLines:
        async def put_back() -> bool:
            if self._num_rows is None:
                return False  # the fan-out sends them
            return await put_back_missing(
                connection.queue, self._plan.batch_id, self._producer, store
            )

        upkeep = Upkeep(
            connection.redis, connection.keys, connection.settings, retrying=connection.retrying
        )
        return LostLines(upkeep, self._plan.batch_id, put_back)

    async def _leave(self, collector: Collector, shutdown: Shutdown) -> None:
        """A signal came: keep what is recorded, and say how to go on."""
        if not shutdown.forced.is_set():
            try:
                async with asyncio.timeout(_LAST_FLUSH_S):
                    await collector.flush()
            except (TimeoutError, RedisError, OSError, JobsError) as error:
                _log.warning("some rows stay in the queue until the next run: %s", error)
        assert shutdown.signal_number is not None
        of_total = "" if self._num_rows is None else f" of {self._num_rows}"
        raise InterruptedRun(
            f"interrupted with {len(collector.store.done)}{of_total} rows done, nothing is lost; "
            f"continue with: {self._plan.settings.resume_command}",
            signal_number=shutdown.signal_number,
        )

    async def _finish(self, connection: Connection, collector: Collector) -> Summary:
        if self._num_rows is None:
            raise RunError(
                f"batch {self._plan.batch_id} was ended by others before all of its lines were in "
                "the queue; run the same command again to complete it"
            )
        facts = self._facts(num_lines=await self._count_lines())
        report = await collector.write_files(
            self._plan.target,
            facts,
            num_rows=self._num_rows,
            make_writer=self._plan.source.make_writer,
        )
        self._plan.complete(num_retryable=report.counts.num_retryable)
        await drop_bodies(connection, self._plan.batch_id)
        if self._is_embedded:
            await connection.queue.delete_batch(self._plan.batch_id)
        return self._summary(report.counts, tuple(report.files))

    async def _count_lines(self) -> int:
        """Lines of the input. A run that finds them all in the queue does not read the file."""
        num_lines = self._producer.report.num_lines
        if num_lines:
            return num_lines
        return (await asyncio.to_thread(self._plan.source.count)).num_lines

    def _facts(self, *, num_lines: int) -> RunFacts:
        return RunFacts(
            input_path=self._plan.source.name,
            input_sha256=self._plan.source.sha256,
            num_lines=num_lines,
            num_reused=self._num_reused,
            model=self._plan.names[0],
            model_hash=self._plan.model_hash,
            fingerprint=self._worker.fingerprint,
            settings={
                **settings_facts(self._plan.settings.process),
                **self._plan.source.settings,
            },
            versions=version_facts(),
            timings={
                "started_at": self._started_at,
                "wall_s": round(monotonic() - self._started_s, 3),
            },
        )

    def _summary(self, counts: RowCounts, files: tuple[Path | str, ...]) -> Summary:
        return summary_of(
            counts,
            num_reused=self._num_reused,
            num_generated=self._worker.num_generated_tokens,
            computing_s=self._computing_s,
            started_s=self._started_s,
            files=files,
        )

    @property
    def _num_reused(self) -> int:
        return self._num_kept + self._producer.report.num_reused


def begun_s(start: RunStart) -> float:
    """When the run's batch began, in unix seconds: now, or in the process that began it."""
    if start.kind is RunKind.NEW:
        return time()
    return datetime.fromisoformat(start.state.started_at).timestamp()


def _must_begin_anew(status: BatchStatus, store: ResultStore) -> bool:
    """Whether the queue is done with the batch, and yet rows are missing."""
    if not status.state.is_final:
        return False
    if len(store.done) < (status.total or 0):
        _log.warning("rows that the queue had delivered are gone: they are computed again")
    elif status.is_cut_short:
        _log.warning("the batch ended before all lines were in the queue: the others get their row")
    else:
        return False
    return True
