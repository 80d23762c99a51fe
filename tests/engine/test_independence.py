"""A request's tokens do not depend on who else is in the batch, in float32."""

import random
from pathlib import Path

import pytest

from engine.request import Request, SamplingParams
from tests.engine.tiny_engine import load_tiny, make_request, tiny_engine
from tests.engine.tiny_models import VOCAB_SIZE

NUM_REQUESTS = 41  # one and 40 neighbours


def _sampling(index: int, draw: random.Random) -> SamplingParams:
    """Every second request is greedy; the others use every parameter there is, in some mixture."""
    if index % 2 == 0:
        return SamplingParams(temperature=0.0)
    return SamplingParams(
        temperature=draw.choice([0.5, 1.0, 1.7]),
        top_p=draw.choice([1.0, 0.9, 0.5]),
        top_k=draw.choice([0, 20, 5]),
        min_p=draw.choice([0.0, 0.05]),
        repetition_penalty=draw.choice([1.0, 1.3]),
        presence_penalty=draw.choice([0.0, 0.7]),
        frequency_penalty=draw.choice([0.0, 0.4]),
        logit_bias=((draw.randrange(VOCAB_SIZE), 2.5),) if index % 3 == 0 else (),
        min_tokens=3 if index % 5 == 0 else 0,
        banned_token_ids=(2, 7),
        seed=draw.getrandbits(64),
    )


def _requests() -> list[Request]:
    draw = random.Random(11)
    shared = [draw.randrange(3, VOCAB_SIZE) for _ in range(20)]
    requests = []
    for index in range(NUM_REQUESTS):
        own = [draw.randrange(3, VOCAB_SIZE) for _ in range(draw.randrange(1, 30))]
        prompt = shared + own if index % 4 == 0 else own
        num_tokens = draw.randrange(4, 14)
        requests.append(
            make_request(f"r{index}", prompt, num_tokens, _sampling(index, draw), index % 3)
        )
    return requests


@pytest.mark.parametrize(
    ("family", "kv_cache_dtype"), [("qwen3", "auto"), ("qwen3_moe", "auto"), ("qwen3", "fp8")]
)
def test_tokens_are_the_same_alone_and_among_shuffled_neighbours(
    family: str, kv_cache_dtype: str, checkpoints: Path
) -> None:
    loaded = load_tiny(family, checkpoints)
    alone: dict[str, list[int]] = {}
    for request in _requests():
        with tiny_engine(loaded, kv_cache_dtype=kv_cache_dtype) as engine:
            alone |= engine.run([request])
    assert len({tuple(tokens) for tokens in alone.values()}) > NUM_REQUESTS // 2
    for seed in range(3):
        requests = _requests()
        random.Random(seed).shuffle(requests)
        with tiny_engine(
            loaded, num_blocks=80, max_num_batched_tokens=48, kv_cache_dtype=kv_cache_dtype
        ) as engine:
            assert engine.run(requests) == alone


def test_a_seed_repeats_itself_and_another_seed_or_choice_does_not(checkpoints: Path) -> None:
    def run(seed: int, choice_index: int = 0) -> list[int]:
        sampling = SamplingParams(temperature=1.5, seed=seed)
        request = make_request("r", [5, 6, 7], 12, sampling, choice_index)
        with tiny_engine(loaded) as engine:
            return engine.run([request])["r"]

    loaded = load_tiny("llama", checkpoints)
    first = run(1)
    assert run(1) == first
    assert run(2) != first
    assert run(1, choice_index=1) != first


def test_a_resumed_request_continues_as_if_it_had_never_stopped(checkpoints: Path) -> None:
    sampling = SamplingParams(temperature=1.2, seed=9, frequency_penalty=0.5, min_tokens=10)
    loaded = load_tiny("llama", checkpoints)
    with tiny_engine(loaded) as engine:
        whole = engine.run([make_request("whole", [9, 8, 7], 12, sampling)])["whole"]
        resumed = make_request("resumed", [9, 8, 7], 12, sampling)
        resumed.output_token_ids = whole[:5]
        assert engine.run([resumed])["resumed"] == whole
