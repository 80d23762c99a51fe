"""A worker inside a run: it comes to life with the first job.

Owns: loading the model only if there is something to compute, and running jobs until the end. Must
not know: where jobs come from.
"""

import asyncio
from time import monotonic

from engine.config import EngineConfig
from worker.connection import Connection
from worker.loading import load_in_background
from worker.machine import Machine
from worker.metrics import WorkerMetrics
from worker.options import ServiceOptions
from worker.progress import Display
from worker.shutdown import Shutdown
from worker.vitals import Vitals
from worker.work import WorkSettings, work

__all__ = ["LazyWorker"]


class LazyWorker:
    """Set `has_jobs` when there is work. A run in which every row is known never loads a model."""

    def __init__(
        self,
        config: EngineConfig,
        names: tuple[str, ...],
        options: ServiceOptions,
        metrics: WorkerMetrics,
        display: Display,
    ) -> None:
        self.has_jobs = asyncio.Event()
        self._config = config
        self._names = names
        self._options = options
        self._metrics = metrics
        self._display = display
        self._machine: Machine | None = None
        self._running_since_s: float | None = None

    @property
    def num_generated_tokens(self) -> int:
        """Output tokens that this process has computed."""
        return self._machine.engine.stats().generation_tokens if self._machine else 0

    @property
    def computing_s(self) -> float:
        """For how long there has been a model that runs."""
        return 0.0 if self._running_since_s is None else monotonic() - self._running_since_s

    @property
    def fingerprint(self) -> str | None:
        """What computes; None if no model was loaded."""
        return self._machine.fingerprint if self._machine else None

    async def run(self, connection: Connection, vitals: Vitals, shutdown: Shutdown) -> None:
        """Wait for jobs, load, run them until `shutdown.stopping`. Raises EngineError."""
        if not await _comes_before(self.has_jobs, shutdown.stopping):
            return
        self._display.phase("loading model")
        machine = await load_in_background(self._config, self._names, shutdown)
        if machine is None:
            return
        self._machine, self._running_since_s = machine, monotonic()
        vitals.loaded(machine.engine)
        self._display.phase("running")
        settings = WorkSettings(
            lease_s=self._options.lease_seconds, drain_s=self._options.drain_seconds or 0.0
        )
        await work(machine, connection, self._metrics, shutdown, settings)


async def _comes_before(first: asyncio.Event, second: asyncio.Event) -> bool:
    """Wait for either event; whether it is `first`."""
    waiting = [asyncio.ensure_future(event.wait()) for event in (first, second)]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    return first.is_set() and not second.is_set()
