"""The steps that are under way in this process.

Owns: that a step of a batch runs once at a time, here and (under a lock) everywhere, and that its
failure is noted and passes. Must not know: what steps do, who asks for them.

The lock spares two processes the same work; what keeps them from doing harm is that every step may
be run twice at a time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum

from redis.asyncio import Redis
from redis.exceptions import RedisError

from jobs.control.collect import collect
from jobs.control.context import Control
from jobs.control.feed import feed
from jobs.errors import JobsError
from jobs.keys import Keys
from jobs.lock import RedisLock

__all__ = ["StepKind", "Steps", "lock_name"]

_log = logging.getLogger(__name__)

_LOCK_TTL_MS = 6_000
_RENEWALS = 4


class StepKind(StrEnum):
    """FEED: from the ordered batch to jobs. COLLECT: from results to files."""

    FEED = "feed"
    COLLECT = "collect"


_WORK: Mapping[StepKind, Callable[[Control, str], Awaitable[None]]] = {
    StepKind.FEED: feed,
    StepKind.COLLECT: collect,
}


def lock_name(kind: StepKind, batch_id: str) -> str:
    """The lock under which a step of a batch runs."""
    return f"{kind.value}-{batch_id}"


class Steps:
    """Runs steps in `group`. A step that failed is remembered until it is asked about."""

    def __init__(
        self, control: Control, redis: Redis, keys: Keys, group: asyncio.TaskGroup
    ) -> None:
        self._control = control
        self._redis = redis
        self._keys = keys
        self._group = group
        self._running: dict[tuple[StepKind, str], asyncio.Task[bool]] = {}

    @property
    def control(self) -> Control:
        return self._control

    def start(self, kind: StepKind, batch_id: str) -> asyncio.Task[bool]:
        """The step, which runs from now on if it did not. Its result says whether it went well."""
        key = (kind, batch_id)
        task = self._running.get(key)
        if task is None:
            task = self._group.create_task(self._run(kind, batch_id), name=f"{kind} {batch_id}")
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        return task

    async def stop(self) -> None:
        """Cancel everything; each step leaves what a later one continues from."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    async def _run(self, kind: StepKind, batch_id: str) -> bool:
        with self._control.metrics.steps_running.labels(kind.value).track_inprogress():
            try:
                await self._run_alone(kind, batch_id)
            except (JobsError, RedisError, OSError) as error:
                _log.warning("batch %s: %s goes on later: %s", batch_id, kind.value, error)
            except Exception:  # noqa: BLE001 - the boundary of a step
                _log.exception("batch %s: %s failed", batch_id, kind.value)
            else:
                return True
        self._control.metrics.steps_failed.labels(kind.value).inc()
        return False

    async def _run_alone(self, kind: StepKind, batch_id: str) -> None:
        """Under the lock, unless another process has it: then it does the work."""
        name = lock_name(kind, batch_id)
        lock = RedisLock(self._redis, self._keys, name, ttl_ms=_LOCK_TTL_MS)
        if not await lock.hold():
            return
        holding = asyncio.create_task(_hold(lock))
        try:
            await _WORK[kind](self._control, batch_id)
        finally:
            holding.cancel()
            await asyncio.wait([holding])
            await _release(lock)


async def _hold(lock: RedisLock) -> None:
    """Keep a lock until cancelled. One that is lost is not fought for: see the head of the file."""
    while True:
        await asyncio.sleep(lock.ttl_s / _RENEWALS)
        try:
            await lock.hold()
        except (RedisError, OSError) as error:
            _log.debug("a lock is not renewed: %s", error)


async def _release(lock: RedisLock) -> None:
    try:
        await lock.release()
    except (RedisError, OSError) as error:
        _log.debug("a lock is not released: %s", error)
