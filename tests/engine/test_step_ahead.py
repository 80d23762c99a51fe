"""One step planned and launched while another is computed: the same tokens as without, nothing
lost, and the host waits for no token that it does not need."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.device import HostCopies
from engine.logprobs import LogprobRecord
from engine.request import FinishReason, Request, SamplingParams, StopRules
from engine.step import NewRequest, PlanRow, StepPlan, StepResult
from tests.engine.golden import expected, own_tokens
from tests.engine.recorders import NoHostReads
from tests.engine.test_independence import _requests
from tests.engine.test_model_runner import _runner
from tests.engine.tiny_engine import load_tiny, make_request, tiny_engine
from tests.fakes import VOCAB_SIZE, FakeEngine, FakeExecutor, expected_tokens
from tests.fakes import make_request as make_fake_request


class LateExecutor(FakeExecutor):
    """Notes the order of calls, and lets nobody see a result before it is collected."""

    def __init__(self, num_blocks: int, block_size: int) -> None:
        super().__init__(num_blocks, block_size, max_in_flight=2)
        self.calls: list[tuple[str, int]] = []

    def submit(self, plan: StepPlan) -> StepResult:
        self.calls.append(("submit", plan.step_id))
        return super().submit(plan)

    def collect(self, handle: StepResult) -> StepResult:
        self.calls.append(("collect", handle.step_id))
        return super().collect(handle)


class Never:
    """A stop matcher that ends a request after so many tokens."""

    stop_string = "stop"

    def __init__(self, num_tokens: int) -> None:
        self._num_left = num_tokens
        self.text = ""

    def append(self, token_id: int) -> bool:
        self._num_left -= 1
        return self._num_left == 0


class Evens:
    """Only even tokens may come; complete after so many."""

    error = None
    num_words = VOCAB_SIZE // 32

    def __init__(self, num_tokens: int) -> None:
        self.tokens: list[int] = []
        self.filled_at: list[int] = []
        self._num_tokens = num_tokens

    def append(self, token_id: int) -> bool:
        self.tokens.append(token_id)
        return len(self.tokens) == self._num_tokens

    def fill(self, row: np.ndarray, banned: Any) -> bool:
        self.filled_at.append(len(self.tokens))
        row[:] = 0x55555555
        return True


def late_engine(**sizes: int) -> tuple[FakeEngine, LateExecutor]:
    engine = FakeEngine(max_in_flight=2, **sizes)
    executor = LateExecutor(engine.pool.num_blocks, engine.executor.block_size)
    engine.executor = engine.core._executor = executor
    return engine, executor


def test_the_next_step_is_submitted_before_the_last_one_is_waited_for() -> None:
    engine, executor = late_engine()
    engine.run_all(make_fake_request("a", [1, 2, 3], max_tokens=6))
    submitted = [executor.calls.index(("submit", step)) for step in range(1, 7)]
    collected = [executor.calls.index(("collect", step)) for step in range(1, 7)]
    assert all(submitted[step + 1] < collected[step] for step in range(5))
    assert len(executor.plans) == 6, "a step too many for a request whose length is known"


def test_a_stop_that_comes_to_light_late_costs_one_row_whose_token_is_dropped() -> None:
    tokens = expected_tokens([1, 2, 3], 9)
    request = make_fake_request("a", [1, 2, 3], max_tokens=9)
    stop = StopRules(max_tokens=9, eos_token_ids=frozenset({tokens[4]}))
    request.stop = stop
    engine, executor = late_engine()
    engine.run_all(request)
    assert request.output_token_ids == tokens[: tokens.index(tokens[4]) + 1]
    assert request.finish_reason is FinishReason.STOP
    assert len(executor.plans) == len(request.output_token_ids) + 1
    assert engine.scheduler.generation_tokens == len(request.output_token_ids)


def test_a_constrained_request_waits_for_its_token_and_its_neighbour_does_not() -> None:
    engine, executor = late_engine()
    constrained = make_fake_request("c", [1, 2], max_tokens=4)
    constrained.constraint = Evens(4)
    free = make_fake_request("f", [3, 4], max_tokens=8)
    engine.run_all(constrained, free)
    assert [len(plan.rows) for plan in executor.plans[:8]] == [2, 1, 2, 1, 2, 1, 2, 1]
    assert free.output_token_ids == expected_tokens([3, 4], 8)
    assert constrained.constraint.tokens == constrained.output_token_ids
    assert constrained.constraint.filled_at == [0, 1, 2, 3], "a mask before its token was known"


@st.composite
def _jobs(draw: st.DrawFn) -> list[dict[str, Any]]:
    return [
        {
            "length": draw(st.integers(1, 24)),
            "max_tokens": draw(st.integers(1, 12)),
            "num_ends": draw(st.integers(0, 60)),
            "stops_after": draw(st.none() | st.integers(1, 8)),
            "constrained_for": draw(st.none() | st.integers(1, 8)),
            "num_top": draw(st.none() | st.integers(0, 2)),
            "abort_after": draw(st.none() | st.integers(0, 10)),
            "fails": draw(st.sampled_from([False] * 9 + [True])),
        }
        for _ in range(draw(st.integers(1, 8)))
    ]


def _fake_request(number: int, job: dict[str, Any]) -> Request:
    prompt = random.Random(number % 3).choices(range(VOCAB_SIZE), k=job["length"])
    request = make_fake_request(str(number), prompt)
    ends = frozenset(random.Random(number).sample(range(VOCAB_SIZE), job["num_ends"]))
    request.stop = StopRules(max_tokens=job["max_tokens"], eos_token_ids=ends, min_tokens=1)
    if job["stops_after"] is not None:
        request.stop_matcher = Never(job["stops_after"])
    if job["constrained_for"] is not None:
        request.constraint = Evens(job["constrained_for"])
    if job["num_top"] is not None:
        request.logprobs = LogprobRecord(first_token=len(prompt), num_top=job["num_top"])
    return request


def _run_jobs(jobs: list[dict[str, Any]], max_in_flight: int, **sizes: Any) -> list[Request]:
    engine = FakeEngine(max_in_flight=max_in_flight, max_model_len=40, **sizes)
    requests = [_fake_request(number, job) for number, job in enumerate(jobs)]
    engine.executor.failing = {str(number) for number, job in enumerate(jobs) if job["fails"]}
    for request in requests:
        engine.core.add(request)
    for step in range(3000):
        for number, job in enumerate(jobs):
            if job["abort_after"] == step:
                engine.core.abort(str(number))
        if not engine.core.has_work:
            break
        engine.core.step()
        engine.scheduler.check_integrity()
    assert not engine.core.has_work
    assert engine.pool.num_free == engine.pool.num_blocks, "blocks leaked"
    return requests


@settings(max_examples=60, deadline=None)
@given(
    jobs=_jobs(),
    num_blocks=st.integers(11, 40),
    block_size=st.sampled_from([4, 8]),
    max_num_seqs=st.integers(1, 6),
    max_num_batched_tokens=st.integers(1, 40),
    enable_caching=st.booleans(),
)
def test_any_workload_ends_as_it_does_one_step_at_a_time(
    jobs: list[dict[str, Any]], **sizes: Any
) -> None:
    ahead, plain = (_run_jobs(jobs, max_in_flight, **sizes) for max_in_flight in (2, 1))
    for job, ours, theirs in zip(jobs, ahead, plain, strict=True):
        shorter = min(ours.num_output_tokens, theirs.num_output_tokens)
        assert ours.output_token_ids[:shorter] == theirs.output_token_ids[:shorter]
        if job["abort_after"] is not None:
            continue  # how far it came by then is another matter
        assert ours.output_token_ids == theirs.output_token_ids
        assert (ours.finish_reason, ours.stop_reason) == (theirs.finish_reason, theirs.stop_reason)
        if ours.logprobs is not None and theirs.logprobs is not None:
            rows = ours.logprobs.rows(), theirs.logprobs.rows()
            assert rows[0].logprobs.tolist() == rows[1].logprobs.tolist()


@pytest.mark.parametrize("family", ["qwen3", "qwen3_moe", "gpt_oss", "deepseek_v3"])
def test_a_models_tokens_equal_generate(family: str, checkpoints: Path) -> None:
    """The device reads what it sampled itself: the host learns of it after the next launch."""
    with tiny_engine(
        load_tiny(family, checkpoints), max_num_batched_tokens=20, max_in_flight=2
    ) as engine:
        assert own_tokens(engine, "cold") == expected(family)
        assert own_tokens(engine, "warm") == expected(family)


def test_a_models_tokens_equal_generate_when_requests_are_preempted(checkpoints: Path) -> None:
    with tiny_engine(
        load_tiny("qwen3", checkpoints),
        num_blocks=15,
        max_num_batched_tokens=20,
        max_in_flight=2,
    ) as engine:
        assert own_tokens(engine, "tight") == expected("qwen3")
        assert engine.scheduler.num_preemptions > 0


def test_every_sampling_parameter_sees_the_token_that_the_host_does_not_know(
    checkpoints: Path,
) -> None:
    """Penalties count it, bans and noise go by its place; few rows, so that they are used again."""
    loaded = load_tiny("qwen3", checkpoints)
    tokens = []
    for max_in_flight in (1, 2):
        with tiny_engine(
            loaded, num_blocks=60, max_num_seqs=6, max_in_flight=max_in_flight
        ) as engine:
            tokens.append(engine.run(_requests()))
    assert tokens[0] == tokens[1]


def test_log_probabilities_are_those_of_one_step_at_a_time(checkpoints: Path) -> None:
    loaded = load_tiny("qwen3", checkpoints)
    found = []
    for max_in_flight in (1, 2):
        requests = [make_request(f"r{n}", [5 + n, 6, 7], 6) for n in range(4)]
        for request in requests[:3]:
            request.logprobs = LogprobRecord(first_token=1, num_top=2)
        with tiny_engine(loaded, max_in_flight=max_in_flight) as engine:
            engine.run(requests)
        found.append([request.logprobs.rows().logprobs.tolist() for request in requests[:3]])
    assert found[0] == found[1]
    assert len(found[0][0]) == 8


def _row(name: str, start: int, stop: int, *blocks: int) -> PlanRow:
    return PlanRow(name, start, stop - start, (blocks,), range(stop - 1, stop))


def _new(name: str, *tokens: int) -> NewRequest:
    return NewRequest(name, list(tokens), len(tokens), 0, SamplingParams(temperature=0.0))


def test_launching_a_decoding_step_reads_nothing_from_the_device(checkpoints: Path) -> None:
    runner = _runner(load_tiny("qwen3", checkpoints), is_ahead=True)
    first = runner.launch(StepPlan(1, (_row("a", 0, 3, 0),), (_new("a", 5, 6, 7),)))
    with NoHostReads():
        second = runner.launch(StepPlan(2, (_row("a", 3, 4),)))
    tokens = [runner.finish(step).token_ids["a"] for step in (first, second)]
    again = runner.execute(StepPlan(3, (_row("b", 0, 4, 1),), (_new("b", 5, 6, 7, *tokens[0]),)))
    assert again.token_ids["b"] == tokens[1]


def test_a_row_that_went_to_another_request_keeps_that_ones_tokens(checkpoints: Path) -> None:
    runner = _runner(load_tiny("qwen3", checkpoints), is_ahead=True, max_num_seqs=1)
    first = runner.launch(StepPlan(1, (_row("a", 0, 3, 0),), (_new("a", 5, 6, 7),)))
    taken = StepPlan(2, (_row("b", 0, 5, 1, 2),), (_new("b", 9, 8, 7, 6, 5),), ("a",))
    second = runner.launch(taken)
    (gone,) = runner.finish(first).token_ids["a"]  # at place 3 of a request that is gone
    assert gone != 6
    answer = runner.finish(second).token_ids["b"]
    recomputed = StepPlan(3, (PlanRow("b", 0, 5, ((),), range(4, 5)),))
    assert runner.execute(recomputed).token_ids["b"] == answer


def test_copies_of_cpu_tensors_are_their_own_memory() -> None:
    tensor = torch.arange(3)
    (array,) = HostCopies([tensor]).wait()
    tensor[0] = 7
    assert array.tolist() == [7, 1, 2]
    assert HostCopies([]).wait() == []
