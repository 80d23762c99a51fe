"""The scheduler with the real cache manager and core, over an executor that reads contexts back
through the block tables: wrong books change the tokens."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.request import FinishReason, Request, RequestStatus
from engine.waiting_queue import WaitingQueue
from tests.fakes import FakeEngine, expected_tokens, make_request


def _prompt(length: int, seed: int = 0) -> list[int]:
    return random.Random(seed).choices(range(256), k=length)


def test_a_request_gets_the_tokens_of_its_whole_context() -> None:
    engine = FakeEngine()
    (request,) = engine.run_all(make_request("a", _prompt(10), max_tokens=9))
    assert request.output_token_ids == expected_tokens(_prompt(10), 9)
    assert request.finish_reason is FinishReason.LENGTH
    assert request.status is RequestStatus.FINISHED
    assert request.num_cached_tokens == 0


def test_a_long_prompt_is_computed_in_chunks_of_the_budget() -> None:
    engine = FakeEngine(max_num_batched_tokens=7)
    (request,) = engine.run_all(make_request("a", _prompt(40), max_tokens=2))
    assert request.output_token_ids == expected_tokens(_prompt(40), 2)
    assert [plan.num_tokens for plan in engine.executor.plans] == [7, 7, 7, 7, 7, 5, 1]
    assert [len(plan.rows[0].logit_positions) for plan in engine.executor.plans] == [0] * 5 + [1, 1]


def test_decoding_requests_share_steps_with_a_chunked_prompt() -> None:
    engine = FakeEngine(max_num_batched_tokens=8)
    first = make_request("a", _prompt(4, 1), max_tokens=6)
    second = make_request("b", _prompt(20, 2), max_tokens=2)
    engine.run_all(first, second)
    assert [len(plan.rows) for plan in engine.executor.plans][:3] == [2, 2, 2]
    assert first.output_token_ids == expected_tokens(_prompt(4, 1), 6)
    assert second.output_token_ids == expected_tokens(_prompt(20, 2), 2)


def test_the_second_request_skips_the_cached_prefix() -> None:
    engine = FakeEngine()
    shared = _prompt(16)
    engine.run_all(make_request("a", [*shared, 1]))
    (second,) = engine.run_all(make_request("b", [*shared, 2, 3]))
    assert second.num_cached_tokens == 16
    assert second.output_token_ids == expected_tokens([*shared, 2, 3], 8)
    assert engine.scheduler.prefix_cache_hits == 16


def test_requests_admitted_in_one_step_share_a_prefix_that_this_step_computes() -> None:
    engine = FakeEngine()
    shared = _prompt(12)
    requests = [make_request(str(i), [*shared, i]) for i in range(4)]
    engine.run_all(*requests)
    assert [request.num_cached_tokens for request in requests] == [0, 12, 12, 12]
    for index, request in enumerate(requests):
        assert request.output_token_ids == expected_tokens([*shared, index], 8)


def test_cached_output_serves_a_growing_conversation() -> None:
    engine = FakeEngine()
    (first,) = engine.run_all(make_request("a", _prompt(8), max_tokens=8))
    conversation = [*_prompt(8), *first.output_token_ids, 5]
    (second,) = engine.run_all(make_request("b", conversation))
    # The last output token's KV was never computed, so its block is not full.
    assert second.num_cached_tokens == 12


def test_forks_share_the_prompt_blocks_without_a_prefix_cache() -> None:
    engine = FakeEngine(enable_caching=False, num_blocks=12, max_num_batched_tokens=9)
    prompt = _prompt(22)
    choices = [
        make_request(f"a-{i}", prompt, choice_index=i, fork_of="a-0" if i else None, max_tokens=4)
        for i in range(3)
    ]
    engine.run_all(*choices)
    for index, request in enumerate(choices):
        assert request.output_token_ids == expected_tokens(prompt, 4, choice_index=index)
    assert [request.num_cached_tokens for request in choices] == [0, 20, 20]


def test_a_fork_whose_parent_ended_first_runs_on_its_own() -> None:
    engine = FakeEngine(max_num_seqs=1, enable_caching=False)
    parent = make_request("a", _prompt(9), max_tokens=2)
    child = make_request("b", _prompt(9), fork_of="a", choice_index=1, max_tokens=2)
    engine.run_all(parent, child)
    assert child.output_token_ids == expected_tokens(_prompt(9), 2, choice_index=1)


def test_preemption_recomputes_and_changes_nothing() -> None:
    engine = FakeEngine(num_blocks=10, enable_caching=False)
    requests = [make_request(str(i), _prompt(8, i), max_tokens=16) for i in range(4)]
    engine.run_all(*requests)
    assert engine.scheduler.num_preemptions > 0
    assert requests[0].num_preemptions == 0, "the oldest request must never be given up"
    for index, request in enumerate(requests):
        assert request.output_token_ids == expected_tokens(_prompt(8, index), 16)


def test_priority_goes_first_and_is_preempted_last() -> None:
    engine = FakeEngine(max_num_seqs=1)
    late = make_request("late", _prompt(4), priority=5)
    urgent = make_request("urgent", _prompt(5), priority=-1)
    normal = make_request("normal", _prompt(6))
    ended = engine.run_all(late, normal, urgent)
    assert [request.request_id for request in ended] == ["urgent", "normal", "late"]


@pytest.mark.parametrize("num_blocks", [64, 12])
def test_an_urgent_request_takes_the_place_of_one_that_runs(num_blocks: int) -> None:
    """Whether slots or blocks are short; the other goes on later with the same tokens."""
    max_num_seqs = 2 if num_blocks == 64 else 8
    engine = FakeEngine(max_num_seqs=max_num_seqs, num_blocks=num_blocks)
    slow = [make_request(name, _prompt(10), max_tokens=12) for name in ("a", "b")]
    for request in slow:
        engine.core.add(request)
    for _ in range(4):
        engine.core.step()
    urgent = make_request("urgent", _prompt(7), max_tokens=2, priority=-1)
    ended = engine.run_all(urgent)
    assert ended[0] is urgent
    assert urgent.num_preemptions == 0
    assert [request.output_token_ids for request in slow] == [expected_tokens(_prompt(10), 12)] * 2
    assert slow[0].num_preemptions == 0 or num_blocks == 12


def test_urgent_requests_do_not_push_each_other_out() -> None:
    engine = FakeEngine(max_num_seqs=2)
    requests = [make_request(str(n), _prompt(6 + n), priority=-1 - n) for n in range(6)]
    engine.run_all(*requests)
    assert [request.num_preemptions for request in requests] == [0] * 6


def test_a_request_with_output_tokens_resumes_where_they_end() -> None:
    whole = expected_tokens(_prompt(10), 12)
    engine = FakeEngine()
    resumed = make_request("a", _prompt(10), max_tokens=12, output_token_ids=whole[:5])
    engine.run_all(resumed)
    assert resumed.output_token_ids == whole


def test_abort_ends_a_running_and_a_waiting_request_and_frees_their_blocks() -> None:
    engine = FakeEngine(max_num_seqs=1)
    running, waiting, other = (make_request(name, _prompt(6)) for name in ("a", "b", "c"))
    for request in (running, waiting, other):
        engine.core.add(request)
    engine.core.step()
    assert engine.core.abort("a") is running
    assert engine.core.abort("b") is waiting
    assert engine.core.abort("b") is None
    assert engine.core.abort("never heard of") is None
    assert engine.run_all() == [other]
    assert {running.finish_reason, waiting.finish_reason} == {FinishReason.ABORT}


def test_the_context_limit_ends_a_request() -> None:
    engine = FakeEngine(max_model_len=12)
    (request,) = engine.run_all(make_request("a", _prompt(9), max_tokens=50))
    assert request.num_tokens == 12
    assert request.finish_reason is FinishReason.LENGTH


def test_steps_planned_ahead_give_the_same_tokens() -> None:
    engine = FakeEngine(max_in_flight=2, num_blocks=16, max_num_batched_tokens=11)
    requests = [make_request(str(i), _prompt(5 + 3 * i, i), max_tokens=7 + i) for i in range(6)]
    engine.run_all(*requests)
    for index, request in enumerate(requests):
        assert request.output_token_ids == expected_tokens(_prompt(5 + 3 * index, index), 7 + index)


def test_an_id_in_use_is_refused() -> None:
    engine = FakeEngine()
    engine.core.add(make_request("a", [1]))
    with pytest.raises(AssertionError, match="added twice"):
        engine.core.add(make_request("a", [2]))


def test_waiting_requests_cost_nothing_per_step() -> None:
    engine = FakeEngine(max_num_seqs=2)
    for index in range(2000):
        engine.core.add(make_request(str(index), [index % 256, 1, 2], max_tokens=3))
    looked_up = 0
    find = engine.cache.find_prefix

    def counting(request):
        nonlocal looked_up
        looked_up += 1
        return find(request)

    engine.cache.find_prefix = counting
    for _ in range(3):
        engine.core.step()
    assert looked_up <= 6


@st.composite
def _workloads(draw: st.DrawFn) -> list[dict]:
    return [
        {
            "length": draw(st.integers(1, 30)),
            "family": draw(st.integers(0, 2)),
            "max_tokens": draw(st.integers(1, 12)),
            "priority": draw(st.integers(-1, 1)),
            "num_choices": draw(st.integers(1, 3)),
            "abort_after": draw(st.none() | st.integers(0, 12)),
        }
        for _ in range(draw(st.integers(1, 10)))
    ]


@settings(max_examples=120, deadline=None)
@given(
    workload=_workloads(),
    num_blocks=st.integers(12, 40),
    block_size=st.sampled_from([4, 8]),
    max_num_seqs=st.integers(1, 6),
    budget=st.integers(1, 40),
    enable_caching=st.booleans(),
    max_in_flight=st.integers(1, 2),
)
def test_any_workload_ends_with_the_right_tokens_within_every_bound(
    workload, num_blocks, block_size, max_num_seqs, budget, enable_caching, max_in_flight
) -> None:
    engine = FakeEngine(
        num_blocks=num_blocks,
        block_size=block_size,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=budget,
        max_model_len=46,
        enable_caching=enable_caching,
        max_in_flight=max_in_flight,
    )
    requests, aborts = [], {}
    for number, job in enumerate(workload):
        prompt = _prompt(job["length"], job["family"])
        for choice in range(job["num_choices"]):
            request = make_request(
                f"{number}-{choice}",
                prompt,
                max_tokens=job["max_tokens"],
                choice_index=choice,
                fork_of=f"{number}-0" if choice else None,
                priority=job["priority"],
            )
            requests.append(request)
            engine.core.add(request)
        if job["abort_after"] is not None:
            aborts.setdefault(job["abort_after"], []).append(f"{number}-0")
    ended = []
    for step in range(4000):
        for request_id in aborts.get(step, []):
            aborted = engine.core.abort(request_id)
            ended += [aborted] if aborted else []
        if not engine.core.has_work:
            break
        ended += engine.core.step()
        engine.scheduler.check_integrity()
    assert sorted(r.request_id for r in ended) == sorted(r.request_id for r in requests)
    assert engine.pool.num_free == num_blocks, "blocks leaked"
    assert all(plan.num_tokens <= budget for plan in engine.executor.plans)
    assert all(len(plan.rows) <= max_num_seqs for plan in engine.executor.plans)
    for request in requests:
        count = request.num_output_tokens
        want = expected_tokens(list(request.prompt_token_ids), count, request.choice_index)
        assert request.output_token_ids == want
        if request.finish_reason is not FinishReason.ABORT:
            assert count == min(request.stop.max_tokens, 46 - request.num_prompt_tokens)


def _hit_rate(requests: list[Request], **settings: Any) -> float:
    """Share of prompt tokens that came from the cache. 16 requests run at a time; the blocks hold
    them and a quarter of the groups' prefixes.
    """
    engine = FakeEngine(
        num_blocks=4 * 128 + 16 * 20,
        max_num_seqs=16,
        max_num_batched_tokens=512,
        max_model_len=1024,
        **settings,
    )
    engine.run_all(*requests)
    return engine.scheduler.prefix_cache_hits / engine.scheduler.prefix_cache_queries


def _grouped_requests() -> list[Request]:
    """Sixteen groups of sixteen: a prefix of 512 tokens each, 32 to 64 tokens of their own."""
    generator = random.Random(5)
    requests = []
    for group in range(16):
        prefix = generator.choices(range(256), k=512)
        for number in range(16):
            own = generator.choices(range(256), k=generator.randint(32, 64))
            length = generator.randint(4, 12)
            requests.append(make_request(f"{group}-{number}", [*prefix, *own], max_tokens=length))
    return requests


@pytest.mark.slow
def test_shuffled_groups_hit_the_cache_as_often_as_ordered_ones() -> None:
    ideal = _hit_rate(_grouped_requests())
    shuffled = _grouped_requests()
    random.Random(6).shuffle(shuffled)
    assert ideal > 0.8
    assert _hit_rate(shuffled) >= 0.97 * ideal


@pytest.mark.slow
def test_in_order_of_arrival_shuffled_groups_would_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the order is for: the same requests without it."""
    shuffled = _grouped_requests()
    random.Random(6).shuffle(shuffled)
    monkeypatch.setattr(WaitingQueue, "_key", lambda *_: b"")
    assert _hit_rate(shuffled) < 0.5
