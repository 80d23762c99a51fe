"""Weights in panels: exact, and only where they pay.

What a model with such weights generates is in tests/engine/test_golden.py.
"""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.model import panels
from engine.model.experts import Experts
from engine.model.packed import pack_linear_layers
from engine.model.panels import (
    PanelLayer,
    is_bfloat16,
    merge_layers,
    multiplies_bfloat16,
    panel_layer,
)
from kernels.panel_linear.int8 import quantize
from kernels.panel_linear.weight import PanelWeights, to_panels
from tests.engine.tiny_engine import load_tiny

CPU = torch.device("cpu")

needs_panels = pytest.mark.skipif(
    not panels.are_compiled(CPU), reason="the CPU kernels are not built, or portable"
)


@pytest.fixture(autouse=True)
def _without_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "computes_bfloat16", lambda _: False)


def rounded(*shape: int) -> Tensor:
    """Float32 numbers that bfloat16 holds."""
    generator = torch.Generator().manual_seed(len(shape) + shape[-1])
    return torch.randn(*shape, generator=generator).bfloat16().float()


@pytest.mark.parametrize("shape", [(1, 1), (64, 3), (1025, 4), (3, 70, 5)])
def test_one_number_more_exact_than_bfloat16_is_seen(shape: tuple[int, ...]) -> None:
    weight = rounded(*shape)
    assert is_bfloat16(weight)
    weight[..., -1, -1] = 1 + 2**-9
    assert not is_bfloat16(weight)


def test_only_float32_is_narrowed() -> None:
    assert not is_bfloat16(torch.ones(2, 2, dtype=torch.float64))
    assert not is_bfloat16(torch.ones(2, 2, dtype=torch.float16))
    assert not is_bfloat16(torch.full((2, 2), 1e-41))


@needs_panels
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_products_are_those_of_linear(
    dtype: torch.dtype, has_bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panels, "LEAST_WEIGHTS", 1)
    weight, x = rounded(70, 48) / 4, rounded(2, 5, 48)
    bias = rounded(70) if has_bias else None
    layer = panel_layer(weight.to(dtype), None if bias is None else bias.to(dtype))
    assert layer is not None
    assert layer.is_invariant
    assert layer.panel_weights.panels.dtype == torch.bfloat16
    made = layer(x.to(dtype))
    assert made.dtype == dtype
    expected = functional.linear(
        x.double(), weight.double(), bias if bias is None else bias.double()
    )
    torch.testing.assert_close(made, expected.to(dtype))


@needs_panels
def test_a_weight_that_does_not_gain_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "LEAST_WEIGHTS", 64 * 64)
    assert panel_layer(rounded(64, 64), None) is not None
    assert panel_layer(rounded(64, 63), None) is None, "too small"
    assert panel_layer(rounded(64, 64) + 2**-12, None) is None, "not exact"
    assert panel_layer(rounded(64, 64).half(), None) is None
    assert panel_layer(rounded(4, 4).bfloat16(), None) is not None
    monkeypatch.setattr(panels, "computes_bfloat16", lambda _: True)
    assert panel_layer(rounded(4, 4).bfloat16(), None) is None, "torch has units for it"


def test_where_they_are_not_compiled_nothing_is_in_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    assert panel_layer(torch.ones(2048, 1024, device="meta"), None) is None
    for name in ("portable", "reference"):
        monkeypatch.setattr(panels, "instruction_set", lambda name=name: name)
        assert panel_layer(torch.ones(2048, 1024).bfloat16(), None) is None
        assert not multiplies_bfloat16(CPU)
    monkeypatch.setattr(panels, "instruction_set", lambda: "avx2")
    assert multiplies_bfloat16(CPU)


@pytest.mark.parametrize("has_bias", [(False, False), (True, True), (False, True)])
@pytest.mark.parametrize("kind", ["int8", "bfloat16"])
def test_merged_layers_compute_what_they_did_apart(kind: str, has_bias: tuple[bool, bool]) -> None:
    def weights(linear: nn.Linear) -> PanelWeights:
        if kind == "int8":
            return quantize(linear.weight)
        return to_panels(linear.weight[None], torch.bfloat16)

    layers = []
    for index, biased in enumerate(has_bias):
        linear = nn.Linear(20, 30 + index, bias=biased).requires_grad_(False)
        layers.append(PanelLayer(weights(linear), linear.bias))
    x = torch.randn(5, 20)
    merged = merge_layers(layers)
    assert (merged.bias is None) == (not any(has_bias))
    torch.testing.assert_close(merged(x), torch.cat([layer(x) for layer in layers], dim=1))


@needs_panels
def test_an_embedding_that_is_the_head_too_is_kept_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(panels, "LEAST_WEIGHTS", 1)
    model = nn.ModuleDict({"embed": nn.Embedding(64, 8), "head": nn.Linear(8, 64, bias=False)})
    model.requires_grad_(False)
    model["embed"].weight.data = rounded(64, 8)
    model["head"].weight = model["embed"].weight
    assert pack_linear_layers(model) == -64 * 8 * 2
    assert isinstance(model["head"], PanelLayer)
    model["other"] = nn.Linear(8, 64, bias=False).requires_grad_(False)
    model["other"].weight.data = rounded(64, 8)
    assert pack_linear_layers(model) == 64 * 8 * (4 - 2)


def test_experts_keep_what_bfloat16_holds_in_it(checkpoints: Path) -> None:
    modules = load_tiny("mixtral", checkpoints, is_replaced=False).module.modules()
    experts = next(each for each in modules if hasattr(each, "gate_up_proj"))
    made = Experts(copy.deepcopy(experts))
    experts.gate_up_proj.data = experts.gate_up_proj.data.bfloat16().float()
    narrow = Experts(experts)
    assert made.products[0].weights.panels.dtype == torch.float32
    assert narrow.products[0].weights.panels.dtype == torch.bfloat16
    assert narrow.products[1].weights.panels.dtype == torch.float32
