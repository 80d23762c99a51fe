"""A KV cache of 8-bit floats: the same tokens as transformers with keys and values rounded."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache

from engine import cache_dtype
from engine.cache_dtype import check_cache_dtype
from engine.errors import EngineError
from kernels.float8 import FLOAT8, as_stored
from tests.engine.golden import expected, generated, own_tokens
from tests.engine.tiny_engine import load_tiny, make_request, tiny_engine
from tests.engine.tiny_models import tiny_model

# Not deepseek_v3, of which transformers caches (and so would round) the latents that keys and
# values are made from.
MAIN = ("llama", "mistral", "qwen3", "qwen3_moe", "gemma3", "gpt_oss")


class RoundingCache(DynamicCache):
    """transformers' cache, whose keys and values are rounded when they are written."""

    def update(self, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        rounded = (as_stored(x, FLOAT8).to(x.dtype) for x in (key, value))
        return super().update(*rounded, *args, **kwargs)


@cache
def rounded(family: str) -> list[list[int]]:
    """What transformers generates with such a cache, each prompt alone."""
    return generated(tiny_model(family), RoundingCache)


@pytest.mark.parametrize("chunk", [7, 64])
@pytest.mark.parametrize("family", MAIN)
def test_tokens_equal_generate_over_rounded_keys_and_values_with_a_cold_and_a_warm_cache(
    family: str, chunk: int, checkpoints: Path
) -> None:
    loaded = load_tiny(family, checkpoints)
    with tiny_engine(loaded, max_num_batched_tokens=chunk, kv_cache_dtype="fp8") as engine:
        assert own_tokens(engine, "cold") == rounded(family)
        hits = engine.scheduler.prefix_cache_hits
        assert own_tokens(engine, "warm") == rounded(family)
        assert engine.scheduler.prefix_cache_hits - hits >= 80, "the second run was not warm"


def test_rounding_changes_answers() -> None:
    assert all(rounded(family) != expected(family) for family in ("llama", "qwen3"))


def test_tokens_equal_when_requests_are_preempted(checkpoints: Path) -> None:
    loaded = load_tiny("qwen3", checkpoints)
    with tiny_engine(
        loaded, num_blocks=15, max_num_batched_tokens=20, kv_cache_dtype="fp8"
    ) as engine:
        assert own_tokens(engine, "tight") == rounded("qwen3")
        assert engine.scheduler.num_preemptions > 0, "nothing was preempted: give fewer blocks"


def test_a_request_with_nan_among_its_keys_is_still_found_out(checkpoints: Path) -> None:
    loaded = load_tiny("llama", checkpoints)
    broken = make_request("broken", [5, 9, 11], 4)
    with tiny_engine(loaded, kv_cache_dtype="fp8") as engine:
        sound = engine.run([make_request("sound", [5, 8, 11], 4)])["sound"]
    with torch.inference_mode():
        loaded.module.get_input_embeddings().weight[9] = float("nan")
    with tiny_engine(loaded, kv_cache_dtype="fp8") as engine:
        neighbour = make_request("neighbour", [5, 8, 11], 4)
        for request in (broken, neighbour):
            engine.core.add(request)
        while engine.core.has_work:
            engine.core.step()
    assert broken.error is not None
    assert neighbour.output_token_ids == sound


def test_formats_and_devices_that_are_not_there_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("auto", "fp8"):
        check_cache_dtype(name, torch.device("cpu"))
    with pytest.raises(EngineError, match="--kv-cache-dtype 'fp8_e5m2': use auto or fp8"):
        check_cache_dtype("fp8_e5m2", torch.device("cpu"))
    device = torch.device("cuda", 1)
    monkeypatch.setattr(cache_dtype, "compute_capability", lambda _: (8, 6))
    check_cache_dtype("auto", device)
    with pytest.raises(EngineError, match=r"--kv-cache-dtype 'fp8': cuda:1 .* 8\.6, .* 8\.9 "):
        check_cache_dtype("fp8", device)
    for capability in ((8, 9), (9, 0), (10, 0)):
        monkeypatch.setattr(cache_dtype, "compute_capability", lambda _, it=capability: it)
        check_cache_dtype("fp8", device)
