"""Doubles that compute real answers without a model.

`FakeExecutor` keeps a KV cache of token ids and reads every context back through the block tables
it was sent, so a block that is shared, reused or addressed wrongly changes the tokens that come
out. `next_token` is its "model".
"""

import time
from dataclasses import dataclass, field

import numpy as np
import xxhash

from engine.block_pool import BlockPool
from engine.config import SchedulerConfig
from engine.core import EngineCore
from engine.kv_cache_manager import KVCacheManager
from engine.logprobs import LogprobRows
from engine.request import Request, SamplingParams, StopRules
from engine.scheduler import Scheduler
from engine.step import PlanRow, StepPlan, StepResult

__all__ = [
    "ByteTokenizer",
    "FakeEngine",
    "FakeExecutor",
    "expected_scores",
    "expected_tokens",
    "make_request",
    "next_token",
]

VOCAB_SIZE = 256


def next_token(context: list[int], choice_index: int = 0) -> int:
    """The fake model: a pure function of the whole context."""
    data = b"".join(token.to_bytes(4, "little") for token in context)
    return xxhash.xxh64_intdigest(data, seed=choice_index) % VOCAB_SIZE


def expected_tokens(prompt: list[int], count: int, choice_index: int = 0) -> list[int]:
    """What any correct engine answers with `FakeExecutor`."""
    context = list(prompt)
    for _ in range(count):
        context.append(next_token(context, choice_index))
    return context[len(prompt) :]


def score(context: list[int], token: int) -> int:
    """The fake log probability of a token: a pure function of all before it."""
    return -(next_token([*context, token]) + 1)


def expected_scores(tokens: list[int], first: int) -> list[float]:
    """What any correct engine tells of the tokens from index `first` on."""
    return [float(score(tokens[:index], tokens[index])) for index in range(first, len(tokens))]


def make_request(
    request_id: str, prompt: list[int], *, max_tokens: int = 8, **settings: object
) -> Request:
    """A greedy request without EOS, so that its length is exact."""
    return Request(
        request_id=request_id,
        prompt_token_ids=prompt,
        sampling=SamplingParams(temperature=0.0),
        stop=StopRules(max_tokens=max_tokens),
        **settings,  # type: ignore[arg-type]
    )


@dataclass
class _Row:
    token_ids: list[int]
    choice_index: int
    block_ids: list[int] = field(default_factory=list)


