"""Packed weights: the same products, only where they pay, and a model that computes as before."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from engine.model import packed as module
from engine.model.decoder import FusedDecoderLayer
from engine.model.packed import PackedLinear, pack, pack_linear_layers, packed_product
from tests.engine.tiny_engine import load_tiny

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN"
)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shape", [(0, 48), (1, 48), (70, 48), (1, 0, 48), (2, 3, 48)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_products_are_those_of_linear(
    dtype: torch.dtype, shape: tuple[int, ...], has_bias: bool
) -> None:
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no bfloat16 in oneDNN")
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(80, 48, generator=generator).to(dtype)
    bias = torch.randn(80, generator=generator).to(dtype) if has_bias else None
    x = torch.randn(shape, generator=generator).to(dtype)
    expected = functional.linear(x, weight, bias)
    torch.testing.assert_close(packed_product(x, pack(weight), bias), expected)


def test_small_weights_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 16, bias=False))
    monkeypatch.setattr(module, "LEAST_WEIGHTS", 8 * 16)
    x = torch.randn(5, 8)
    with torch.inference_mode():
        expected = model(x)
        pack_linear_layers(model)
        assert type(model[0]) is nn.Linear
        assert isinstance(model[1], PackedLinear)
        torch.testing.assert_close(model(x), expected)


@pytest.mark.parametrize("is_fused", [True, False])
def test_all_large_layers_are_packed(
    is_fused: bool, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What such a model generates is in tests/engine/test_golden.py."""
    monkeypatch.setattr(module, "LEAST_WEIGHTS", 1)
    monkeypatch.setattr(module, "can_be_in_panels", lambda _: False)
    model = load_tiny("qwen3", checkpoints, is_replaced=is_fused).module
    pack_linear_layers(model)
    assert not [each for each in model.modules() if type(each) is nn.Linear]
    layers = [each for each in model.modules() if isinstance(each, FusedDecoderLayer)]
    assert bool(layers) == is_fused
    for layer in layers:
        parts = layer._parts
        for product in (parts.qkv, parts.output, parts.mlp.gate_up, parts.mlp.down):
            assert product.weight.is_mkldnn


def test_other_processors_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    model = nn.Sequential(nn.Linear(1024, 1024))
    pack_linear_layers(model)
    assert type(model[0]) is nn.Linear


def test_a_device_without_it_is_left_alone() -> None:
    model = nn.Linear(2048, 1024, device="meta")
    holder = nn.Sequential(model)
    pack_linear_layers(holder)
    assert holder[0] is model
