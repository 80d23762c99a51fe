"""Telling the queue what happens to jobs: started, done, given back.

Owns: the grouping of these calls. Must not know: how results come about. The queue's reply alone
decides what became visible; a worker's memory of what it holds is never trusted.
"""

from collections.abc import Sequence

from jobs.queue import Commit, CommitReply, Failure, Outcome, Release
from jobs.redis_queue import RedisQueue
from schemas.result import ResultRow
from worker.group_call import GroupCall
from worker.job import HeldJob
from worker.metrics import WorkerMetrics

__all__ = ["Committer"]

_MAX_COMMITS_PER_CALL = 128
_MAX_MESSAGE_CHARS = 500


class Committer:
    """One worker's voice towards the queue. `run` must be running while the others are used."""

    def __init__(self, queue: RedisQueue, *, consumer: str, metrics: WorkerMetrics) -> None:
        self._queue = queue
        self._consumer = consumer
        self._metrics = metrics
        self._commits = GroupCall(self._send_commits, max_items=_MAX_COMMITS_PER_CALL)

    async def run(self) -> None:
        """Send until cancelled."""
        await self._commits.run()

    async def commit(self, job: HeldJob, outcome: Outcome, payload: bytes) -> CommitReply:
        """Record the end of a job. The result is visible if the reply is OK or LAST."""
        reply = await self._commits.submit(
            Commit(lease=job.lease, outcome=outcome, payload=payload)
        )
        self._metrics.job_committed(outcome, reply)
        return reply

    async def fail(self, job: HeldJob, row: ResultRow) -> CommitReply:
        """Say that the worker, not the request, failed on this job: it runs again later, here or
        elsewhere. `row` becomes visible if this was its last attempt.
        """
        failure = Failure(
            lease=job.lease,
            cause=row.error_code or "internal_error",
            message=(row.error_message or "")[:_MAX_MESSAGE_CHARS],
            payload=row.encode(),
        )
        reply = await self._queue.retry(self._consumer, failure)
        self._metrics.job_committed(Outcome.ERR, reply)
        return reply

    async def start(self, jobs: Sequence[HeldJob]) -> None:
        """Say that the engine is about to run these jobs, before it does: should the process die
        of one, that counts against these and not against those that only waited.

        Sets `loss` of the jobs whose lease is over.
        """
        leases = [job.lease for job in jobs]
        lost = await self._queue.renew(self._consumer, leases, started=leases)
        losses = {(*entry.lease.key, entry.lease.fence): entry.loss for entry in lost}
        for job in jobs:
            job.loss = job.loss or losses.get(job.key)

    async def give_back(self, jobs: Sequence[HeldJob]) -> None:
        """Release leases for other workers to take at once, with the tokens produced so far."""
        if not jobs:
            return
        releases = [Release(lease=job.lease, progress=job.progress) for job in jobs]
        await self._queue.release(self._consumer, releases)
        self._metrics.jobs_released.inc(len(jobs))

    async def _send_commits(self, commits: Sequence[Commit]) -> Sequence[CommitReply]:
        return await self._queue.commit(self._consumer, commits)
