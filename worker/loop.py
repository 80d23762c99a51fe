"""The worker's loop: take, translate, run, record.

Owns: the window of held jobs, when to ask the queue for more, the order of their start, and how
the worker stops. Must not know: Redis, HTTP, files, what a request says. TAKE never blocks: an idle
worker polls, from 2 to 50 ms.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic, time
from typing import Any, TypeVar

from redis.exceptions import RedisError

from engine.structured_output.patience import Patience
from jobs.errors import JobsError
from jobs.online.names import is_online
from jobs.queue import Lease, LeaseLoss, LostLease
from jobs.redis_queue import RedisQueue
from worker.committer import Committer
from worker.credit import Ask, CreditWindow
from worker.grammar_lanes import GrammarLanes
from worker.job import HeldJob
from worker.job_runner import JobRunner
from worker.leases import LeaseKeeper
from worker.metrics import WorkerMetrics
from worker.pulse import Pulse
from worker.shutdown import Shutdown
from worker.tenants import Tenants
from worker.translate import Translator

__all__ = ["LoopParts", "LoopSettings", "WorkerLoop"]

_log = logging.getLogger(__name__)

_SHORTEST_POLL_S = 0.002
_LONGEST_POLL_S = 0.05
_LONGEST_PAUSE_S = 0.5
_CLIENTS_PAUSE_S = 0.1
_LAST_TAKE_S = 1.0
_FAREWELL_S = 5.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopSettings:
    """What the loop is told: its name, what it serves, how many jobs the engine may see at once,
    for how many seconds a step may last before the worker takes no more jobs, and how many seconds
    running jobs get after a stop.
    """

    consumer: str
    models: tuple[str, ...]
    max_started_jobs: int
    stall_s: float
    drain_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopParts:
    """What the loop works with, built by the process's composition root."""

    queue: RedisQueue
    translator: Translator
    runner: JobRunner
    committer: Committer
    pulse: Pulse
    metrics: WorkerMetrics


