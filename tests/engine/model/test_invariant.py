"""Which parts of a model get a deterministic form, and what is refused."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from engine.errors import ModelRefusedError
from engine.model import packed
from engine.model.decoder import FusedDecoderLayer
from engine.model.invariant import InvariantLinear, make_invariant
from engine.model.invariant_product import InvariantProduct
from engine.model.packed import PackedLinear, pack_linear_layers
from tests.engine.tiny_engine import load_tiny


@pytest.mark.parametrize("family", ["llama", "phi3"])
def test_every_linear_layer_of_ours_gets_its_form(family: str, checkpoints: Path) -> None:
    module = load_tiny(family, checkpoints).module
    make_invariant(module, family)
    assert not [m for m in module.modules() if type(m) is nn.Linear]
    assert [m for m in module.modules() if isinstance(m, InvariantLinear)]


@pytest.mark.parametrize("is_replaced", [True, False])
def test_packed_weights_get_it_too(
    is_replaced: bool, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "LEAST_WEIGHTS", 1)
    monkeypatch.setattr(packed, "can_be_in_panels", lambda _: False)
    module = load_tiny("qwen3", checkpoints, is_replaced=is_replaced).module
    pack_linear_layers(module)
    make_invariant(module, "qwen3")
    products = [m.multiply for m in module.modules() if isinstance(m, PackedLinear)]
    for layer in module.modules():
        if isinstance(layer, FusedDecoderLayer):
            products += [layer._parts.qkv.multiply, layer._parts.mlp.down.multiply]
    assert len(products) >= 3
    assert all(isinstance(product, InvariantProduct) for product in products)


def test_a_model_that_computes_what_has_no_such_form_is_refused_by_name() -> None:
    class Model(nn.Module):
        base_model_prefix = "model"

        def __init__(self) -> None:
            super().__init__()
            self.model = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.einsum("ij,kj->ik", x, self.model.weight)

    model = Model()
    make_invariant(model, "some/m")
    with pytest.raises(ModelRefusedError, match=r"cannot run some/m: its layers call .* einsum"):
        model(torch.ones(3, 4))


def test_another_device_is_refused_by_name() -> None:
    with pytest.raises(ModelRefusedError, match="on meta: only the CPU"):
        make_invariant(nn.Linear(4, 4, device="meta"), "m")
