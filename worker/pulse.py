"""Whether this process still makes progress.

Owns: the comparison of two counters that must move. Must not know: leases, Redis. A worker whose
device hangs or whose event loop is blocked must look dead to the others, so that its jobs run
elsewhere.
"""

import asyncio
from time import monotonic

from engine.async_engine import AsyncEngine

__all__ = ["Pulse"]

_BEAT_S = 0.1


class Pulse:
    """Watches the engine's steps and the event loop's rounds. Read from any thread."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._num_beats = 0
        self._seen_beats = 0
        self._seen_steps = -1
        self._last_steps = -1
        self._moved_s = monotonic()

    async def run(self) -> None:
        """Beat for as long as the event loop comes round."""
        while True:
            self._num_beats += 1
            steps = self._engine.progress_counter
            if steps != self._last_steps or self._engine.is_idle:
                self._last_steps, self._moved_s = steps, monotonic()
            await asyncio.sleep(_BEAT_S)

    @property
    def stalled_s(self) -> float:
        """For how long the engine has had work and has not finished a step. Read from the loop."""
        return monotonic() - self._moved_s

    def has_moved(self) -> bool:
        """Whether loop and engine have moved since this last said so (an idle engine counts)."""
        beats, steps = self._num_beats, self._engine.progress_counter
        is_engine_alive = steps != self._seen_steps or self._engine.is_idle
        if beats == self._seen_beats or not is_engine_alive:
            return False
        self._seen_beats, self._seen_steps = beats, steps
        return True
