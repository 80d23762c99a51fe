"""What /health and /ready answer.

Owns: the two questions. Must not know: HTTP. A process is healthy while its engine steps or has
nothing to do; it is ready when its model is loaded and Redis answers.
"""

from time import monotonic

from engine.async_engine import AsyncEngine
from jobs.retrying import Retrying
from worker.shutdown import Shutdown

__all__ = ["Vitals"]


class Vitals:
    """The state of one process. Each answer is None for "yes", else the reason why not."""

    def __init__(self, retrying: Retrying, shutdown: Shutdown, *, stall_s: float) -> None:
        self._retrying = retrying
        self._shutdown = shutdown
        self._stall_s = stall_s
        self._engine: AsyncEngine | None = None
        self._seen_steps = -1
        self._moved_s = monotonic()

    def loaded(self, engine: AsyncEngine) -> None:
        """The model is there."""
        self._engine = engine

    def health(self) -> str | None:
        """Whether the process should live on."""
        engine = self._engine
        if engine is None:
            return None
        if engine.failure is not None:
            return f"the engine has died: {engine.failure!r}"
        steps = engine.progress_counter
        if engine.is_idle or steps != self._seen_steps:
            self._seen_steps, self._moved_s = steps, monotonic()
        stalled_s = monotonic() - self._moved_s
        return f"no step for {stalled_s:.0f} s" if stalled_s > self._stall_s else None

    def ready(self) -> str | None:
        """Whether the process takes jobs."""
        if self._engine is None:
            return "the model is not loaded yet"
        if self._shutdown.stopping.is_set():
            return "the worker is stopping"
        if self._retrying.is_waiting:
            return "Redis does not answer"
        return self.health()
