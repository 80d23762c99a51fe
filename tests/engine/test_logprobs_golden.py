"""The log probabilities of whole runs are those of transformers' own forward pass in float32."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.logprobs import LogprobRecord, LogprobRows
from engine.request import FinishReason, Request, SamplingParams, StopRules
from tests.engine.tiny_engine import TinyEngine, load_tiny, make_request, tiny_engine
from tests.engine.tiny_models import FAMILIES, VOCAB_SIZE, tiny_model

PROMPT = [(37 * index + 11) % 120 + 3 for index in range(45)]
NUM_TOP = 5
TOLERANCE = 1e-4


def scored(request_id: str, prompt: list[int], max_tokens: int, first_token: int = 1) -> Request:
    request = make_request(request_id, prompt, max_tokens)
    request.logprobs = LogprobRecord(first_token=first_token, num_top=NUM_TOP)
    return request


def expected(family: str, tokens: list[int]) -> torch.Tensor:
    """[tokens - 1, V]: the distribution of each token but the first."""
    with torch.inference_mode():
        logits = tiny_model(family)(torch.tensor([tokens]), use_cache=False).logits[0, :-1]
    distribution: torch.Tensor = logits.float().log_softmax(-1)
    return distribution


def check(family: str, request: Request) -> LogprobRows:
    """The record holds every token from its first on, and its numbers are the model's."""
    assert request.logprobs is not None
    rows = request.logprobs.rows()
    tokens = [*request.prompt_token_ids, *request.output_token_ids]
    assert rows.first_token + len(rows) == len(tokens)
    wanted = expected(family, tokens)[rows.first_token - 1 :]
    ids = torch.tensor(tokens[rows.first_token :])
    chosen = wanted.gather(1, ids[:, None]).squeeze(1)
    np.testing.assert_allclose(rows.logprobs, chosen.numpy(), atol=TOLERANCE)
    best = wanted.topk(NUM_TOP, dim=-1)
    np.testing.assert_allclose(rows.top_logprobs, best.values.numpy(), atol=TOLERANCE)
    again = wanted.gather(1, torch.from_numpy(rows.top_token_ids))
    np.testing.assert_allclose(rows.top_logprobs, again.numpy(), atol=TOLERANCE)
    assert (rows.ranks == (wanted > chosen[:, None]).sum(-1).numpy() + 1).all()
    return rows


