"""What must happen whether or not a worker lives.

Owns: the rounds of upkeep and their order; under a lock, one process at a time does them. Must not
know: files and sinks (`drain` is handed in), Redis commands. Each function may be called alone, at
any time, by several processes: all of them are idempotent.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from redis.exceptions import RedisError, ResponseError

from jobs.errors import JobsError
from jobs.lock import RedisLock
from jobs.queue import Backlog, BatchState, SweepReport
from jobs.redis_queue import RedisQueue
from jobs.upkeep import Upkeep

__all__ = ["DrainBatch", "Gauges", "Maintenance", "MaintenanceSettings"]

_log = logging.getLogger(__name__)

_CLIENT_SINK = "client"
_NOT_OURS = (_CLIENT_SINK, "endpoint://")  # whoever has the batch drains and finishes it itself
_REDIS_SINK = "redis"
_MAX_CALLS_PER_BATCH = 1000
_RENEWALS_PER_LOCK = 4
_SINK_PATIENCE = 10

DrainBatch = Callable[[str, str], Awaitable[bool]]
"""(batch id, its sink) -> whether the outbox is empty and all of it durable. One bounded pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceSettings:
    """Seconds between sweeps of all batches, and between looks at the outboxes that have a sink.

    A batch that is quiet and unfinished in `quiet_sweeps` sweeps running has lost jobs, and nobody
    with its input has put them back.
    """

    sweep_every_s: float = 10.0
    drain_every_s: float = 1.0
    quiet_sweeps: int = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """A snapshot for /metrics and autoscalers."""

    backlog: Mapping[str, Backlog] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)
    num_dead_letters: int = 0