class WorkerLoop:
    """Runs jobs until told to stop. One object for one run."""

    def __init__(
        self, parts: LoopParts, keeper: LeaseKeeper, window: CreditWindow, settings: LoopSettings
    ) -> None:
        self._parts = parts
        self._keeper = keeper
        self._window = window
        self._settings = settings
        self._tenants = Tenants(parts.queue)
        self._held: dict[tuple[str, int, int], HeldJob] = {}
        self._ready: deque[HeldJob] = deque()
        self._starting: list[HeldJob] = []
        self._has_starting = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._num_started = 0
        self._num_alone = 0
        self._wake = asyncio.Event()
        self._translators = ThreadPoolExecutor(1, "headrace-translate")
        translate = parts.translator.prepare
        self._lanes = GrammarLanes(
            quick=lambda job: translate([job], Patience.QUICK),
            full=lambda job: translate([job], Patience.FULL),
        )
        self._num_beside = 0
        self._is_draining = False

    def lose(self, lost: Sequence[LostLease]) -> None:
        """Leases that are over: their jobs are interrupted and end accordingly."""
        for entry in lost:
            job = self._held.get((*entry.lease.key, entry.lease.fence))
            if job is not None:
                self._lose(job, entry.loss)

    async def run(self, shutdown: Shutdown) -> None:
        """Take and run jobs until `shutdown.stopping`, then drain. Raises when the engine dies."""
        try:
            async with asyncio.TaskGroup() as services:
                stopped = services.create_task(self._wake_on(shutdown.stopping))
                background = [
                    stopped,
                    services.create_task(self._wake_on(shutdown.forced)),
                    services.create_task(self._parts.committer.run()),
                    services.create_task(self._keeper.run()),
                    services.create_task(self._parts.pulse.run()),
                ]
                async with asyncio.TaskGroup() as jobs:
                    background.append(services.create_task(self._start_jobs(jobs)))
                    await self._take_until(stopped, jobs)
                    await self._drain(shutdown)
                for task in background:
                    task.cancel()
        finally:
            self._translators.shutdown(wait=False, cancel_futures=True)
            self._lanes.close()
            await self._farewell()

    async def _take_until(self, stopped: asyncio.Task[None], jobs: asyncio.TaskGroup) -> None:
        poll_s = _SHORTEST_POLL_S
        while not stopped.done():
            ask = self._ask() or await self._ask_for_clients(stopped)
            if ask is None:
                await self._pause(_CLIENTS_PAUSE_S)
                continue
            leases = await self._take(ask, stopped)
            self._accept(leases, jobs)
            poll_s = _SHORTEST_POLL_S if leases else min(poll_s * 1.5, _LONGEST_POLL_S)
            await asyncio.sleep(poll_s)

    async def _ask_for_clients(self, stopped: asyncio.Task[None]) -> Ask | None:
        """What to take beyond the window, for clients that wait."""
        if not self._may_take:
            return None
        look = self._parts.queue.num_interactive(self._settings.models)
        return self._window.ask_beyond(await self._until_stop(look, stopped) or 0)

    def _ask(self) -> Ask | None:
        """What to take now. Nothing while a job must run alone, or while the engine hangs: the
        jobs that a hanging worker loses must not come back to it.
        """
        return self._window.ask() if self._may_take else None

    @property
    def _may_take(self) -> bool:
        return not self._num_alone and self._parts.pulse.stalled_s <= self._settings.stall_s

    async def _take(self, ask: Ask, stopped: asyncio.Task[None]) -> list[Lease]:
        take = self._parts.queue.take(
            self._settings.consumer,
            self._settings.models,
            max_jobs=ask.num_jobs,
            max_cost_tokens=ask.cost_tokens,
            num_in_flight=len(self._held),
        )
        return await self._until_stop(take, stopped) or []

    async def _until_stop(
        self, call: Coroutine[Any, Any, T], stopped: asyncio.Task[None]
    ) -> T | None:
        """What a call of the queue replies. A server that is away is waited for, but not any longer
        than until a stop.
        """
        calling = asyncio.ensure_future(call)
        try:
            await asyncio.wait([calling, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not calling.done():
                await asyncio.wait([calling], timeout=_LAST_TAKE_S)
            return calling.result() if calling.done() else None
        finally:
            calling.cancel()

    async def _pause(self, longest_s: float) -> None:
        """Wait until something changes."""
        self._wake.clear()
        try:
            async with asyncio.timeout(longest_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _wake_on(self, event: asyncio.Event) -> None:
        await event.wait()
        self._wake.set()

    def _accept(self, leases: Sequence[Lease], jobs: asyncio.TaskGroup) -> None:
        now_s, now_ms = monotonic(), time() * 1000
        fresh: list[HeldJob] = []
        for lease in leases:
            if (*lease.key, lease.fence) in self._held:
                continue  # a server that lost its latest writes: what runs already answers this too
            self._lose_earlier_delivery(lease)
            queue_s = max(0.0, (now_ms - lease.enqueued_ms) / 1000)
            fresh.append(HeldJob(lease=lease, leased_s=now_s, queue_s=queue_s))
            self._hold(fresh[-1])
        if fresh:
            jobs.create_task(self._prepare(fresh))

    def _lose_earlier_delivery(self, lease: Lease) -> None:
        """A worker that stalled for longer than a lease may be given its own job again."""
        if lease.fence <= 1:
            return
        for job in self._held.values():
            if job.lease.key == lease.key:
                self._lose(job, LeaseLoss.FENCED)

    def _lose(self, job: HeldJob, loss: LeaseLoss) -> None:
        job.loss = job.loss or loss
        self._parts.runner.interrupt(job)

    async def _prepare(self, fresh: list[HeldJob]) -> None:
        """Translate a run of jobs off the loop, then queue them for the engine in prefix order."""
        for job in fresh:
            job.tenant = await self._tenants.of(job.lease.batch_id)
        ordered: list[HeldJob] = await asyncio.get_running_loop().run_in_executor(
            self._translators, self._parts.translator.prepare, fresh, Patience.CACHED
        )
        self._let_in([job for job in ordered if job.is_translated])
        async with asyncio.TaskGroup() as compiling:
            for job in ordered:
                if not job.is_translated:
                    compiling.create_task(self._compile(job))

    async def _compile(self, job: HeldJob) -> None:
        """Translate a job whose grammar is new. Some of them wait beside the window, so that rows
        which need no compiler come in meanwhile.
        """
        if self._held.get(job.key) is not job:
            return
        if self._num_beside < self._window.max_jobs:
            job.is_beside = True
            self._num_beside += 1
            self._window.drop(job.lease.cost_tokens)
            self._wake.set()
        await self._lanes.translate(job)
        if job.is_beside and self._held.get(job.key) is job:
            self._step_in(job)
            self._window.hold(job.lease.cost_tokens)
        if job.is_translated:
            self._let_in([job])

    def _step_in(self, job: HeldJob) -> None:
        job.is_beside = False
        self._num_beside -= 1

    def _let_in(self, translated: Sequence[HeldJob]) -> None:
        """Queue jobs for the engine, those that somebody waits for in front."""
        for job in translated:
            if self._held.get(job.key) is job:
                if is_online(job.lease.batch_id):
                    self._ready.appendleft(job)
                else:
                    self._ready.append(job)
        self._start_ready()

    def _start_ready(self) -> None:
        """Let the next jobs in, as many as the engine may see, and all that somebody waits for."""
        free = self._settings.max_started_jobs - self._num_started
        while self._ready and not self._is_draining:
            if free <= 0 and not is_online(self._ready[0].lease.batch_id):
                return
            job = self._ready.popleft()
            job.is_started = True
            self._starting.append(job)
            self._has_starting.set()
            self._num_started += 1
            free -= 1

    async def _start_jobs(self, jobs: asyncio.TaskGroup) -> None:
        """Announce and run what was let in, until cancelled. What comes in meanwhile waits for the
        next announcement, so that a busy worker makes few of them.
        """
        while True:
            await self._has_starting.wait()
            self._has_starting.clear()
            starting, self._starting = self._starting, []
            await self._parts.committer.start(starting)
            for job in starting:
                if self._held.get(job.key) is job:
                    task = jobs.create_task(self._run(job))
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)

    async def _run(self, job: HeldJob) -> None:
        is_settled = await self._parts.runner.run(job)
        self._num_started -= 1
        if is_settled:
            self._forget(job)
        self._wake.set()
        self._start_ready()

    async def _drain(self, shutdown: Shutdown) -> None:
        """Give back what has not started, let the rest finish until the deadline, give it back."""
        self._is_draining = True
        self._lanes.close()
        self._ready.clear()
        await self._give_back([job for job in self._held.values() if not job.is_started])
        deadline_s = monotonic() + self._settings.drain_s
        while self._num_started and not shutdown.forced.is_set() and monotonic() < deadline_s:
            await self._pause(min(_LONGEST_PAUSE_S, max(deadline_s - monotonic(), 0.001)))
        for job in self._held.values():
            job.is_given_back = True
            self._parts.runner.interrupt(job)
        farewell_s = monotonic() + _FAREWELL_S
        while self._num_started and monotonic() < farewell_s:
            await self._pause(_LONGEST_PAUSE_S)
        for task in self._running:
            task.cancel()  # a device that hangs, or a result that Redis does not take
        await self._give_back(list(self._held.values()))

    async def _give_back(self, jobs: Sequence[HeldJob]) -> None:
        """Release these leases, without insisting: what Redis does not hear of lapses."""
        if not jobs:
            return
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await self._parts.committer.give_back(jobs)
        except (TimeoutError, RedisError, OSError, JobsError) as error:
            _log.warning("%d leases will lapse, Redis did not take them: %s", len(jobs), error)
        for job in jobs:
            self._forget(job)

    async def _farewell(self) -> None:
        """After a failure: give back what the failure cannot be blamed on."""
        is_blamed = self._parts.runner.is_engine_dead
        held = list(self._held.values())
        await self._give_back([job for job in held if not (job.is_started and is_blamed)])

    def _hold(self, job: HeldJob) -> None:
        self._held[job.key] = job
        self._window.hold(job.lease.cost_tokens)
        self._keeper.hold(job)
        self._num_alone += job.lease.is_last_attempt
        metrics = self._parts.metrics
        metrics.jobs_leased.inc()
        metrics.jobs_reclaimed.inc(job.lease.attempt > 1)
        metrics.jobs_in_flight.set(len(self._held))

    def _forget(self, job: HeldJob) -> None:
        if self._held.get(job.key) is not job:
            return  # given back already while it was ending
        del self._held[job.key]
        if job.is_beside:
            self._step_in(job)
        else:
            self._window.drop(job.lease.cost_tokens)
        self._keeper.drop(job)
        self._num_alone -= job.lease.is_last_attempt
        self._parts.metrics.jobs_in_flight.set(len(self._held))
