"""The deterministic form of a loaded model.

Owns: which of its parts get which form, refusals. Must not know: how that form computes
(`invariant_product`, `invariant_functions`), requests, attention and sampling (their kernels are
invariant anyway).
"""

from dataclasses import replace
from functools import wraps
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from engine.errors import ModelRefusedError
from engine.model.decoder import FusedDecoder, FusedDecoderLayer
from engine.model.invariant_functions import InvariantFunctions
from engine.model.invariant_product import InvariantProduct
from engine.model.layer_parts import Multiply, Projection, SparseMlp
from engine.model.packed import PackedLinear, packed_product
from engine.model.panels import PanelLayer

__all__ = ["InvariantLinear", "make_invariant"]


class InvariantLinear(nn.Module):
    """Stands for an `nn.Linear`, whose weights it shares."""

    def __init__(self, linear: nn.Linear, product: Multiply) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._product = product

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., in]. Returns [..., out]."""
        return self._product(x, self.weight, self.bias)


def make_invariant(model: Any, name: str) -> None:
    """Give all that `model` computes its deterministic form, in place.

    Layers with weights in panels have that form already, or are refused. Raises ModelRefusedError,
    with `name` for the model, for them and on a device where no such form exists. A model that
    keeps layers of transformers raises it when it first computes what has no such form.
    """
    weights = list(model.parameters())
    if any(weight.device.type != "cpu" for weight in weights):
        raise ModelRefusedError(
            f"--deterministic cannot run {name} on {weights[0].device.type}: only the CPU has "
            "matrix products that do not depend on the batch; use --device cpu or leave it out"
        )
    if any(isinstance(m, PanelLayer) and not m.is_invariant for m in model.modules()):
        raise ModelRefusedError(
            f"--deterministic cannot run {name} with --quantization int8 here: only the compiled "
            "CPU kernels have products with int8 weights that do not depend on the batch; install "
            "a C++ compiler and headrace again, or leave one of the two out"
        )
    products: dict[Multiply, Multiply] = {packed_product: InvariantProduct(packed_product)}
    functions = InvariantFunctions(name)
    decoder = getattr(model, model.base_model_prefix)
    if isinstance(decoder, FusedDecoder):
        products[functional.linear] = InvariantProduct()
        _replace_linears(model, products[functional.linear])
        _guard(decoder.rotary_emb, functions)
        for block in _mixtures(model):
            _guard(block, functions)
    else:
        _guard(model, functions)

    def changed(projection: Projection) -> Projection:
        multiply = products.get(projection.multiply, projection.multiply)
        return replace(projection, multiply=multiply)

    for module in model.modules():
        if isinstance(module, FusedDecoderLayer):
            module.change_projections(changed)
        if isinstance(module, PackedLinear):
            module.multiply = products[module.multiply]


def _mixtures(model: Any) -> list[SparseMlp]:
    return [module for module in model.modules() if isinstance(module, SparseMlp)]


def _replace_linears(model: Any, product: Multiply) -> None:
    """All but those of mixtures, which are guarded."""
    guarded = {module for block in _mixtures(model) for module in block.modules()}
    for module in [module for module in model.modules() if module not in guarded]:
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, name, InvariantLinear(child, product))


def _guard(module: Any, functions: InvariantFunctions) -> None:
    """Have all that `module` computes go through `functions`."""
    forward = module.forward

    @wraps(forward)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        with functions:
            return forward(*args, **kwargs)

    module.forward = guarded
