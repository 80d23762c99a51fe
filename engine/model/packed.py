"""Linear layers whose weights lie in the order in which oneDNN reads them.

Owns: which layers get such weights, and the products with them. Must not know: requests, attention.

torch keeps a weight row by row, so each product first copies it piece by piece into another order,
which a prompt of thousands of tokens does not notice and a batch that decodes does: with float32
weights of Qwen3-0.6B's shapes, products of 16 to 256 rows take 0.6 to 0.8 of the time with weights
that were reordered once, those of more rows 0.85 to 0.95, those of fewer as long as before, since
they wait for memory either way (`python -m bench.packed_linear`). Small weights stay as they are:
calling the product costs more than it saves.
"""

import platform
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from engine.model.decoder import FusedDecoderLayer, Multiply, Projection

__all__ = ["LEAST_WEIGHTS", "PackedLinear", "pack", "pack_linear_layers", "packed_product"]

LEAST_WEIGHTS = 1 << 20
"""Numbers in a weight that is worth it."""

_DTYPES = (torch.float32, torch.bfloat16)
_MACHINES = ("x86_64", "AMD64")  # oneDNN has other kernels elsewhere, which nobody has timed here
# The order is chosen for products with so many rows; others work with it too.
_TYPICAL_ROWS = 256


def packed_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`functional.linear` with a weight of `pack`. x: [..., in], bias: [out] or None. Returns
    [..., out].
    """
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


def pack(weight: Tensor) -> Tensor:
    """The weight [out, in] in oneDNN's order, as a tensor that only `packed_product` can read."""
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), _TYPICAL_ROWS)
    return packed


class PackedLinear(nn.Module):
    """Stands for an `nn.Linear`; `multiply` computes it."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.bias = linear.bias
        self.multiply: Multiply = packed_product
        self._weight = pack(linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., in]. Returns [..., out]."""
        return self.multiply(x, self._weight, self.bias)


def pack_linear_layers(model: Any) -> None:
    """Give the large linear layers of `model` packed weights, in place, where this torch and this
    processor have them. A weight that is an embedding too is in memory twice then.
    """
    if not _is_possible(model):
        return
    for module in list(model.modules()):
        if isinstance(module, FusedDecoderLayer):
            module.change_projections(_packed)
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and _is_worth_it(child.weight):
                setattr(module, name, PackedLinear(child))


def _packed(projection: Projection) -> Projection:
    if not _is_worth_it(projection.weight):
        return projection
    return replace(projection, weight=pack(projection.weight), multiply=packed_product)


def _is_worth_it(weight: Tensor) -> bool:
    return weight.dtype in _DTYPES and weight.numel() >= LEAST_WEIGHTS


def _is_possible(model: Any) -> bool:
    weights = list(model.parameters())
    if any(weight.device.type != "cpu" for weight in weights):
        return False
    if platform.machine() not in _MACHINES:
        return False
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if any(weight.dtype == torch.bfloat16 for weight in weights):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return hasattr(torch.ops.mkldnn, "_linear_pointwise")
