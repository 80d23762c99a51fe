"""The engine's loop body: plan, compute, book.

Owns: the order of those three, steps in flight, and what happens when a step fails. Must not know:
threads, asyncio, text, jobs. One step may be planned while another runs (`max_in_flight` of the
executor); results are always collected in the order of submission.
"""

import logging
from collections import deque
from collections.abc import Callable
from time import monotonic

from engine.errors import DeviceLostError, RequestError
from engine.executor import Executor, Handle
from engine.request import FinishReason, Request
from engine.scheduler import Scheduler
from engine.stats import EngineStats
from engine.step import StepPlan
from engine.structured_output.masks import with_masks

__all__ = ["EngineCore"]

_log = logging.getLogger(__name__)


class EngineCore:
    """Runs requests to their end, one `step` at a time. Not thread safe.

    `kv_cache_usage` reads the share of KV blocks in use, 0..1.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        executor: Executor,
        *,
        max_model_len: int,
        kv_cache_usage: Callable[[], float],
    ) -> None:
        self._scheduler = scheduler
        self._executor = executor
        self._max_model_len = max_model_len
        self._kv_cache_usage = kv_cache_usage
        self._in_flight: deque[tuple[StepPlan, Handle]] = deque()
        self._num_steps = 0
        self._num_failed_steps = 0

    @property
    def has_work(self) -> bool:
        return (
            bool(self._in_flight) or self._scheduler.num_running + self._scheduler.num_waiting > 0
        )

    def add(self, request: Request) -> None:
        """Queue a request. Raises RequestError if it can never run."""
        if not request.prompt_token_ids:
            raise RequestError("The prompt is empty.", code="empty_array", param="messages")
        if request.num_tokens + min(1, request.stop.max_tokens) > self._max_model_len:
            raise RequestError(
                f"This model's maximum context length is {self._max_model_len} tokens, but the "
                f"request has {request.num_tokens} and needs room for at least one more.",
                code="context_length_exceeded",
                param="messages",
            )
        is_scored_only = request.stop.max_tokens == 0 and request.logprobs is not None
        if request.num_output_tokens >= request.stop.max_tokens and not is_scored_only:
            raise RequestError(
                f"max_tokens is {request.stop.max_tokens}, and {request.num_output_tokens} output "
                "tokens exist already: nothing is left to generate.",
                param="max_tokens",
            )
        if not request.arrival_s:
            request.arrival_s = monotonic()
        self._scheduler.add(request)

    def abort(self, request_id: str) -> Request | None:
        """End a request now; None if it is not here (any more)."""
        try:
            return self._scheduler.finish(request_id, FinishReason.ABORT)
        except KeyError:
            return None

    def step(self) -> list[Request]:
        """Plan what fits in flight, collect the oldest step. Returns the requests it ended.

        A step that fails is taken apart, and the request that makes it fail ends alone. Raises
        DeviceLostError: the core is then of no use any more.
        """
        while len(self._in_flight) < self._executor.max_in_flight:
            plan = self._scheduler.schedule()
            if plan is None:
                break
            try:
                plan = with_masks(plan, self._scheduler.find)
                self._in_flight.append((plan, self._executor.submit(plan)))
            except DeviceLostError:
                raise
            except Exception as error:  # noqa: BLE001 - the step boundary: a device raises anything
                return self._recover(plan, error)
        if not self._in_flight:
            self._scheduler.end_isolation()
            return []
        plan, handle = self._in_flight.popleft()
        try:
            result = self._executor.collect(handle)
        except DeviceLostError:
            raise
        except Exception as error:  # noqa: BLE001 - the other half of the same boundary
            return self._recover(plan, error)
        self._num_steps += 1
        return self._scheduler.update(plan, result)

    def stats(self) -> EngineStats:
        """A snapshot of the counters; callable from any thread."""
        return EngineStats(
            num_running=self._scheduler.num_running,
            num_waiting=self._scheduler.num_waiting,
            kv_cache_usage=self._kv_cache_usage(),
            prefix_cache_queries=self._scheduler.prefix_cache_queries,
            prefix_cache_hits=self._scheduler.prefix_cache_hits,
            num_preemptions=self._scheduler.num_preemptions,
            prompt_tokens=self._scheduler.prompt_tokens,
            generation_tokens=self._scheduler.generation_tokens,
            num_steps=self._num_steps,
            num_failed_steps=self._num_failed_steps,
        )

    def forget_prefixes(self) -> None:
        """Empty the prefix cache. Only while nothing waits or runs."""
        assert not self.has_work, "blocks are in use"
        self._scheduler.forget_prefixes()

    def shutdown(self) -> None:
        """Release the executor's devices. The core is unusable afterwards."""
        self._executor.shutdown()

    def _recover(self, failed: StepPlan, error: Exception) -> list[Request]:
        """Take back every planned step; the requests of the failed one run again in two halves."""
        self._num_failed_steps += 1
        _log.warning("a step of %d requests failed: %r", len(failed.rows), error)
        for _, handle in self._in_flight:
            self._discard(handle)
        plans = [plan for plan, _ in self._in_flight]
        self._in_flight.clear()
        plans = sorted([*plans, failed], key=lambda plan: plan.step_id)
        return self._scheduler.roll_back(
            plans, failed, f"The engine failed on this request: {error!r}"
        )

    def _discard(self, handle: Handle) -> None:
        try:
            self._executor.collect(handle)
        except DeviceLostError:
            raise
        except Exception as error:  # noqa: BLE001 - the same boundary; its plan is rolled back too
            _log.debug("a step in flight beside a failed one failed too: %r", error)
