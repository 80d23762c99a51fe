"""The deterministic mode: tokens and log probabilities have the same bits in any company.

Fifty runs of the same requests in another order, with other chunks, cache sizes (so that some are
preempted), warm and cold caches, and some of them interrupted and continued elsewhere.
"""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.deterministic import keep_attention
from engine.logprobs import LogprobRecord
from engine.model import packed
from engine.model.invariant import make_invariant
from engine.model.packed import pack_linear_layers
from engine.request import Request, SamplingParams
from kernels.cpu_library import cpu_library, multiplies_int8
from tests.engine.tiny_engine import TinyEngine, load_tiny, make_request, tiny_engine
from tests.engine.tiny_models import VOCAB_SIZE

NUM_REQUESTS = 10
NUM_TOP = 3

Answer = tuple[tuple[int, ...], bytes]


def _requests(done: dict[str, list[int]]) -> list[Request]:
    draw = random.Random(5)
    shared = [draw.randrange(3, VOCAB_SIZE) for _ in range(30)]
    requests = []
    for index in range(NUM_REQUESTS):
        own = [draw.randrange(3, VOCAB_SIZE) for _ in range(draw.randrange(1, 40))]
        prompt = shared + own if index % 3 == 0 else own
        sampling = SamplingParams(
            temperature=0.0 if index % 2 else 1.1, top_p=0.9, seed=draw.getrandbits(64)
        )
        request = make_request(f"r{index}", prompt, draw.randrange(4, 16), sampling)
        request.output_token_ids = list(done.get(request.request_id, []))
        first = 1 if index % 4 == 0 else len(prompt)
        request.logprobs = LogprobRecord(first_token=first, num_top=NUM_TOP)
        requests.append(request)
    return requests


def _answers(engine: TinyEngine, requests: list[Request]) -> dict[str, Answer]:
    engine.run(requests)
    return {request.request_id: _answer(request) for request in requests}


def _answer(request: Request) -> Answer:
    """Tokens, and the bits of the log probabilities of every token since the first asked for."""
    assert request.logprobs is not None
    rows = request.logprobs.rows()
    bits = b"".join(np.ascontiguousarray(part).tobytes() for part in (rows.logprobs, rows.ranks))
    return tuple(request.output_token_ids), bits + rows.top_logprobs.tobytes()


def _run(
    loaded: object, draw: random.Random, tokens: dict[str, list[int]], kv_cache_dtype: str = "auto"
) -> dict[str, Answer]:
    """One run in circumstances of its own."""
    interrupted = draw.random() < 0.3
    done = {name: made[: draw.randrange(len(made))] for name, made in tokens.items()}
    requests = _requests(done if interrupted else {})
    draw.shuffle(requests)
    with tiny_engine(
        loaded,  # type: ignore[arg-type]
        num_blocks=draw.choice((14, 30, 200)),
        block_size=draw.choice((8, 16)),
        max_num_batched_tokens=draw.choice((9, 64, 400)),
        max_num_seqs=draw.choice((2, 5, 64)),
        max_num_scored_tokens=draw.choice((3, 50)),
        kv_cache_dtype=kv_cache_dtype,
    ) as engine:
        if draw.random() < 0.5:  # the cache is warm
            engine.run([make_request("before", list(requests[0].prompt_token_ids), 3)])
        return _answers(engine, requests)


@pytest.mark.parametrize(
    ("family", "dtype", "num_runs", "weights", "kv_cache_dtype", "quantization"),
    [
        ("qwen3", "float32", 16, "packed", "auto", None),
        ("qwen3", "float32", 8, "plain", "auto", None),
        ("llama", "bfloat16", 16, "packed", "auto", None),
        ("llama", "bfloat16", 8, "plain", "auto", None),
        ("qwen3", "float32", 8, "panels", "auto", None),
        ("qwen3", "bfloat16", 8, "panels", "auto", None),
        ("llama", "bfloat16", 6, "panels", "fp8", None),
        ("gemma3", "bfloat16", 4, "packed", "auto", None),
        ("qwen3", "float32", 6, "plain", "fp8", None),
        ("llama", "bfloat16", 6, "packed", "fp8", None),
        ("qwen3", "float32", 6, "packed", "auto", "int8"),
        ("qwen3", "bfloat16", 4, "packed", "auto", "w8a8_int8"),
        ("gemma3", "bfloat16", 4, "packed", "auto", "int8"),
        # Layers of transformers, whose activations and routers must keep it too.
        ("gemma3", "float32", 4, "plain", "auto", None),
        ("stablelm", "float32", 4, "packed", "auto", None),
        ("gpt2", "float32", 4, "plain", "auto", None),
        ("qwen3_moe", "float32", 6, "packed", "auto", None),
        ("qwen3_moe", "bfloat16", 4, "plain", "auto", "int8"),
        ("qwen2_moe", "float32", 4, "plain", "auto", None),
        ("gpt_oss", "bfloat16", 4, "packed", "auto", None),
        ("deepseek_v3", "float32", 4, "plain", "auto", None),
    ],
)
def test_bits_are_the_same_in_fifty_shuffled_and_interrupted_runs(
    family: str,
    dtype: str,
    num_runs: int,
    weights: str,
    kv_cache_dtype: str,
    quantization: str | None,
    checkpoints: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if cpu_library() is None:
        pytest.skip("the CPU kernels are not built: the mode is refused")
    if quantization == "w8a8_int8" and not multiplies_int8():
        pytest.skip("this processor multiplies no integers")
    loaded = load_tiny(family, checkpoints, dtype=dtype, quantization=quantization)
    monkeypatch.setattr(packed, "LEAST_WEIGHTS", 1 if weights == "packed" else 1 << 60)
    if weights != "panels":
        monkeypatch.setattr(packed, "can_be_in_panels", lambda _: False)
    pack_linear_layers(loaded.module)
    keep_attention(loaded.dtype, family)
    make_invariant(loaded.module, family)
    with tiny_engine(loaded, num_blocks=400, kv_cache_dtype=kv_cache_dtype) as engine:
        expected = _answers(engine, _requests({}))
    assert len({tokens for tokens, _ in expected.values()}) == NUM_REQUESTS
    tokens = {name: list(answer[0]) for name, answer in expected.items()}
    for seed in range(num_runs):
        answers = _run(loaded, random.Random(seed), tokens, kv_cache_dtype)
        assert answers == expected, f"run {seed}"


def test_two_threads_give_the_same_bits_in_any_company_too(checkpoints: Path) -> None:
    if cpu_library() is None:
        pytest.skip("the CPU kernels are not built: the mode is refused")
    loaded = load_tiny("qwen3", checkpoints, dtype="bfloat16")
    torch.set_num_threads(2)
    try:
        keep_attention(loaded.dtype, "qwen3")
        make_invariant(loaded.module, "qwen3")
        with tiny_engine(loaded, num_blocks=400) as engine:
            expected = _answers(engine, _requests({}))
        for seed in range(3):
            assert _run(loaded, random.Random(seed), {}) == expected
    finally:
        torch.set_num_threads(1)
