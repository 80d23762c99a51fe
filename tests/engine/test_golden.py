"""Our greedy tokens are those of transformers' `generate`, one by one, in float32."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.model import packed, panels
from engine.model.packed import pack_linear_layers
from tests.engine.golden import expected, generated, own_tokens
from tests.engine.tiny_engine import load_tiny, tiny_engine
from tests.engine.tiny_models import FAMILIES, REPLACED, tiny_model

CPU = torch.device("cpu")

# The families of the big models people run: all chunk and block sizes. Others: one of each.
MAIN = (
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "gemma3",
    "phi3",
    "gpt_oss",
    "deepseek_v3",
)
OTHERS = tuple(sorted(FAMILIES.keys() - set(MAIN)))


@pytest.mark.parametrize("block_size", [8, 16])
@pytest.mark.parametrize("chunk", [1, 7, 64])
@pytest.mark.parametrize("family", MAIN)
def test_tokens_equal_generate_with_a_cold_and_a_warm_cache(
    family: str, chunk: int, block_size: int, checkpoints: Path
) -> None:
    with tiny_engine(
        load_tiny(family, checkpoints), block_size=block_size, max_num_batched_tokens=chunk
    ) as engine:
        assert own_tokens(engine, "cold") == expected(family)
        hits = engine.scheduler.prefix_cache_hits
        assert own_tokens(engine, "warm") == expected(family)
        assert engine.scheduler.prefix_cache_hits - hits >= 80, "the second run was not warm"


@pytest.mark.parametrize("family", OTHERS)
def test_tokens_equal_generate_for_other_families(family: str, checkpoints: Path) -> None:
    with tiny_engine(load_tiny(family, checkpoints), max_num_batched_tokens=17) as engine:
        assert own_tokens(engine, "cold") == expected(family)
        assert own_tokens(engine, "warm") == expected(family)


@pytest.mark.parametrize("family", MAIN)
def test_tokens_equal_generate_when_requests_are_preempted(family: str, checkpoints: Path) -> None:
    with tiny_engine(
        load_tiny(family, checkpoints), num_blocks=15, block_size=8, max_num_batched_tokens=20
    ) as engine:
        assert own_tokens(engine, "tight") == expected(family)
        assert engine.scheduler.num_preemptions > 0, "nothing was preempted: give fewer blocks"


@pytest.mark.parametrize("family", sorted(REPLACED))
def test_tokens_equal_generate_with_the_models_own_layers(family: str, checkpoints: Path) -> None:
    """What every model falls back to whose decoder no rule knows."""
    loaded = load_tiny(family, checkpoints, is_replaced=False)
    with tiny_engine(loaded, max_num_batched_tokens=17) as engine:
        assert own_tokens(engine, "cold") == expected(family)
        assert own_tokens(engine, "warm") == expected(family)


@pytest.mark.parametrize("is_replaced", [True, False])
@pytest.mark.parametrize("family", sorted(REPLACED))
def test_tokens_equal_generate_with_packed_weights(
    family: str, is_replaced: bool, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "LEAST_WEIGHTS", 1)
    loaded = load_tiny(family, checkpoints, is_replaced=is_replaced)
    pack_linear_layers(loaded.module)
    with tiny_engine(loaded, max_num_batched_tokens=17) as engine:
        assert own_tokens(engine, "cold") == expected(family)
        assert own_tokens(engine, "warm") == expected(family)


@pytest.mark.skipif(not panels.are_compiled(CPU), reason="the CPU kernels are not built")
@pytest.mark.parametrize("is_replaced", [True, False])
@pytest.mark.parametrize("family", sorted(MAIN))
def test_tokens_equal_generate_with_bfloat16_weights_in_panels(
    family: str, is_replaced: bool, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Computed in float32 from a checkpoint that bfloat16 holds exactly."""
    monkeypatch.setattr(panels, "LEAST_WEIGHTS", 1)
    model = copy.deepcopy(tiny_model(family))
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16().float()
    rounded = checkpoints / "rounded"
    model.save_pretrained(rounded / family)
    loaded = load_tiny(family, rounded, is_replaced=is_replaced)
    pack_linear_layers(loaded.module)
    assert not [each for each in loaded.module.modules() if type(each) is nn.Linear]
    wanted = generated(model)
    with tiny_engine(loaded, max_num_batched_tokens=17) as engine:
        assert own_tokens(engine, "cold") == wanted
        assert own_tokens(engine, "warm") == wanted


def test_tokens_equal_generate_when_steps_are_planned_ahead(checkpoints: Path) -> None:
    """Plans then leave before the tokens of the step before them are known to the scheduler."""
    with tiny_engine(
        load_tiny("qwen3", checkpoints), max_num_batched_tokens=20, max_in_flight=2
    ) as engine:
        assert own_tokens(engine, "ahead") == expected("qwen3")


def test_answers_depend_on_the_model() -> None:
    answers = {family: expected(family) for family in MAIN}
    assert len({str(answer) for answer in answers.values()}) == len(MAIN)
    for family, answer in answers.items():
        assert len({token for tokens in answer for token in tokens}) >= 6, f"{family} is too dull"
