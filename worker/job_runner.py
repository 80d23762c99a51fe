"""One job, from prepared to recorded.

Owns: running a job's requests in the engine, and the rule that every accepted job ends in exactly
one result: the one boundary where anything may be caught. Must not know: windows, leases' renewal.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

from engine.async_engine import AsyncEngine
from engine.errors import EngineError, RequestError
from engine.request import FinishReason, Request
from jobs.queue import CommitReply, LeaseLoss, Outcome
from schemas.errors import ApiError
from schemas.result import ResultRow
from worker.handover import encode_progress
from worker.job import HeldJob
from worker.live import LiveAnswer, Publish, follow_job
from worker.metrics import WorkerMetrics
from worker.translate import Translator, internal_error

__all__ = ["JobRunner", "Recorder"]

_log = logging.getLogger(__name__)

_LOSS_OUTCOMES = {LeaseLoss.CANCELLED: Outcome.CANCELLED, LeaseLoss.EXPIRED: Outcome.EXPIRED}


class Recorder(Protocol):
    """Where the ends of jobs are told (worker.committer, worker.local_jobs)."""

    async def commit(self, job: HeldJob, outcome: Outcome, payload: bytes) -> CommitReply:
        """The end of a job; `payload` is an encoded ResultRow, empty for cancelled and expired."""
        ...

    async def fail(self, job: HeldJob, row: ResultRow) -> CommitReply:
        """The worker failed on this job: it runs again later, or `row` is its end."""
        ...


class JobRunner:
    """Runs jobs in the engine and commits how they ended."""

    def __init__(
        self,
        engine: AsyncEngine,
        translator: Translator,
        committer: Recorder,
        metrics: WorkerMetrics,
        publish: Publish | None = None,
    ) -> None:
        self._engine = engine
        self._translator = translator
        self._committer = committer
        self._metrics = metrics
        self._publish = publish

    @property
    def is_engine_dead(self) -> bool:
        """Whether the engine's thread is gone, and whatever it ran may be why."""
        return self._engine.failure is not None

    async def run(self, job: HeldJob) -> bool:
        """Take a started job to its end: recorded, put back to be tried again, or lost to somebody
        else.

        False if it was interrupted because the worker stops; `job.progress` is set then. Raises
        EngineError if the engine itself died, and what the queue fails with.
        """
        if job.loss is None:
            row = job.refusal or await self._row(job)
            if row is not None:
                await self._record(job, row)
                return True
        if job.loss is None:
            return False
        await self._record_loss(job, job.loss)
        return True

    def interrupt(self, job: HeldJob) -> None:
        """End what the engine runs for this job; its `run` returns soon."""
        for request_id in job.request_ids:
            self._engine.abort(request_id)

    async def _row(self, job: HeldJob) -> ResultRow | None:
        """The job's row; None if the job was interrupted."""
        assert job.prepared is not None
        requests = job.prepared.requests
        try:
            await self._compute(job, requests)
            is_aborted = any(r.finish_reason is FinishReason.ABORT for r in requests)
            if is_aborted and (job.is_given_back or job.loss is not None):
                job.progress = encode_progress(self._translator.identity, requests)
                return None
            return self._answer(job, requests)
        except RequestError as error:
            refusal = ApiError(400, str(error), param=error.param, code=error.code)
            return self._translator.refuse(job, refusal)
        except EngineError:
            raise
        except Exception as error:  # noqa: BLE001 - the job boundary
            _log.exception("job %d of batch %s failed", job.lease.idx, job.lease.batch_id)
            return self._translator.refuse(job, internal_error(f"The worker failed: {error!r}"))

    async def _compute(self, job: HeldJob, requests: Sequence[Request]) -> None:
        """Run every choice; one that an earlier worker finished stays as it is."""
        waiting = [request for request in requests if not request.is_finished]
        live = follow_job(job, self._translator.answers, self._publish)
        if len(waiting) == 1:
            await self._run_one(job, waiting[0], live)
        else:
            results = await asyncio.gather(
                *(self._run_one(job, request, live) for request in waiting), return_exceptions=True
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
        for request in waiting:
            self._metrics.request_finished(request)

    async def _run_one(self, job: HeldJob, request: Request, live: LiveAnswer | None) -> None:
        """An interruption that came before the engine has the request must end it too."""
        if job.is_given_back or job.loss is not None:
            request.finish_reason = FinishReason.ABORT
        else:
            await self._engine.run(request, live.follow(request) if live is not None else None)

    def _answer(self, job: HeldJob, finished: Sequence[Request]) -> ResultRow:
        for request in finished:
            if request.finish_reason not in (FinishReason.STOP, FinishReason.LENGTH):
                reason = request.error or f"The engine ended it: {request.finish_reason}"
                if request.is_refused:
                    return self._translator.refuse(job, ApiError(400, reason))
                return self._translator.refuse(job, internal_error(reason))
        return self._translator.answer(job)

    async def _record(self, job: HeldJob, row: ResultRow) -> None:
        """A request's own fault is final; a failure of ours is one attempt of several."""
        if row.status_code is not None and row.status_code >= 500:
            await self._committer.fail(job, row)
        else:
            outcome = Outcome.OK if row.status_code == 200 else Outcome.ERR
            await self._committer.commit(job, outcome, row.encode())

    async def _record_loss(self, job: HeldJob, loss: LeaseLoss) -> None:
        """The lease is over: a cancelled or expired job gets that row, any other is dropped."""
        self._metrics.leases_lost.labels(loss.value).inc()
        outcome = _LOSS_OUTCOMES.get(loss)
        if outcome is not None:
            await self._committer.commit(job, outcome, b"")
