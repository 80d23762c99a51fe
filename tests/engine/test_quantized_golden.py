"""With int8 weights our greedy tokens are those of transformers with weights that were rounded so.

The other model's linear layers hold, as float32, what the integers and scales stand for.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from engine.build import build_engine
from engine.config import CacheConfig, EngineConfig, ModelConfig
from kernels.cpu_library import cpu_library
from kernels.panel_linear.int8 import quantize
from tests.engine.golden import expected, generated, own_tokens
from tests.engine.tiny_engine import load_tiny, tiny_engine
from tests.engine.tiny_models import tiny_model

MIXTURES = ("qwen3_moe", "mixtral", "qwen2_moe", "gpt_oss", "deepseek_v3")


def dequantized_model(family: str) -> Any:
    """transformers' own model with each linear layer's and expert's weights rounded to int8 and
    back.
    """
    plain = tiny_model(family)
    model = copy.deepcopy(plain)
    for name, linear in plain.named_modules():
        if isinstance(linear, nn.Linear):
            rounded = nn.Parameter(quantize(linear.weight.detach()).dense())
            model.get_submodule(name).weight = rounded  # the embedding keeps its own
    for name, stack in model.named_parameters():
        if ".experts." in name and stack.dim() == 3:
            # One scale for an output: gpt-oss keeps outputs in the last dimension.
            is_transposed = plain.get_submodule(name.rpartition(".")[0]).is_transposed
            for weight in stack.data:
                rows = weight.t() if is_transposed else weight
                rows.copy_(quantize(rows).dense())
    return model


@pytest.mark.parametrize("is_replaced", [True, False])
@pytest.mark.parametrize("family", ["llama", "qwen3", "qwen2", "phi3", "gemma3", *MIXTURES])
def test_tokens_equal_generate_with_dequantized_weights(
    family: str, is_replaced: bool, checkpoints: Path
) -> None:
    wanted = generated(dequantized_model(family))
    loaded = load_tiny(family, checkpoints, is_replaced=is_replaced, quantization="int8")
    with tiny_engine(loaded, max_num_batched_tokens=17) as engine:
        assert own_tokens(engine, "cold") == wanted
        assert own_tokens(engine, "warm") == wanted


def test_some_answers_are_not_those_of_the_float_weights() -> None:
    """So the tests above see whether weights are rounded at all."""
    families = ("llama", "qwen3", "qwen2", "phi3")
    assert any(generated(dequantized_model(family)) != expected(family) for family in MIXTURES)
    assert any(generated(dequantized_model(family)) != expected(family) for family in families)


def test_a_whole_engine_runs_with_int8_weights_and_says_so(random_folder: Path) -> None:
    def fingerprint(quantization: str | None, *, deterministic: bool = False) -> str:
        parts = build_engine(
            EngineConfig(
                model=ModelConfig(model=str(random_folder), quantization=quantization),
                cache=CacheConfig(num_blocks=256),
                deterministic=deterministic,
            )
        )
        parts.core.shutdown()
        assert parts.info.quantization == quantization
        return parts.info.fingerprint

    modes = [(None, False), ("int8", False)]
    if cpu_library() is not None:
        modes.append(("int8", True))
    found = {fingerprint(quantization, deterministic=flag) for quantization, flag in modes}
    assert len(found) == len(modes)
