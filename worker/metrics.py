"""What a worker counts.

Owns: every series of the job side and of finished requests, in one registry of the process's own.
Must not know: HTTP, Redis. Engine series that exist in vLLM carry its names behind `headrace:`.
"""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from engine.request import FinishReason, Request
from jobs.queue import CommitReply, Outcome
from worker.engine_collector import RequestHistogram

__all__ = ["WorkerMetrics"]

_SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    *(10.0, 25.0, 60.0, 150.0, 400.0, 1000.0, 3600.0),
)
_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0)
_TOKENS = tuple(float(2**power) for power in range(18))


class WorkerMetrics:
    """The registry and what writes into it. `model_name` labels the request series."""

    def __init__(self, model_name: str) -> None:
        self.registry = CollectorRegistry()
        self._requests = _RequestSeries(self.registry, model_name)
        registry = self.registry
        self.jobs_leased = Counter(
            "headrace:jobs_leased", "Jobs taken from the queue.", registry=registry
        )
        self.jobs_reclaimed = Counter(
            "headrace:jobs_reclaimed",
            "Jobs among them that an earlier worker had started.",
            registry=registry,
        )
        self.jobs_finished = Counter(
            "headrace:jobs_finished",
            "Results of this worker that became visible, by outcome.",
            ["outcome"],
            registry=registry,
        )
        self.commits_refused = Counter(
            "headrace:commits_refused",
            "Results that were dropped because the lease was over, by the queue's reply.",
            ["reply"],
            registry=registry,
        )
        self.jobs_retried = Counter(
            "headrace:jobs_retried",
            "Jobs that failed here without being at fault and were put back to be tried again.",
            registry=registry,
        )
        self.jobs_released = Counter(
            "headrace:jobs_released", "Jobs given back unfinished.", registry=registry
        )
        self.leases_lost = Counter(
            "headrace:leases_lost",
            "Leases that ended early, by cause.",
            ["cause"],
            registry=registry,
        )
        self.jobs_in_flight = Gauge(
            "headrace:jobs_in_flight", "Jobs this worker holds.", registry=registry
        )
        self.jobs_dead_lettered = Gauge(
            "headrace:jobs_dead_lettered",
            "Jobs given up after their last delivery, by all workers of the namespace.",
            registry=registry,
        )
        self.dead_letters_dropped = Gauge(
            "headrace:dead_letters_dropped",
            "Dead letters that made room for newer ones, in the whole namespace.",
            registry=registry,
        )
        self.dead_letters = Gauge(
            "headrace:dead_letters",
            "Dead letters that nobody has retried or dropped yet, in the namespace.",
            registry=registry,
        )
        self.jobs_deduped = Gauge(
            "headrace:jobs_deduped",
            "Jobs that shared the result of another one, by all workers of the namespace.",
            registry=registry,
        )
        self.backlog_jobs = Gauge(
            "headrace:backlog_jobs",
            "Jobs that are queued or leased (lag + pending), in the whole namespace.",
            registry=registry,
        )
        self.backlog_tokens = Gauge(
            "headrace:backlog_tokens",
            "The same backlog in estimated tokens of prompt and output.",
            registry=registry,
        )
        self.sink_flush_seconds = Histogram(
            "headrace:sink_flush_seconds",
            "Time to write one part of results to its file, durably.",
            registry=registry,
            buckets=_SECONDS,
        )
        for outcome in Outcome:
            self.jobs_finished.labels(outcome.value)

    def request_finished(self, request: Request) -> None:
        """Count one finished request of the engine: its times, tokens and finish reason."""
        self._requests.observe(request)

    def job_committed(self, outcome: Outcome, reply: CommitReply) -> None:
        """Count one commit. GONE after a lost reply is counted as refused: it may be either."""
        if reply in (CommitReply.OK, CommitReply.LAST):
            self.jobs_finished.labels(outcome.value).inc()
        elif reply is CommitReply.LATER:
            self.jobs_retried.inc()
        else:
            self.commits_refused.labels(reply.value).inc()


class _RequestSeries:
    """The series of finished requests; names and meanings are vLLM's."""

    def __init__(self, registry: CollectorRegistry, model_name: str) -> None:
        def seconds(name: str, text: str) -> RequestHistogram:
            return histogram(name, text, _SECONDS)

        def histogram(name: str, text: str, buckets: Sequence[float]) -> RequestHistogram:
            return RequestHistogram(
                f"headrace:{name}",
                text,
                model_name=model_name,
                buckets=buckets,
                registry=registry,
            )

        self._success = Counter(
            "headrace:request_success",
            "Requests that ended by themselves or at their limit.",
            ["model_name", "finished_reason"],
            registry=registry,
        )
        self._by_reason = {
            reason: self._success.labels(model_name, reason.value)
            for reason in (FinishReason.STOP, FinishReason.LENGTH)
        }
        self._failed = Counter(
            "headrace:request_failed",
            "Requests the engine aborted or failed on.",
            ["model_name", "finished_reason"],
            registry=registry,
        )
        self._failed_by_reason = {
            reason: self._failed.labels(model_name, reason.value)
            for reason in (FinishReason.ABORT, FinishReason.ERROR)
        }
        self._ttft = seconds("time_to_first_token_seconds", "From arrival to the first token.")
        self._e2e = seconds("e2e_request_latency_seconds", "From arrival to the last token.")
        self._queue = seconds("request_queue_time_seconds", "Waiting inside the engine.")
        self._prefill = seconds("request_prefill_time_seconds", "From admission to first token.")
        self._decode = seconds("request_decode_time_seconds", "From the first to the last token.")
        self._inter_token = histogram(
            "inter_token_latency_seconds",
            "Time between tokens; every token of a request counts with the request's mean.",
            _TOKEN_SECONDS,
        )
        self._prompt = histogram("request_prompt_tokens", "Prompt tokens of a request.", _TOKENS)
        self._generated = histogram(
            "request_generation_tokens", "Tokens generated for a request.", _TOKENS
        )

    def observe(self, request: Request) -> None:
        reason = request.finish_reason
        if reason in self._failed_by_reason:
            self._failed_by_reason[reason].inc()
        elif reason is not None:
            self._by_reason[reason].inc()
        scheduled, first, finished = (
            request.first_scheduled_s,
            request.first_token_s,
            request.finished_s,
        )
        if scheduled is None or first is None or finished is None:
            return
        self._ttft.observe(first - request.arrival_s)
        self._e2e.observe(finished - request.arrival_s)
        self._queue.observe(scheduled - request.arrival_s)
        self._prefill.observe(first - scheduled)
        self._decode.observe(finished - first)
        self._prompt.observe(request.num_prompt_tokens)
        self._generated.observe(request.num_output_tokens)
        if request.num_output_tokens > 1:
            gaps = request.num_output_tokens - 1
            self._inter_token.observe((finished - first) / gaps, gaps)
