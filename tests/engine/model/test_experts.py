"""Experts one after the other compute what transformers' own modules compute."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.model import experts as module_of_experts
from engine.model.experts import (
    Experts,
    GroupedProduct,
    PanelProduct,
    replace_experts,
    waits_for_the_device,
)
from tests.engine.tiny_engine import load_tiny
from tests.engine.tiny_models import tiny_model

MIXTURES = ("qwen3_moe", "mixtral", "qwen2_moe", "gpt_oss", "deepseek_v3")


def experts_of(model: nn.Module) -> dict[str, Any]:
    """The experts of a model's layers, by name."""
    return {name: module for name, module in model.named_modules() if name.endswith(".experts")}


def replaced(family: str, checkpoints: Path, dtype: str = "auto") -> Any:
    """A model of transformers in which the experts alone are ours."""
    module = load_tiny(family, checkpoints, dtype, is_replaced=False).module
    replace_experts(module)
    return module


def choices(num_rows: int, num_experts: int, top_k: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(num_rows)
    scores = torch.rand(num_rows, num_experts, generator=generator)
    weights, index = scores.topk(top_k)
    return index, weights


@pytest.mark.parametrize("family", MIXTURES)
@pytest.mark.parametrize("is_panels", [True, False])
def test_outputs_are_those_of_transformers(
    family: str, is_panels: bool, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_of_experts, "_is_reference", lambda *_: not is_panels)
    module = replaced(family, checkpoints)
    originals = experts_of(tiny_model(family))
    ours = experts_of(module)
    assert ours.keys() == originals.keys()
    for name, experts in ours.items():
        assert isinstance(experts, Experts)
        assert not list(experts.parameters())
        kind = PanelProduct if is_panels else GroupedProduct
        assert all(isinstance(product, kind) for product in experts.products)
        for num_rows in (0, 1, 2, 33):
            x = torch.randn(num_rows, 32, generator=torch.Generator().manual_seed(num_rows))
            index, weights = choices(num_rows, 4, 2)
            with torch.inference_mode():
                expected = originals[name](x, index, weights)
                torch.testing.assert_close(experts(x, index, weights), expected)


def test_experts_that_nobody_chose_take_no_part(checkpoints: Path) -> None:
    experts = next(iter(experts_of(replaced("qwen3_moe", checkpoints)).values()))
    for product in experts.products:
        product.weights.panels[3] = torch.nan
    index = torch.tensor([[0, 1], [2, 0]])
    made = experts(torch.ones(2, 32), index, torch.full((2, 2), 0.5))
    assert made.isfinite().all()


def test_a_row_has_its_own_output_in_any_order(checkpoints: Path) -> None:
    experts = next(iter(experts_of(replaced("qwen3_moe", checkpoints)).values()))
    x = torch.randn(64, 32, generator=torch.Generator().manual_seed(1))
    index, weights = choices(64, 4, 2)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(2))
    made = experts(x, index, weights)
    torch.testing.assert_close(experts(x[order], index[order], weights[order]), made[order])


def test_modules_of_transformers_5_17_lack_a_flag(checkpoints: Path) -> None:
    module = load_tiny("qwen3_moe", checkpoints, is_replaced=False).module
    for experts in experts_of(module).values():
        vars(experts).pop("has_post_expert_norm", None)
    assert len(replace_experts(module)) == 2


def test_other_modules_and_other_devices_keep_their_own(checkpoints: Path) -> None:
    assert replace_experts(load_tiny("llama", checkpoints).module) == []
    module = load_tiny("qwen3_moe", checkpoints, is_replaced=False).module.to("meta")
    assert replace_experts(module) == []
    module = load_tiny("qwen3_moe", checkpoints, is_replaced=False).module
    assert [experts.num_experts for experts in replace_experts(module)] == [4, 4]
    assert replace_experts(module) == []


def test_units_for_bfloat16_are_used_where_nothing_else_is_asked_for(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_of_experts, "computes_bfloat16", lambda _: True)

    def num_replaced(dtype: str, **options: bool) -> int:
        module = load_tiny("qwen3_moe", checkpoints, dtype, is_replaced=False).module
        return len(replace_experts(module, **options))

    assert num_replaced("bfloat16") == 0
    assert num_replaced("float32") == 2
    assert num_replaced("bfloat16", is_deterministic=True) == 2
    assert num_replaced("bfloat16", quantization="int8") == 2


def test_half_precision_adds_up_in_float32(checkpoints: Path) -> None:
    name, experts = next(iter(experts_of(replaced("qwen3_moe", checkpoints, "bfloat16")).items()))
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(1)).bfloat16()
    index, weights = choices(5, 4, 2)
    made = experts(x, index, weights.bfloat16())
    assert made.dtype == torch.bfloat16
    expected = experts_of(tiny_model("qwen3_moe"))[name](x.float(), index, weights)
    torch.testing.assert_close(made.float(), expected, rtol=0.05, atol=0.05)


def test_float16_has_no_panels(checkpoints: Path) -> None:
    experts = next(iter(experts_of(replaced("qwen3_moe", checkpoints, "float16")).values()))
    assert all(isinstance(product, GroupedProduct) for product in experts.products)
    index, weights = choices(5, 4, 2)
    assert experts(torch.ones(5, 32).half(), index, weights.half()).dtype == torch.float16


def test_a_device_is_not_waited_for(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor without memory cannot be read."""
    module = load_tiny("qwen3_moe", checkpoints, is_replaced=False).module.to("meta")
    ends = []

    def grouped_linear(x: Tensor, weight: Tensor, group_ends: Tensor, bias: None) -> Tensor:
        ends.append(group_ends)
        return x.new_empty(x.shape[0], weight.shape[1])

    monkeypatch.setattr(module_of_experts, "resolve", lambda *_: grouped_linear)
    monkeypatch.setattr(module_of_experts, "_activation", lambda *_: lambda x: x.chunk(2, -1)[0])
    experts = Experts(next(iter(experts_of(module).values())))
    index, weights = (part.to("meta") for part in choices(5, 4, 2))
    assert experts(torch.ones(5, 32, device="meta"), index, weights).shape == (5, 32)
    assert [(each.shape, each.dtype) for each in ends] == [((4,), torch.int32)] * 2


def test_torchs_own_grouped_product_stays_where_it_does_not_wait() -> None:
    assert not waits_for_the_device(torch.bfloat16, (9, 0))
    assert not waits_for_the_device(torch.bfloat16, (10, 0))
    assert waits_for_the_device(torch.bfloat16, (8, 0))
    assert waits_for_the_device(torch.bfloat16, (12, 0))
    assert waits_for_the_device(torch.float16, (9, 0))
    assert waits_for_the_device(torch.float32, (10, 0))
