"""Keeping leases while their jobs run.

Owns: the thread that renews leases over a connection of its own. Must not know: jobs' contents. It
renews only while the process makes progress (`Pulse`), never because the thread itself is alive:
a hung device or a blocked event loop lets the leases lapse, and other workers take the jobs.
"""

import asyncio
import concurrent.futures
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from time import monotonic

from redis.exceptions import RedisError

from jobs.online.names import is_online
from jobs.queue import Lease, LostLease
from jobs.redis_queue import RedisQueue
from worker.job import HeldJob
from worker.pulse import Pulse

__all__ = ["LeaseKeeper"]

_log = logging.getLogger(__name__)

_RENEWALS_PER_LEASE = 4
_LOOKS_PER_RENEWAL = 4
_MAX_LEASES_PER_CALL = 256
_RENEW_ONLINE_S = 1.0  # how soon a job ends whose client hung up
_LONGEST_JOIN_S = 2.0

Connect = Callable[[], AbstractAsyncContextManager[RedisQueue]]


class LeaseKeeper:
    """Renews what is held until told to drop it.

    `connect` opens a queue inside the keeper's thread. `on_lost` is called on the event loop that
    runs `run`, with the leases that are over.
    """

    def __init__(
        self,
        connect: Connect,
        pulse: Pulse,
        *,
        consumer: str,
        lease_s: float,
        on_lost: Callable[[Sequence[LostLease]], None],
    ) -> None:
        self._connect = connect
        self._pulse = pulse
        self._consumer = consumer
        self._renew_every_s = lease_s / _RENEWALS_PER_LEASE
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self._jobs: dict[int, HeldJob] = {}
        self._stopping = threading.Event()

    def hold(self, job: HeldJob) -> None:
        """Renew this job's lease from now on."""
        with self._lock:
            self._jobs[id(job)] = job

    def drop(self, job: HeldJob) -> None:
        """Stop renewing: the job ended, or its lease did."""
        with self._lock:
            self._jobs.pop(id(job), None)

    async def run(self) -> None:
        """Renew until cancelled. Raises what ends the thread unexpectedly."""
        loop = asyncio.get_running_loop()
        ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        ended.set_running_or_notify_cancel()  # so that cancelling this coroutine leaves it alone

        def serve() -> None:
            try:
                asyncio.run(self._keep(loop))
            except BaseException as error:  # noqa: BLE001 - carried to the loop, never lost
                ended.set_exception(error)
            else:
                ended.set_result(None)

        thread = threading.Thread(target=serve, name="headrace-leases", daemon=True)
        thread.start()
        try:
            await asyncio.wrap_future(ended)
        finally:
            self._stopping.set()
            await asyncio.to_thread(thread.join, _LONGEST_JOIN_S)

    async def _keep(self, loop: asyncio.AbstractEventLoop) -> None:
        last_s = monotonic()
        look_every_s = min(self._renew_every_s / _LOOKS_PER_RENEWAL, _RENEW_ONLINE_S)
        is_failing = False
        async with self._connect() as queue:
            while not await asyncio.to_thread(self._stopping.wait, look_every_s):
                is_due = monotonic() - last_s >= self._renew_every_s
                jobs = self._due(everything=is_due)
                if not (is_due or jobs) or not self._pulse.has_moved():
                    continue
                try:
                    await self._renew(jobs, queue, loop)
                except (RedisError, OSError) as error:
                    if not is_failing:
                        _log.warning("leases cannot be renewed, trying again: %s", error)
                    is_failing = True
                else:
                    is_failing = False
                    last_s = monotonic() if is_due else last_s

    def _due(self, *, everything: bool) -> list[HeldJob]:
        """What to renew now. Jobs that somebody waits for always are: renewing tells of the clients
        that hung up.
        """
        with self._lock:
            jobs = list(self._jobs.values())
        return jobs if everything else [job for job in jobs if is_online(job.lease.batch_id)]

    async def _renew(
        self, jobs: Sequence[HeldJob], queue: RedisQueue, loop: asyncio.AbstractEventLoop
    ) -> None:
        for first in range(0, len(jobs), _MAX_LEASES_PER_CALL):
            some = jobs[first : first + _MAX_LEASES_PER_CALL]
            lost = await queue.renew(
                self._consumer, [job.lease for job in some], started=_started(some)
            )
            if lost:
                loop.call_soon_threadsafe(self._on_lost, lost)


def _started(jobs: Sequence[HeldJob]) -> list[Lease]:
    return [job.lease for job in jobs if job.is_started]
