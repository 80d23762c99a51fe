from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.errors import ModelRefusedError
from engine.model.replace import replace_decoder
from engine.self_check import check_paged_attention, own_logits
from tests.engine.tiny_engine import load_tiny
from tests.engine.tiny_models import FAMILIES, REPLACED


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_models_that_run_pass(family: str, dtype: str, checkpoints: Path) -> None:
    loaded = load_tiny(family, checkpoints, dtype, is_replaced=False)
    expected = own_logits(loaded)
    assert replace_decoder(loaded.module, loaded.device) == (family in REPLACED)
    check_paged_attention(loaded, expected, family)


def _see_the_token_before(_: Any, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """What convolutions and recurrences do: mix in something outside of attention."""
    hidden = inputs[0]
    return (hidden + torch.cat([torch.zeros_like(hidden[:, :1]), hidden[:, :-1]], dim=1),)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_model_that_remembers_outside_of_attention_is_refused(
    dtype: str, checkpoints: Path
) -> None:
    loaded = load_tiny("llama", checkpoints, dtype, is_replaced=False)
    loaded.module.model.layers[0].mlp.register_forward_pre_hook(_see_the_token_before)
    with pytest.raises(
        ModelRefusedError, match="cannot run toy: LlamaForCausalLM does not compute"
    ):
        check_paged_attention(loaded, own_logits(loaded), "toy")


def test_a_replacement_that_computes_something_else_is_refused(checkpoints: Path) -> None:
    loaded = load_tiny("qwen2", checkpoints, is_replaced=False)
    expected = own_logits(loaded)
    replace_decoder(loaded.module, loaded.device)
    loaded.module.model.layers[1]._parts.qkv.bias.add_(0.5)
    with pytest.raises(ModelRefusedError, match="cannot run toy"):
        check_paged_attention(loaded, expected, "toy")


def test_rounded_rows_may_differ_by_more(checkpoints: Path) -> None:
    """A last bit decides to which integer a number in the middle is rounded."""
    loaded = load_tiny("llama", checkpoints, is_replaced=False)
    expected = own_logits(loaded)
    expected[0] += 0.03 * expected.norm()
    with pytest.raises(ModelRefusedError, match="differ by 3%"):
        check_paged_attention(loaded, expected, "toy")
    check_paged_attention(replace(loaded, rounds_rows=True), expected, "toy")
    expected[0] += 0.5 * expected.norm()
    with pytest.raises(ModelRefusedError, match="cannot run toy"):
        check_paged_attention(replace(loaded, rounds_rows=True), expected, "toy")


def test_an_overflowing_model_runs_with_a_warning(
    checkpoints: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_tiny("llama", checkpoints, is_replaced=False)
    loaded.module.lm_head.weight.data[3] = float("inf")
    check_paged_attention(loaded, own_logits(loaded), "toy")
    assert "toy: its logits overflow" in caplog.text


def test_a_very_short_context_is_enough(checkpoints: Path) -> None:
    loaded = replace(load_tiny("llama", checkpoints, is_replaced=False), max_model_len=3)
    check_paged_attention(loaded, own_logits(loaded), "toy")