class _Sizes:
    """Counts the rows of every logits tensor that a model hands out."""

    def __init__(self, module: Any) -> None:
        self.rows: list[int] = []
        self._hook = module.get_output_embeddings().register_forward_hook(self._note)

    def _note(self, module: Any, args: Any, output: torch.Tensor) -> None:
        assert output.shape[-1] == VOCAB_SIZE
        self.rows.append(output.numel() // VOCAB_SIZE)

    def remove(self) -> None:
        self._hook.remove()


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_prompt_and_output_agree_with_the_model_in_every_family(
    family: str, checkpoints: Path
) -> None:
    with tiny_engine(load_tiny(family, checkpoints), max_num_batched_tokens=16) as engine:
        request = scored("a", PROMPT, 6)
        engine.run([request])
        check(family, request)


@pytest.mark.parametrize("chunk", [1, 7, 64])
@pytest.mark.parametrize("first_token", [1, 30])
def test_chunks_and_a_warm_cache_change_nothing_and_bound_the_logits(
    chunk: int, first_token: int, checkpoints: Path
) -> None:
    loaded = load_tiny("qwen3", checkpoints)
    sizes = _Sizes(loaded.module)
    try:
        with tiny_engine(loaded, max_num_scored_tokens=chunk) as engine:
            cold = scored("cold", PROMPT, 4, first_token)
            engine.run([cold])
            warm = scored("warm", PROMPT, 4, first_token)
            engine.run([warm])
    finally:
        sizes.remove()
    assert max(sizes.rows) <= chunk + 1  # and one sampled token
    assert max(sizes.rows) >= min(chunk, len(PROMPT) - first_token)
    for request in (cold, warm):
        check("qwen3", request)
    # Whole blocks before the first position whose logits are wanted come from the cache, no others:
    # from token 1 on all full blocks left their scores, and only the last is computed again.
    assert cold.num_cached_tokens == 0
    assert warm.num_cached_tokens == {1: 32, 30: 24}[first_token]


def test_a_context_is_scored_once_for_all_its_endings(checkpoints: Path) -> None:
    endings = [[5], [6, 7, 8], list(range(9, 40)), []]
    with tiny_engine(load_tiny("qwen3", checkpoints), max_num_scored_tokens=16) as engine:
        requests = [scored(f"r{i}", PROMPT + end, 0) for i, end in enumerate(endings)]
        engine.run(requests)
        for request in requests:
            check("qwen3", request)
        # More of the likeliest tokens than were kept: everything is computed again, and then kept.
        for _ in range(2):
            more = scored("more", PROMPT, 0)
            more.logprobs = LogprobRecord(first_token=1, num_top=NUM_TOP + 2)
            engine.run([more])
            assert more.logprobs.rows().num_top == NUM_TOP + 2
        fewer = scored("fewer", PROMPT, 0)
        fewer.logprobs = LogprobRecord(first_token=3, num_top=1)
        engine.run([fewer])
    assert fewer.logprobs.rows().top_token_ids.shape == (len(PROMPT) - 3, 1)
    cached = sorted(request.num_cached_tokens or 0 for request in requests)
    assert cached[0] == 0
    assert sum(cached) > 60
    assert (more.num_cached_tokens, fewer.num_cached_tokens) == (32, 32)


def test_another_salt_shares_no_scores(checkpoints: Path) -> None:
    with tiny_engine(load_tiny("qwen3", checkpoints)) as engine:
        for salt in ("a", "b"):
            request = scored(salt, PROMPT, 0)
            request.cache_salt = salt
            engine.run([request])
            assert request.num_cached_tokens == 0


def test_scores_are_lost_with_their_blocks(checkpoints: Path) -> None:
    with tiny_engine(load_tiny("qwen3", checkpoints), num_blocks=7) as engine:
        for name in ("first", "second"):
            request = scored(name, PROMPT, 2)
            engine.run([request])
            check("qwen3", request)
            engine.run([make_request(f"{name}x", [7] * 50, 2)])
            assert request.num_cached_tokens == 0


def test_the_same_run_has_the_same_bits_and_other_chunks_the_same_ranking(
    checkpoints: Path,
) -> None:
    loaded = load_tiny("qwen3", checkpoints)

    def run(**settings: int) -> Iterator[LogprobRows]:
        with tiny_engine(loaded, **settings) as engine:
            for name in ("first", "second"):
                requests = [scored(f"{name}{i}", PROMPT[: 20 + i], 3, 1 + 9 * i) for i in range(3)]
                requests += [make_request(f"{name}x{i}", PROMPT[i:], 5) for i in range(4)]
                engine.run(requests)
                for request in requests[:3]:
                    assert request.logprobs is not None
                    yield request.logprobs.rows()

    first = list(run())
    for one, other in zip(first, run(), strict=True):
        assert one.logprobs.tobytes() == other.logprobs.tobytes()
        assert one.top_logprobs.tobytes() == other.top_logprobs.tobytes()
    # A matrix product of another height may round its last bit differently.
    for settings in ({"max_num_scored_tokens": 4}, {"max_num_batched_tokens": 9}):
        for one, other in zip(first, run(**settings), strict=True):
            np.testing.assert_allclose(other.logprobs, one.logprobs, atol=1e-5)
            assert (other.top_token_ids == one.top_token_ids).all()
            assert (other.ranks == one.ranks).all()


def test_temperature_penalties_and_bans_have_no_part_in_them(checkpoints: Path) -> None:
    sampling = SamplingParams(
        temperature=0.3,
        top_k=3,
        repetition_penalty=1.5,
        presence_penalty=1.0,
        logit_bias=((7, 50.0),),
        min_tokens=4,
        banned_token_ids=(9,),
        seed=3,
    )
    with tiny_engine(load_tiny("llama", checkpoints)) as engine:
        request = make_request("a", PROMPT[:9], 8, sampling)
        request.logprobs = LogprobRecord(first_token=9, num_top=NUM_TOP)
        plain = make_request("b", PROMPT[:9], 8, sampling)
        engine.run([request, plain])
    assert request.output_token_ids == plain.output_token_ids
    check("llama", request)


def test_a_prompt_can_be_scored_without_sampling_anything(checkpoints: Path) -> None:
    loaded = load_tiny("llama", checkpoints)
    full = [5 + index % 90 for index in range(loaded.max_model_len)]
    with tiny_engine(loaded, max_num_scored_tokens=50) as engine:
        requests = [scored("a", PROMPT, 0), scored("one", [5], 0), scored("full", full, 0)]
        engine.run(requests)
        assert [request.finish_reason for request in requests] == [FinishReason.LENGTH] * 3
        assert not any(request.output_token_ids for request in requests)
        assert [len(check("llama", request)) for request in requests] == [44, 0, 255]


@pytest.mark.parametrize("max_in_flight", [1, 2])
def test_preemption_keeps_what_was_recorded(max_in_flight: int, checkpoints: Path) -> None:
    with tiny_engine(
        load_tiny("llama", checkpoints),
        num_blocks=9,
        block_size=4,
        max_num_scored_tokens=6,
        max_in_flight=max_in_flight,
    ) as engine:
        requests = [scored(f"r{i}", PROMPT[i : i + 8], 16) for i in range(4)]
        engine.run(requests)
        assert engine.scheduler.num_preemptions > 0
        for request in requests:
            check("llama", request)


def test_a_resumed_request_scores_the_tokens_it_brings(checkpoints: Path) -> None:
    with tiny_engine(load_tiny("llama", checkpoints)) as engine:
        whole = scored("whole", PROMPT[:9], 12, first_token=9)
        engine.run([whole])
        resumed = scored("resumed", PROMPT[:9], 12, first_token=9)
        resumed.output_token_ids = whole.output_token_ids[:5]
        engine.run([resumed])
    assert resumed.output_token_ids == whole.output_token_ids
    assert (check("llama", resumed).top_token_ids == check("llama", whole).top_token_ids).all()


def test_choices_share_a_prompt_that_only_the_first_scores(checkpoints: Path) -> None:
    with tiny_engine(load_tiny("llama", checkpoints)) as engine:
        first = scored("a", PROMPT, 4)
        second = make_request("b", PROMPT, 4, SamplingParams(temperature=1.5, seed=1), 1)
        second.fork_of = "a"
        second.logprobs = LogprobRecord(first_token=len(PROMPT), num_top=NUM_TOP)
        engine.run([first, second])
        for request in (first, second):
            check("llama", request)
        assert second.num_cached_tokens == 40


def test_a_request_that_does_not_ask_is_told_nothing(checkpoints: Path) -> None:
    with tiny_engine(load_tiny("llama", checkpoints)) as engine:
        runner_plans = _plans(engine)
        engine.run([make_request("a", PROMPT, 3)])
    assert all(row.num_logprobs is None for plan in runner_plans for row in plan.rows)
    assert not any(row.scored_positions for plan in runner_plans for row in plan.rows)


def test_nothing_asked_and_nothing_to_generate_is_refused(checkpoints: Path) -> None:
    from engine.errors import RequestError

    request = Request(
        request_id="a",
        prompt_token_ids=[5],
        sampling=SamplingParams(),
        stop=StopRules(max_tokens=0),
    )
    with (
        tiny_engine(load_tiny("llama", checkpoints)) as engine,
        pytest.raises(RequestError, match="max_tokens is 0"),
    ):
        engine.core.add(request)


def _plans(engine: TinyEngine) -> list[Any]:
    plans: list[Any] = []
    schedule = engine.scheduler.schedule

    def noting() -> Any:
        plan = schedule()
        if plan is not None:
            plans.append(plan)
        return plan

    engine.scheduler.schedule = noting  # type: ignore[method-assign]
    return plans
