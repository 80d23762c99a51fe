"""Linear layers whose weights lie in the order in which they are multiplied.

Owns: which order each layer's weights get, and oneDNN's. Must not know: panels, requests,
attention.

Panels (`panels.py`) come first, where they are worth it, then the order in which oneDNN reads.
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

from engine.model.decoder import FusedDecoder, FusedDecoderLayer
from engine.model.layer_parts import LayerParts, Multiply, Product, Projection
from engine.model.panels import LEAST_WEIGHTS, PanelLayer, can_be_in_panels, panel_layer

__all__ = ["PackedLinear", "pack", "pack_linear_layers", "packed_product"]

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
    """Stands for an `nn.Linear`; `multiply` computes it with the weight of `packed`."""

    def __init__(self, packed: Projection) -> None:
        super().__init__()
        self.bias = packed.bias
        self.multiply: Multiply = packed.multiply
        self._weight = packed.weight

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., in]. Returns [..., out]."""
        return self.multiply(x, self._weight, self.bias)


def pack_linear_layers(model: Any) -> int:
    """Give the linear layers of `model` the form in which they are multiplied fastest, in place.
    Returns by how many bytes its weights became smaller; a layer that shares the weights of an
    embedding gets its own, which are more.
    """
    embeddings = {id(each.weight) for each in model.modules() if isinstance(each, nn.Embedding)}
    saved = 0

    decoder = getattr(model, getattr(model, "base_model_prefix", ""), None)
    is_whole = isinstance(decoder, FusedDecoder) and _fits_in_panels(decoder.parts[0])

    def changed(projection: Projection) -> Product:
        nonlocal saved
        weight = projection.weight
        panels = panel_layer(weight, projection.bias, is_whole=is_whole)
        if panels is None and not _is_worth_it(weight):
            return projection
        saved += 0 if id(weight) in embeddings else weight.nbytes
        if panels is not None:
            saved -= panels.panel_weights.num_bytes
            return panels
        saved -= weight.nbytes
        return replace(projection, weight=pack(weight), multiply=packed_product)

    for module in list(model.modules()):
        if isinstance(module, FusedDecoderLayer):
            module.change_projections(changed)
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear:
                given = Projection(child.weight, child.bias)
                made = changed(given)
                if made is not given:
                    layer = PackedLinear(made) if isinstance(made, Projection) else made
                    setattr(module, name, layer)
    return saved


def _fits_in_panels(parts: LayerParts) -> bool:
    """Whether all layers may have weights in panels, going by one of them: it is then one call that
    computes them, and small weights are better off there too.
    """
    return parts.products is not None and all(
        isinstance(product, PanelLayer)
        or (isinstance(product, Projection) and can_be_in_panels(product.weight))
        for product in parts.products
    )


def _is_worth_it(weight: Tensor) -> bool:
    if weight.dtype not in _DTYPES or weight.numel() < LEAST_WEIGHTS:
        return False
    if weight.device.type != "cpu" or platform.machine() not in _MACHINES:
        return False
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if weight.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return hasattr(torch.ops.mkldnn, "_linear_pointwise")
