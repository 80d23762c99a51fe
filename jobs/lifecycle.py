"""The control plane's steps as arq jobs, and its rounds as arq's cron.

Owns: the only use of arq. Must not know: what steps do. Nothing rests on arq's own promises (see
the list below): its queue only says sooner what the next look at the state would find anyway.

arq loses jobs to time-outs and expiry, keeps a killed process's jobs for its time-out, dies with
its connection, and refuses ids it has seen. So: tasks are steps that may run twice, job ids carry
a number of this process, results are not kept, failures are retried here, JSON instead of pickle,
and the worker is started again when it dies. It is also kept from what many servers do not allow:
INFO, and a key outside of the namespace's slot.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import arq.worker
from arq import Retry, Worker, cron, func
from arq.connections import ArqRedis
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, RedisError

from jobs.control.housekeeping import Housekeeping
from jobs.control.look import Look
from jobs.control.steps import StepKind, Steps
from jobs.errors import JobsError
from jobs.keys import Keys
from jobs.lock import RedisLock
from jobs.maintenance import Maintenance
from jobs.server import another_client

__all__ = ["Kicker", "Lifecycle", "LifecycleSettings"]

_log = logging.getLogger(__name__)

_POLL_S = 0.2
_MAX_JOBS = 100
_MAX_TRIES = 10**6
_SLICE_S = 20.0
_JOB_TIMEOUT_S = 60.0
_FIRST_BACKOFF_S = 0.5
_LONGEST_BACKOFF_S = 30.0
_SWEEP_TTL_MS = 30_000
_TEN_SECONDS = set(range(0, 60, 10))

Work = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleSettings:
    """Seconds between looks for batches that need a step."""

    look_every_s: float = 0.5


class _Pool(ArqRedis):
    """arq closes its pool by a name that redis-py has deprecated."""

    async def close(self, close_connection_pool: bool | None = None) -> None:
        await self.aclose(close_connection_pool)


class Kicker:
    """Asks whatever control planes there are to look at a batch now."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._queue_name = f"{keys.prefix}arq"
        self._arq = _Pool(
            another_client(redis).connection_pool,
            job_serializer=_dump,
            job_deserializer=json.loads,
            default_queue_name=self._queue_name,
        )
        self._number = secrets.token_hex(6)
        self._has_complained = False

    @property
    def arq(self) -> ArqRedis:
        return self._arq

    async def kick(self, batch_id: str) -> None:
        """Both steps of a batch. What cannot be said now is found by the next look."""
        for kind in StepKind:
            await self.ask(kind, batch_id)

    async def ask(self, kind: StepKind, batch_id: str) -> None:
        """One step of a batch, unless this process asked for it and it is not over."""
        try:
            await self._arq.enqueue_job(
                kind.value, batch_id, _job_id=f"{self._queue_name}:{kind}:{batch_id}:{self._number}"
            )
        except NoPermissionError as error:
            self._complain(str(error))
        except (RedisError, OSError) as error:
            _log.debug("batch %s: %s is not asked for: %s", batch_id, kind.value, error)

    def _complain(self, reason: str) -> None:
        """Arq has keys of its own, beside those of the namespace. It is said once."""
        if not self._has_complained:
            self._has_complained = True
            _log.warning(
                "batches stand still: this Redis user needs the keys arq:*:%s:* (%s)",
                self._queue_name,
                reason,
            )

    async def close(self) -> None:
        await self._arq.aclose(close_connection_pool=True)


