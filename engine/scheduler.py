"""Who computes how many tokens in the next step.

Owns: the waiting and running sets, the token budget, preemption, and each request's progress. Must
not know: tensors, text, jobs. There is no prefill or decode phase: every request has
`num_computed_tokens` and catches up to its token count under one budget, so chunked prefill, prefix
hits, resuming and (later) draft tokens are one rule. Follows vLLM's v1 scheduler in that.

Progress is booked when a step is planned, not when it returns, so the next step can be planned
while one runs: a token being sampled is `num_pending_tokens` until `update` learns what it is.
"""

import heapq
from bisect import insort
from collections.abc import Callable, Mapping
from time import monotonic

from engine.config import SchedulerConfig
from engine.isolation import StepIsolation
from engine.kv_cache_manager import KVCacheManager
from engine.request import FinishReason, Request, RequestStatus
from engine.step import NewRequest, PlanRow, StepPlan, StepResult
from engine.step_budget import StepBudget, has_unscored_tokens, scored_positions
from engine.stop import append_token
from engine.waiting_queue import WaitingQueue

__all__ = ["Scheduler"]

_Key = tuple[int, int, str]


class Scheduler:
    """Plans steps over the requests it was given.

    Waiting requests are admitted in the order of `WaitingQueue`, those that were preempted first.
    The running set is kept in the order of (priority, arrival): its last member is what preemption
    gives up.
    """

    def __init__(
        self,
        config: SchedulerConfig,
        cache: KVCacheManager,
        *,
        max_model_len: int,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._config = config
        self._cache = cache
        self._max_model_len = max_model_len
        self._clock = clock
        self._requests: dict[str, Request] = {}
        self._order: dict[str, _Key] = {}
        self._waiting = WaitingQueue(by_prefix=cache.is_caching)
        self._preempted: list[_Key] = []  # a heap; entries of requests that run or ended are stale
        self._running: list[_Key] = []
        self._dropped: list[str] = []
        self._unsent: set[str] = set()  # running, but the ranks must learn them (again)
        self._isolation = StepIsolation()
        self._num_steps = 0
        self._num_added = 0
        self.num_preemptions = 0
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.prefix_cache_queries = 0
        self.prefix_cache_hits = 0

    @property
    def num_running(self) -> int:
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        return len(self._requests) - len(self._running)

    def add(self, request: Request) -> None:
        """Queue a request. Its id must be unused."""
        assert request.request_id not in self._requests, f"{request.request_id} added twice"
        self._num_added += 1
        key = (request.priority, self._num_added, request.request_id)
        self._requests[request.request_id] = request
        self._order[request.request_id] = key
        self._waiting.add(request)

    def find(self, request_id: str) -> Request | None:
        """The request, unless it has ended."""
        return self._requests.get(request_id)

    def finish(self, request_id: str, reason: FinishReason, error: str | None = None) -> Request:
        """End a request now, whatever it is doing. Raises KeyError if it is not here."""
        request = self._requests[request_id]
        request.finish_reason = reason
        request.error = error
        self._leave(request)
        return request

    def schedule(self) -> StepPlan | None:
        """Plan the next step; None if nothing can run now."""
        only = self._isolation.group
        rows: list[PlanRow] = []
        new_requests: list[NewRequest] = []
        if only is None:
            self._give_way()
        num_preemptions = self.num_preemptions
        budget = StepBudget(self._config.max_num_batched_tokens, self._config.max_num_scored_tokens)
        self._schedule_running(rows, new_requests, only, budget)
        if self.num_preemptions == num_preemptions:
            self._schedule_waiting(rows, new_requests, only, budget)
        if not rows:
            return None
        self._num_steps += 1
        dropped, self._dropped = tuple(self._dropped), []
        return StepPlan(self._num_steps, tuple(rows), tuple(new_requests), dropped)

    def update(self, plan: StepPlan, result: StepResult) -> list[Request]:
        """Book what a step brought. Returns the requests that it ended."""
        finished = []
        for row in plan.rows:
            request = self._requests.get(row.request_id)
            if request is None:
                continue  # ended while the step was in flight
            self._isolation.passed(row.request_id, row.num_computed_tokens + row.num_new_tokens)
            if row.request_id in result.errors:
                finished.append(
                    self.finish(row.request_id, FinishReason.ERROR, result.errors[row.request_id])
                )
            elif self._book(request, row, result):
                self._leave(request)
                finished.append(request)
        return finished

    def roll_back(self, plans: list[StepPlan], failed: StepPlan, message: str) -> list[Request]:
        """Undo the planned steps, oldest first, after `failed` among them failed.

        Requests that ran before keep their blocks and go back to where they were. Those admitted
        by these plans start again: they may share blocks that the failed step never wrote.
        Returns the request that failed alone, ended with `message`, if there is one.
        """
        self._cache.forget_prefixes()
        for plan in reversed(plans):
            admitted = {new.request_id for new in plan.new_requests}
            for row in plan.rows:
                request = self._requests.get(row.request_id)
                if request is None or request.status is not RequestStatus.RUNNING:
                    continue
                request.num_pending_tokens = 0
                if row.request_id in admitted:
                    self._preempt(request)
                else:
                    request.num_computed_tokens = row.num_computed_tokens
                    self._cache.withdraw(request)
                    self._drop_rank_state(request)
        culprit = self._isolation.fail(failed)
        if culprit is None or culprit not in self._requests:
            return []
        return [self.finish(culprit, FinishReason.ERROR, message)]

    def forget_prefixes(self) -> None:
        """Empty the prefix cache."""
        self._cache.forget_prefixes()

    def end_isolation(self) -> None:
        """Let everything run again: the requests kept apart cannot go on by themselves."""
        self._isolation = StepIsolation()

    def check_integrity(self) -> None:
        """Assert that the sets are disjoint, ordered and complete. For tests and debugging."""
        self._cache.check_integrity()
        assert self._running == sorted(self._running), "running set out of order"
        assert len(self._running) <= self._config.max_num_seqs, "too many requests run"
        running = {key[2] for key in self._running}
        preempted = {key[2] for key in self._preempted}
        for request_id, request in self._requests.items():
            is_running = request.status is RequestStatus.RUNNING
            assert is_running == (request_id in running), f"{request_id} is not where it says"
            is_waiting = request_id in (self._waiting if not request.num_preemptions else preempted)
            assert is_running or is_waiting, f"{request_id} is lost"

    def _schedule_running(
        self,
        rows: list[PlanRow],
        new_requests: list[NewRequest],
        only: Mapping[str, int] | None,
        budget: StepBudget,
    ) -> None:
        index = 0
        while index < len(self._running) and budget.num_tokens > 0:
            request = self._requests[self._running[index][2]]
            index += 1
            if only is not None and request.request_id not in only:
                continue
            num_new = self._num_new_tokens(request, budget)
            if num_new == 0 or not self._make_room(request, num_new):
                continue
            rows.append(self._plan_row(request, num_new, new_requests))
            budget.spend(num_new, len(rows[-1].scored_positions))

    def _make_room(self, request: Request, num_new: int) -> bool:
        """Find blocks, giving up the last of the running set as often as it takes. False if the
        request itself was the one to go.
        """
        while not self._cache.extend(request, request.num_computed_tokens + num_new):
            victim = self._requests[self._running[-1][2]]
            self._preempt(victim)
            if victim is request:
                return False
        return True

    def _give_way(self) -> None:
        """Give up the last of the running set if an urgent request (priority below 0) could not be
        admitted beside it, and it is not urgent itself. One for each step.
        """
        request = self._next_waiting(None)
        if request is None or request.priority >= 0 or not self._running:
            return
        victim = self._requests[self._running[-1][2]]
        is_full = len(self._running) >= self._config.max_num_seqs
        if victim.priority >= 0 and (
            is_full or not self._cache.can_admit(request, self._cache.find_prefix(request))
        ):
            self._preempt(victim)

    def _schedule_waiting(
        self,
        rows: list[PlanRow],
        new_requests: list[NewRequest],
        only: Mapping[str, int] | None,
        budget: StepBudget,
    ) -> None:
        while len(self._running) < self._config.max_num_seqs:
            request = self._next_waiting(only)
            if request is None or not budget.can_begin(request) or not self._admit(request):
                return
            num_new = self._num_new_tokens(request, budget)
            self._cache.extend(request, request.num_computed_tokens + num_new)
            rows.append(self._plan_row(request, num_new, new_requests))
            budget.spend(num_new, len(rows[-1].scored_positions))

    def _next_waiting(self, only: Mapping[str, int] | None) -> Request | None:
        if only is not None:
            keys = (self._order[request_id] for request_id in only)
            left = [key for key in keys if not self._is_running(key[2])]
            return self._requests[min(left)[2]] if left else None
        preempted, request_id = self._next_preempted(), self._waiting.next()
        waiting = self._requests[request_id] if request_id is not None else None
        if preempted is None or (waiting is not None and waiting.priority < preempted.priority):
            return waiting
        return preempted

    def _next_preempted(self) -> Request | None:
        while self._preempted:
            request = self._requests.get(self._preempted[0][2])
            if request is not None and request.status is not RequestStatus.RUNNING:
                return request
            heapq.heappop(self._preempted)
        return None

    def _admit(self, request: Request) -> bool:
        if request.num_pending_tokens:
            return False  # preempted while a token of it is in flight
        prefix = self._cache.find_prefix(request)
        parent = self._requests.get(request.fork_of) if request.fork_of else None
        if parent is not None:
            shared = self._cache.prefix_of(parent, request)
            if shared is None and request.status is RequestStatus.WAITING:
                return False  # a fork waits until its parent has computed their prompt
            prefix = max(prefix, shared or [], key=len)
        if not self._cache.can_admit(request, prefix):
            return False
        self._cache.admit(request, prefix)
        request.status = RequestStatus.RUNNING
        self._unsent.add(request.request_id)
        self._waiting.remove(request.request_id)
        insort(self._running, self._order[request.request_id])
        self._count_admission(request)
        return True

    def _count_admission(self, request: Request) -> None:
        self.prefix_cache_queries += request.num_tokens
        self.prefix_cache_hits += request.num_computed_tokens
        if request.first_scheduled_s is None:
            request.first_scheduled_s = self._clock()
        if request.num_cached_tokens is None:
            request.num_cached_tokens = min(request.num_computed_tokens, request.num_prompt_tokens)

    def _num_new_tokens(self, request: Request, budget: StepBudget) -> int:
        num_pending = request.num_pending_tokens
        num_known = request.num_tokens + num_pending
        if num_pending and request.constraint is not None:
            return 0  # the mask of the next token depends on the pending one
        if num_pending and (
            num_known >= self._max_model_len
            or request.num_output_tokens + num_pending >= request.stop.max_tokens
        ):
            return 0  # the pending token will end the request
        return budget.fit(request, num_known - request.num_computed_tokens)

    def _plan_row(self, request: Request, num_new: int, new_requests: list[NewRequest]) -> PlanRow:
        if request.request_id in self._unsent:
            self._unsent.remove(request.request_id)
            new_requests.append(
                NewRequest(
                    request.request_id,
                    request.token_ids(0, request.num_tokens),
                    request.num_prompt_tokens,
                    request.choice_index,
                    request.sampling,
                )
            )
        start = request.num_computed_tokens
        end = start + num_new
        is_caught_up = end == request.num_tokens + request.num_pending_tokens
        is_sampled = is_caught_up and request.stop.max_tokens > 0
        scored = scored_positions(request, end)
        request.num_computed_tokens = end
        if is_sampled:
            request.num_pending_tokens += 1
        self._cache.publish(request)
        return PlanRow(
            request.request_id,
            start,
            num_new,
            self._cache.take_new_block_ids(request),
            range(end - 1, end) if is_sampled else range(0),
            num_logprobs=request.logprobs.num_top if request.logprobs is not None else None,
            scored_positions=scored,
        )

    def _book(self, request: Request, row: PlanRow, result: StepResult) -> bool:
        """Take in what a step brought for one request; True if it has ended."""
        if request.logprobs is not None and row.request_id in result.logprobs:
            request.logprobs.extend(result.logprobs[row.request_id])
            self._cache.keep_scores(request)
        if row.logit_positions:
            return self._append(request, result.token_ids[row.request_id])
        if request.stop.max_tokens > 0 or has_unscored_tokens(request):
            return False
        request.finish_reason = FinishReason.LENGTH
        self.prompt_tokens += request.num_prompt_tokens
        return True

    def _append(self, request: Request, token_ids: list[int]) -> bool:
        """Append sampled tokens; True if one of them ended the request."""
        if request.first_token_s is None:
            request.first_token_s = self._clock()
            self.prompt_tokens += request.num_prompt_tokens
        self.generation_tokens += len(token_ids)
        request.num_pending_tokens = max(0, request.num_pending_tokens - 1)
        return any(append_token(request, token_id, self._max_model_len) for token_id in token_ids)

    def _preempt(self, request: Request) -> None:
        """Give up a running request's blocks; it starts again, from the cache if it is lucky."""
        self._cache.release(request)
        self._running.remove(self._order[request.request_id])
        request.status = RequestStatus.PREEMPTED
        request.num_computed_tokens = 0
        request.num_preemptions += 1
        self.num_preemptions += 1
        self._drop_rank_state(request)
        self._unsent.discard(request.request_id)
        heapq.heappush(self._preempted, self._order[request.request_id])

    def _leave(self, request: Request) -> None:
        if request.status is RequestStatus.RUNNING:
            self._running.remove(self._order[request.request_id])
        self._waiting.remove(request.request_id)
        request.status = RequestStatus.FINISHED
        request.finished_s = self._clock()
        self._cache.release(request)
        self._isolation.forget(request.request_id)
        self._dropped.append(request.request_id)
        self._unsent.discard(request.request_id)
        del self._requests[request.request_id]
        del self._order[request.request_id]

    def _drop_rank_state(self, request: Request) -> None:
        self._dropped.append(request.request_id)
        self._unsent.add(request.request_id)

    def _is_running(self, request_id: str) -> bool:
        return self._requests[request_id].status is RequestStatus.RUNNING