class FakeExecutor:
    """Runs plans on a KV cache of token ids.

    `failing` makes a step raise if it holds one of these request ids; `max_in_flight` 2 plays
    step-ahead: results are computed at submit and handed out at collect. `step_s` is how long a
    step takes, for tests that must act before a request ends.
    """

    def __init__(self, num_blocks: int, block_size: int, *, max_in_flight: int = 1) -> None:
        self.max_in_flight = max_in_flight
        self.block_size = block_size
        self.slots: list[int | None] = [None] * (num_blocks * block_size)
        self.rows: dict[str, _Row] = {}
        self.plans: list[StepPlan] = []
        self.failing: set[str] = set()
        self.step_s = 0.0
        self.is_shut_down = False

    def submit(self, plan: StepPlan) -> StepResult:
        if self.step_s:
            time.sleep(self.step_s)
        self.plans.append(plan)
        for request_id in plan.dropped_request_ids:
            self.rows.pop(request_id, None)
        for new in plan.new_requests:
            assert new.request_id not in self.rows, "a request was learnt twice"
            self.rows[new.request_id] = _Row(list(new.token_ids), new.choice_index)
        # As on a real device, a step writes all its KV before it reads any.
        for row in plan.rows:
            self._write(row)
        if bad := sorted(self.failing & {row.request_id for row in plan.rows}):
            raise RuntimeError(f"injected failure: {bad[0]}")
        tokens = {r.request_id: self._sample(r) for r in self._sampled(plan)}
        asked = [row for row in plan.rows if row.num_logprobs is not None]
        return StepResult(
            plan.step_id,
            tokens,
            logprobs={
                row.request_id: self._scores(row)
                for row in asked
                if row.scored_positions or row.logit_positions
            },
        )

    def collect(self, handle: StepResult) -> StepResult:
        return handle

    def shutdown(self) -> None:
        self.is_shut_down = True

    def _sampled(self, plan: StepPlan) -> list[PlanRow]:
        return [row for row in plan.rows if row.logit_positions]

    def _write(self, plan_row: PlanRow) -> None:
        row = self.rows[plan_row.request_id]
        row.block_ids += plan_row.new_block_ids[0]
        start = plan_row.num_computed_tokens
        for position in range(start, start + plan_row.num_new_tokens):
            self.slots[self._slot(row, position)] = row.token_ids[position]

    def _sample(self, plan_row: PlanRow) -> list[int]:
        row = self.rows[plan_row.request_id]
        tokens = []
        for position in plan_row.logit_positions:
            context = [self.slots[self._slot(row, p)] for p in range(position + 1)]
            assert None not in context, "a slot is read before it was written"
            tokens.append(next_token(context, row.choice_index))  # type: ignore[arg-type]
        row.token_ids += tokens
        return tokens

    def _scores(self, plan_row: PlanRow) -> LogprobRows:
        """Scores of the tokens after the scored and the sampled positions, read from the cache."""
        row = self.rows[plan_row.request_id]
        positions = [*plan_row.scored_positions, *plan_row.logit_positions]
        assert positions == list(range(positions[0], positions[-1] + 1)), "a gap in the positions"
        values = []
        for position in positions:
            context = [self.slots[self._slot(row, p)] for p in range(position + 1)]
            values.append(score(context, row.token_ids[position + 1]))  # type: ignore[arg-type]
        num_top = plan_row.num_logprobs or 0
        return LogprobRows(
            positions[0] + 1,
            np.array(values, np.float32),
            np.ones(len(values), np.int64),
            np.zeros((len(values), num_top), np.int64),
            np.zeros((len(values), num_top), np.float32),
        )

    def _slot(self, row: _Row, position: int) -> int:
        block, offset = divmod(position, self.block_size)
        return row.block_ids[block] * self.block_size + offset


class FakeEngine:
    """The real scheduler, cache manager and core over a `FakeExecutor`."""

    def __init__(
        self,
        *,
        num_blocks: int = 64,
        block_size: int = 4,
        max_num_seqs: int = 8,
        max_num_batched_tokens: int = 64,
        max_model_len: int = 128,
        enable_caching: bool = True,
        max_in_flight: int = 1,
        max_num_scored_tokens: int = 256,
    ) -> None:
        self.pool = BlockPool(num_blocks, enable_caching=enable_caching)
        self.cache = KVCacheManager(self.pool, block_size, enable_caching=enable_caching)
        self.scheduler = Scheduler(
            SchedulerConfig(
                max_num_seqs=max_num_seqs,
                max_num_batched_tokens=max_num_batched_tokens,
                max_num_scored_tokens=max_num_scored_tokens,
            ),
            self.cache,
            max_model_len=max_model_len,
        )
        self.executor = FakeExecutor(num_blocks, block_size, max_in_flight=max_in_flight)
        self.core = EngineCore(
            self.scheduler,
            self.executor,
            max_model_len=max_model_len,
            kv_cache_usage=lambda: self.pool.usage,
        )

    def run_all(self, *requests: Request, max_steps: int = 5000) -> list[Request]:
        """Run to the end, checking the ledgers after each step. Returns requests as they ended."""
        for request in requests:
            self.core.add(request)
        finished: list[Request] = []
        for _ in range(max_steps):
            if not self.core.has_work:
                assert self.pool.num_free == self.pool.num_blocks, "blocks leaked"
                return finished
            finished += self.core.step()
            self.scheduler.check_integrity()
        raise AssertionError(f"not finished after {max_steps} steps")


class ByteTokenizer:
    """One token per UTF-8 byte; special tokens do not exist."""

    vocab_size = VOCAB_SIZE

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, token_ids: list[int]) -> str:
        return bytes(token_ids).decode(errors="replace")