class Lifecycle:
    """Runs the control plane of one process until cancelled."""

    def __init__(
        self,
        steps: Steps,
        maintenance: Maintenance,
        redis: Redis,
        keys: Keys,
        settings: LifecycleSettings | None = None,
    ) -> None:
        self._steps = steps
        self._maintenance = maintenance
        self._redis = redis
        self._keys = keys
        self._settings = settings or LifecycleSettings()
        self._look = Look(steps.control)
        self._housekeeping = Housekeeping(steps.control)
        # Not the workers' lock: who holds that one also empties outboxes into files of theirs.
        self._lock = RedisLock(redis, keys, "sweep", ttl_ms=_SWEEP_TTL_MS)

    async def run(self) -> None:
        """Look and work until cancelled."""
        kicker = Kicker(self._redis, self._keys)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_looking(kicker))
                group.create_task(self._keep_working())
        finally:
            await _quietly(kicker.close)
            await _quietly(self._lock.release)

    async def _keep_looking(self, kicker: Kicker) -> None:
        async def look() -> None:
            for needed in await self._look.steps():
                await kicker.ask(needed.kind, needed.batch_id)

        while True:
            await _quietly(look)
            await asyncio.sleep(self._settings.look_every_s)

    async def _keep_working(self) -> None:
        """The worker of arq, started again whenever it dies."""
        delay_s = _FIRST_BACKOFF_S
        while True:
            pool = Kicker(self._redis, self._keys)
            worker = self._worker(pool.arq)
            began_s = monotonic()
            try:
                await worker.async_run()
            except (RedisError, OSError) as error:
                _log.warning("the control plane's worker starts again: %s", error)
            finally:
                try:
                    await _quietly(worker.close)
                finally:  # closing may pass on the cancellation of a job
                    await _quietly(pool.close)
            if monotonic() - began_s > _LONGEST_BACKOFF_S:
                delay_s = _FIRST_BACKOFF_S
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _LONGEST_BACKOFF_S)

    def _worker(self, pool: ArqRedis) -> Worker:
        name = pool.default_queue_name
        vars(arq.worker).update(log_redis_info=_ask_nothing, abort_jobs_ss=f"{name}:abort")
        options: dict[str, Any] = {"timeout": _JOB_TIMEOUT_S, "keep_result": 0}
        rounds = [
            cron(self._cron(self._sweep), name=f"{name}:sweep", second=_TEN_SECONDS, **options),
            cron(self._cron(self._repair), name=f"{name}:repair", second=_TEN_SECONDS, **options),
            cron(self._cron(self._clean), name=f"{name}:clean", second={5, 35}, **options),
            cron(
                self._cron(self._orphans), name=f"{name}:orphans", minute={7}, second={0}, **options
            ),
        ]
        return Worker(
            functions=[
                func(self._step(kind), name=kind.value, max_tries=_MAX_TRIES, **options)
                for kind in StepKind
            ],
            cron_jobs=rounds,
            queue_name=pool.default_queue_name,
            redis_pool=pool,
            handle_signals=False,
            max_jobs=_MAX_JOBS,
            poll_delay=_POLL_S,
            max_tries=_MAX_TRIES,
            keep_result=0,
            log_results=False,
            job_serializer=_dump,
            job_deserializer=json.loads,
        )

    def _step(self, kind: StepKind) -> Any:
        async def step(ctx: dict[str, Any], batch_id: str) -> None:
            """Wait a while for the step; it goes on, and this job comes back to it."""
            task = self._steps.start(kind, batch_id)
            done, _ = await asyncio.wait([task], timeout=_SLICE_S)
            if not done:
                raise Retry(defer=_FIRST_BACKOFF_S)
            if task.cancelled() or not task.result():
                backoff_s = _FIRST_BACKOFF_S * 2 ** min(ctx["job_try"] - 1, 6)
                raise Retry(defer=min(backoff_s, _LONGEST_BACKOFF_S))

        return step

    def _cron(self, work: Work) -> Any:
        async def round_(_ctx: dict[str, Any]) -> None:
            await _quietly(work)

        return round_

    async def _sweep(self) -> None:
        """What must happen to batches even if no worker lives, by one process at a time."""
        if await self._lock.hold():
            await self._maintenance.sweep()

    async def _repair(self) -> None:
        await self._housekeeping.put_back_lost_lines()

    async def _clean(self) -> None:
        await self._housekeeping.sweep_files()

    async def _orphans(self) -> None:
        await self._housekeeping.sweep_orphans()


async def _ask_nothing(*_: object) -> None:
    """Instead of arq's question for the server's version and size, which it would log."""


def _dump(value: dict[str, Any]) -> bytes:
    """What arq keeps in Redis, as JSON; an exception among it as its text."""
    return json.dumps(value, default=str).encode()


async def _quietly(work: Work) -> None:
    """A round that fails is not the end of the rounds."""
    try:
        await work()
    except (RedisError, JobsError, OSError) as error:
        _log.warning("the control plane goes on later: %s", error)