class Maintenance:
    """The upkeep of one namespace.

    `drain` empties the outbox of a batch whose sink is a path or URL; None leaves those batches to
    processes that can.
    """

    def __init__(
        self,
        queue: RedisQueue,
        upkeep: Upkeep,
        *,
        drain: DrainBatch | None = None,
        settings: MaintenanceSettings | None = None,
    ) -> None:
        self._queue = queue
        self._upkeep = upkeep
        self._drain = drain
        self._settings = settings or MaintenanceSettings()
        self._quiet_sweeps: dict[str, int] = {}
        self._sinks: dict[str, str] = {}
        self._complaints: set[str] = set()
        self._gauges = Gauges()

    @property
    def gauges(self) -> Gauges:
        """As of the last `refresh_gauges`."""
        return self._gauges

    async def run(self, lock: RedisLock) -> None:
        """Do the rounds until cancelled, while we hold `lock`; else only watch."""

        async def when_holding(work: Callable[[], Awaitable[object]]) -> None:
            if lock.token is not None:
                await work()

        settings = self._settings
        rounds = (
            ("the lock", lock.hold, lock.ttl_s / _RENEWALS_PER_LOCK),
            ("gauges", self.refresh_gauges, settings.sweep_every_s),
            ("sweep", lambda: when_holding(self.sweep), settings.sweep_every_s),
            ("the log", lambda: when_holding(self.care_for_log), settings.sweep_every_s),
            ("outboxes", lambda: when_holding(self.empty_outboxes), settings.drain_every_s),
        )
        try:
            async with asyncio.TaskGroup() as group:
                for name, work, every_s in rounds:
                    group.create_task(self._repeat(name, work, every_s))
        finally:
            await self._attempt("the lock", lock.release)

    async def sweep(self) -> None:
        """One round over all batches that are not final."""
        for batch_id in await self._upkeep.broken_batches():
            await self._alone(batch_id, self.repair(batch_id))
        reports = await self._upkeep.sweep(await self._upkeep.active_batches())
        for report in reports:
            await self._sweep_on(report)
        await self.settle_quiet(reports)
        await self._upkeep.forget_expired_batches()

    async def care_for_log(self) -> None:
        """Once after each restart of the server."""
        if await self._upkeep.rewrite_log_after_restart():
            _log.info("the server was restarted: it writes its append-only file anew")

    async def settle_quiet(self, reports: Sequence[SweepReport]) -> None:
        """End batches that were quiet, but unfinished, in several sweeps running without a repair:
        their lines are reported lost.
        """
        quiet = {report.batch_id: report for report in reports if report.is_quiet}
        counts = {batch_id: self._quiet_sweeps.get(batch_id, 0) + 1 for batch_id in quiet}
        self._quiet_sweeps = counts
        for batch_id, num_sweeps in counts.items():
            # Whoever has the input must see the outbox empty before it can put lines back.
            is_on_its_way = quiet[batch_id].num_outbox and self._sinks.get(batch_id) != _REDIS_SINK
            patience = _SINK_PATIENCE if is_on_its_way else 1
            if num_sweeps < self._settings.quiet_sweeps * patience:
                continue
            _log.warning("batch %s lost jobs: their lines end as errors (job_lost)", batch_id)
            await self._alone(batch_id, self._settle(batch_id))

    async def repair(self, batch_id: str) -> bool:
        """Bring a batch back whose keys were removed or replaced by others."""
        is_repaired = await self._upkeep.repair(batch_id)
        # Whoever has the input cannot put lines back into broken streams: its time starts now.
        self._quiet_sweeps.pop(batch_id, None)
        if is_repaired:
            _log.warning("batch %s had missing or foreign keys and was repaired", batch_id)
        else:
            self._complain(
                f"keys of {batch_id}", f"batch {batch_id} has foreign keys that cannot be repaired"
            )
        return is_repaired

    async def empty_outboxes(self) -> None:
        """Give results to the sinks that are a path or URL, and finish what is complete."""
        finalizing = set(await self._upkeep.finalizing_batches())
        active = await self._upkeep.active_batches()
        await self._learn_sinks(active)
        for batch_id in active:
            sink = self._sinks.get(batch_id, _CLIENT_SINK)
            if sink not in _NOT_OURS:
                await self._empty_one(batch_id, sink, is_finalizing=batch_id in finalizing)

    async def finish(self, batch_id: str) -> BatchState:
        """Make a finalizing batch final if its results are where they belong."""
        state = await self._queue.finish(batch_id)
        if state.is_final:
            _log.info("batch %s is %s", batch_id, state.value)
        return state

    async def refresh_gauges(self) -> None:
        """Read the backlog and the counters."""
        self._gauges = Gauges(
            backlog=await self._queue.backlog(),
            counters=await self._queue.counters(),
            num_dead_letters=await self._upkeep.count_dead_letters(),
        )

    async def _sweep_on(self, report: SweepReport) -> None:
        """More calls for a batch of which one call could not make all rows."""
        for _ in range(_MAX_CALLS_PER_BATCH):
            if report.num_rows_made == 0:
                break
            report = (await self._upkeep.sweep([report.batch_id]))[0]
        if report.error is not None:
            self._complain_of(report.batch_id, report.error)

    async def _settle(self, batch_id: str) -> None:
        for _ in range(_MAX_CALLS_PER_BATCH):
            if await self._upkeep.settle(batch_id):
                return

    async def _alone(self, batch_id: str, work: Awaitable[object]) -> None:
        """What Redis refuses for one batch is not the others' trouble."""
        try:
            await work
        except ResponseError as error:
            self._complain_of(batch_id, str(error))

    def _complain_of(self, batch_id: str, error: str) -> None:
        self._complain(
            f"upkeep of {batch_id}", f"batch {batch_id} cannot be maintained, others go on: {error}"
        )

    async def _learn_sinks(self, batch_ids: Sequence[str]) -> None:
        unknown = [batch_id for batch_id in batch_ids if batch_id not in self._sinks]
        statuses = await self._queue.statuses(unknown)
        known = {status.batch_id: status.sink for status in statuses if status is not None}
        living = set(batch_ids)
        self._sinks = {name: sink for name, sink in self._sinks.items() if name in living} | known

    async def _empty_one(self, batch_id: str, sink: str, *, is_finalizing: bool) -> None:
        """One batch's trouble (its sink, its keys) is not the others'."""
        try:
            is_empty = sink == _REDIS_SINK
            if not is_empty and self._drain is not None:
                is_empty = await self._drain(batch_id, sink)
            if is_empty and is_finalizing:
                await self.finish(batch_id)
        except (JobsError, OSError, ResponseError) as error:
            self._complain(batch_id, f"results of batch {batch_id} cannot be stored: {error}")
        else:
            self._complaints.discard(batch_id)

    async def _repeat(
        self, name: str, work: Callable[[], Awaitable[object]], every_s: float
    ) -> None:
        while True:
            await self._attempt(name, work)
            await asyncio.sleep(every_s)

    async def _attempt(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Trouble with Redis or one batch ends this round, not the maintenance."""
        try:
            await work()
        except (RedisError, JobsError, OSError) as error:
            self._complain(name, f"maintenance ({name}) goes on later: {error}")
        else:
            self._complaints.discard(name)

    def _complain(self, about: str, text: str) -> None:
        """Say it once, until it went well again."""
        if about not in self._complaints:
            self._complaints.add(about)
            _log.warning("%s", text)
