"""Where jobs wait whose grammars are not compiled yet.

Owns: which of them is next, and how long each batch has kept the compiler busy. Must not know:
grammars, Redis, the engine. A job first gets the time that most grammars take, then, in a lane of
its own, all that the limits allow; in either lane the batch comes next that has used the least. So
ordinary rows pass a burst of rows that are expensive to refuse.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from worker.job import HeldJob

__all__ = ["GrammarLanes", "Lane"]

Prepare = Callable[[HeldJob], object]
"""Translates one job, or leaves it as it is if that takes longer than its patience."""


class Lane:
    """One thread, and the jobs that wait for it. `_used_s` are a batch's seconds in it; they are
    forgotten once nobody waits.
    """

    def __init__(self, name: str, prepare: Prepare) -> None:
        self._prepare = prepare
        self._executor = ThreadPoolExecutor(1, f"headrace-{name}")
        self._turn = asyncio.Lock()
        self._waiting: dict[str, deque[tuple[HeldJob, asyncio.Event]]] = {}
        self._used_s: dict[str, float] = {}
        self._is_closed = False

    async def pass_through(self, job: HeldJob) -> None:
        """Let the lane work on the job when it is its turn."""
        done = asyncio.Event()
        self._waiting.setdefault(job.lease.batch_id, deque()).append((job, done))
        # Everybody takes one turn, for whoever is next: so there are as many turns as jobs.
        async with self._turn:
            await self._work()
        await done.wait()

    def close(self) -> None:
        """Pass what waits on as it is; what is being worked on ends by itself."""
        self._is_closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        batch_id = min(self._waiting, key=lambda item: self._used_s.get(item, 0.0))
        job, done = self._waiting[batch_id].popleft()
        if not self._waiting[batch_id]:
            del self._waiting[batch_id]
        start_s = monotonic()
        try:
            if not self._is_closed:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._executor, self._prepare, job)
        except RuntimeError:
            if not self._is_closed:  # closed meanwhile: the job goes back
                raise
        finally:
            done.set()
        self._used_s[batch_id] = self._used_s.get(batch_id, 0.0) + monotonic() - start_s
        if not self._waiting:
            self._used_s.clear()


class GrammarLanes:
    """The way of a job through both lanes."""

    def __init__(self, quick: Prepare, full: Prepare) -> None:
        self._quick = Lane("compile", quick)
        self._full = Lane("compile-slowly", full)

    async def translate(self, job: HeldJob) -> None:
        """Give the job what it lacks. After `close` it may go without."""
        await self._quick.pass_through(job)
        if not job.is_translated:
            await self._full.pass_through(job)

    def close(self) -> None:
        """No more work in either lane."""
        self._quick.close()
        self._full.close()
