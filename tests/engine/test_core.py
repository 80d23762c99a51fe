import pytest

from engine.errors import DeviceLostError, RequestError
from engine.request import FinishReason
from tests.fakes import FakeEngine, expected_tokens, make_request


def _prompts(count: int) -> list[list[int]]:
    shared = list(range(40, 52))
    return [[*shared, *range(index, index + 5)] for index in range(count)]


@pytest.mark.parametrize("max_in_flight", [1, 2])
def test_one_bad_request_fails_alone_and_its_neighbours_lose_nothing(max_in_flight: int) -> None:
    engine = FakeEngine(max_in_flight=max_in_flight)
    requests = [make_request(f"r{i}", prompt) for i, prompt in enumerate(_prompts(8))]
    engine.executor.failing = {"r5"}
    engine.run_all(*requests)
    assert requests[5].finish_reason is FinishReason.ERROR
    assert "injected failure" in (requests[5].error or "")
    for index, request in enumerate(requests):
        if index != 5:
            assert request.output_token_ids == expected_tokens(_prompts(8)[index], 8)
    assert engine.core.stats().num_failed_steps <= 2 * 4


def test_several_culprits_are_all_found() -> None:
    engine = FakeEngine()
    requests = [make_request(f"r{i}", prompt) for i, prompt in enumerate(_prompts(8))]
    engine.executor.failing = {"r0", "r3", "r7"}
    engine.run_all(*requests)
    failed = [r.request_id for r in requests if r.finish_reason is FinishReason.ERROR]
    assert failed == ["r0", "r3", "r7"]


def test_a_failure_in_the_middle_of_decoding_keeps_the_tokens_that_were_out() -> None:
    engine = FakeEngine()
    requests = [make_request(f"r{i}", prompt) for i, prompt in enumerate(_prompts(4))]
    for request in requests:
        engine.core.add(request)
    for _ in range(3):
        engine.core.step()
    engine.executor.failing = {"r2"}
    engine.run_all()
    assert requests[2].output_token_ids == expected_tokens(_prompts(4)[2], 3)
    assert requests[1].output_token_ids == expected_tokens(_prompts(4)[1], 8)


def test_a_transient_failure_costs_nobody_anything() -> None:
    engine = FakeEngine(num_blocks=12, max_num_seqs=3)
    requests = [make_request(f"r{i}", prompt) for i, prompt in enumerate(_prompts(5))]
    for request in requests:
        engine.core.add(request)
    engine.core.step()
    submit = engine.executor.submit
    left = iter([RuntimeError("the device hiccuped")])

    def flaky(plan):
        for error in left:
            submit(plan)
            raise error
        return submit(plan)

    engine.executor.submit = flaky
    engine.run_all()
    assert [request.output_token_ids for request in requests] == [
        expected_tokens(prompt, 8) for prompt in _prompts(5)
    ]
    assert engine.core.stats().num_failed_steps == 1


@pytest.mark.parametrize("method", ["submit", "collect"])
@pytest.mark.parametrize("max_in_flight", [1, 2])
def test_a_lost_device_blames_no_request(method: str, max_in_flight: int) -> None:
    """Nothing is tried again: whatever ran next would fail as well."""
    engine = FakeEngine(max_in_flight=max_in_flight)
    requests = [make_request(f"r{i}", prompt) for i, prompt in enumerate(_prompts(4))]
    for request in requests:
        engine.core.add(request)
    engine.core.step()

    def fail(_: object) -> None:
        raise DeviceLostError("the device failed for good: an illegal memory access")

    setattr(engine.executor, method, fail)
    with pytest.raises(DeviceLostError):
        engine.core.step()
    assert [request.finish_reason for request in requests] == [None] * 4
    assert engine.core.stats().num_failed_steps == 0


def test_requests_that_can_never_run_are_refused_by_name() -> None:
    engine = FakeEngine(max_model_len=16)
    with pytest.raises(RequestError, match="prompt is empty"):
        engine.core.add(make_request("a", []))
    with pytest.raises(RequestError, match="maximum context length is 16 tokens") as caught:
        engine.core.add(make_request("b", list(range(16))))
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    with pytest.raises(RequestError, match="nothing is left to generate"):
        engine.core.add(make_request("c", [1], max_tokens=2, output_token_ids=[1, 2]))
    assert not engine.core.has_work


def test_stats_count_prompts_once_and_every_sampled_token() -> None:
    engine = FakeEngine(max_num_batched_tokens=6)
    engine.run_all(make_request("a", [1] * 10, max_tokens=3), make_request("b", [2] * 7))
    stats = engine.core.stats()
    assert (stats.prompt_tokens, stats.generation_tokens) == (17, 11)
    assert (stats.num_running, stats.num_waiting, stats.kv_cache_usage) == (0, 0, 0.0)
    engine.core.shutdown()
    assert engine.executor.is_shut_down
