"""Log probabilities through the real scheduler, cache manager and core, over an executor that reads
every context back through the block tables."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.logprobs import LogprobRecord
from engine.request import FinishReason, Request
from tests.fakes import FakeEngine, expected_scores, make_request

_CONTEXTS = [random.Random(seed).choices(range(256), k=40) for seed in range(2)]


def _workloads() -> Any:
    """Requests with one of two contexts and an ending of their own."""
    job = st.fixed_dictionaries(
        {
            "context": st.integers(0, 1),
            "length": st.integers(1, 30),
            "ending": st.integers(0, 3),
            "max_tokens": st.integers(0, 6),
            "first_token": st.none() | st.integers(1, 35),
            "num_top": st.integers(0, 2),
            "fails": st.sampled_from([False] * 7 + [True]),
        }
    )
    return st.lists(job, min_size=1, max_size=8)


def _request(number: int, job: dict[str, Any]) -> Request:
    prompt = _CONTEXTS[job["context"]][: job["length"]] + [number] * job["ending"]
    first = job["first_token"]
    if first is None and job["max_tokens"] == 0:
        first = 1
    request = make_request(str(number), prompt, max_tokens=job["max_tokens"])
    if first is not None:
        request.logprobs = LogprobRecord(
            first_token=min(first, len(prompt)), num_top=job["num_top"]
        )
    return request


@settings(max_examples=150, deadline=None)
@given(
    workload=_workloads(),
    num_blocks=st.integers(11, 30),
    block_size=st.sampled_from([4, 8]),
    budget=st.integers(1, 40),
    num_scored=st.integers(1, 20),
    enable_caching=st.booleans(),
    max_in_flight=st.integers(1, 2),
)
def test_any_workload_is_scored_without_gaps_within_every_bound(
    workload: list[dict[str, Any]],
    num_blocks: int,
    block_size: int,
    budget: int,
    num_scored: int,
    enable_caching: bool,
    max_in_flight: int,
) -> None:
    engine = FakeEngine(
        num_blocks=num_blocks,
        block_size=block_size,
        max_num_batched_tokens=budget,
        max_model_len=40,
        enable_caching=enable_caching,
        max_in_flight=max_in_flight,
        max_num_scored_tokens=num_scored,
    )
    requests = [_request(number, job) for number, job in enumerate(workload)]
    engine.executor.failing = {str(number) for number, job in enumerate(workload) if job["fails"]}
    engine.run_all(*requests)
    for request, job in zip(requests, workload, strict=True):
        if job["fails"]:
            assert request.finish_reason is FinishReason.ERROR
            continue
        assert request.error is None
        assert request.num_output_tokens == job["max_tokens"]
        if request.logprobs is not None:
            tokens = [*request.prompt_token_ids, *request.output_token_ids]
            rows = request.logprobs.rows()
            assert rows.logprobs.tolist() == expected_scores(tokens, request.logprobs.first_token)
            assert rows.num_top == job["num_top"]
    for plan in engine.executor.plans:
        assert plan.num_tokens <= budget
        assert sum(len(row.scored_positions) for row in plan.rows) <= num_scored
        for row in plan.rows:
            stop = row.num_computed_tokens + row.num_new_tokens
            for positions in (row.scored_positions, row.logit_positions):
                assert all(row.num_computed_tokens <= position < stop for position in positions)


def test_neighbours_are_not_held_up_by_a_long_scored_prompt() -> None:
    engine = FakeEngine(max_num_scored_tokens=2, max_model_len=64)
    long = make_request("long", _CONTEXTS[0], max_tokens=1)
    long.logprobs = LogprobRecord(first_token=1, num_top=0)
    other = make_request("other", [1, 2, 3], max_tokens=4)
    ended = engine.run_all(long, other)
    assert [request.request_id for request in ended] == ["other", "long"]
