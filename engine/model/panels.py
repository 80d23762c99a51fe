"""Linear layers whose weights are in panels, the op "panel_linear".

Owns: the layer, and which weights are better off so. Must not know: requests, attention; how panels
are multiplied is the op's matter.

A checkpoint in bfloat16 has nothing that float32 would add, and a step of few tokens waits for the
weights to come from memory: bfloat16 weights under sums in float32 give what float32 weights give,
and half as much has to come. A processor without bfloat16 units gains more where it runs in
bfloat16, since torch then converts numbers over and over.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engine.device import computes_bfloat16
from kernels.cpu_library import instruction_set, multiplies_int8, multiplies_tiles
from kernels.panel_linear import reference
from kernels.panel_linear.tiles import INPUTS_PER_TILE
from kernels.panel_linear.weight import PanelWeights, merge, to_panels, to_tiles
from kernels.registry import resolve

__all__ = [
    "LEAST_WEIGHTS",
    "W8A8_INT8",
    "PanelLayer",
    "are_compiled",
    "can_be_in_panels",
    "is_bfloat16",
    "merge_layers",
    "multiplies_bfloat16",
    "panel_layer",
]

W8A8_INT8 = "w8a8_int8"
"""The `quantization` that rounds rows as well as weights."""

LEAST_WEIGHTS = 1 << 20
"""Numbers in a weight for which another order is worth it: a smaller one is multiplied in less time
than calling the product takes.
"""

_INSTRUCTION_SETS = ("avx2", "avx512", "amx")  # the portable one has lost to torch's products
_ROWS_PER_PIECE = 1024


class PanelLayer(nn.Module):
    """A linear layer; weights of one group, and a bias [out], kept in float32, or None."""

    def __init__(self, weights: PanelWeights, bias: Tensor | None) -> None:
        super().__init__()
        self.panel_weights = weights
        self.bias = None if bias is None else bias.detach().float().reshape(1, -1)
        self._multiply = resolve("panel_linear", weights.panels.device)

    @property
    def is_invariant(self) -> bool:
        """Whether a row has the same bits among any number of rows."""
        if self.panel_weights.rounds_rows and not multiplies_int8():
            return False
        return self._multiply is not reference.panel_linear

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., in]. Returns [..., out] in its dtype."""
        return self._multiply(x, self.panel_weights, None, self.bias)


def merge_layers(layers: Sequence[PanelLayer]) -> PanelLayer:
    """Several layers of one input as one, outputs in that order; a missing bias counts as zero."""
    weights = merge([layer.panel_weights for layer in layers])
    if all(layer.bias is None for layer in layers):
        return PanelLayer(weights, None)
    biases = [
        torch.zeros(1, layer.panel_weights.num_outputs) if layer.bias is None else layer.bias
        for layer in layers
    ]
    return PanelLayer(weights, torch.cat(biases, dim=1))


def panel_layer(
    weight: Tensor, bias: Tensor | None, *, is_whole: bool = False
) -> PanelLayer | None:
    """A layer with the weight [out, in] in panels, where that is faster and exact. `is_whole`: all
    layers are computed in one call, where small ones are worth it too.
    """
    if not are_compiled(weight.device):
        return None
    is_small = weight.numel() < LEAST_WEIGHTS
    weights = weight.detach()[None]
    if weight.dtype == torch.bfloat16:
        if _fits_in_tiles(weight) and (is_whole or not is_small):
            return PanelLayer(to_tiles(weights), bias)
        is_better = is_whole or not computes_bfloat16(weight.device)
        return PanelLayer(to_panels(weights), bias) if is_better else None
    if weight.dtype != torch.float32 or (is_small and not is_whole):
        return None
    if is_bfloat16(weight):
        return PanelLayer(to_panels(weights, torch.bfloat16), bias)
    return PanelLayer(to_panels(weights), bias) if is_small else None


def can_be_in_panels(weight: Tensor) -> bool:
    """Whether `panel_layer` makes a layer of the weight if `is_whole`, and it is no slower then."""
    if not are_compiled(weight.device):
        return False
    if weight.dtype == torch.bfloat16:
        return _fits_in_tiles(weight) or not computes_bfloat16(weight.device)
    is_small = weight.numel() < LEAST_WEIGHTS
    return weight.dtype == torch.float32 and (is_small or is_bfloat16(weight))


def _fits_in_tiles(weight: Tensor) -> bool:
    return multiplies_tiles() and weight.shape[1] % INPUTS_PER_TILE == 0


def are_compiled(device: torch.device) -> bool:
    """Whether `device` has products with panels that are faster than torch's."""
    return device.type == "cpu" and instruction_set() in _INSTRUCTION_SETS


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether linear layers in bfloat16 are no slower there than in float32."""
    return computes_bfloat16(device) or are_compiled(device)


def is_bfloat16(weight: Tensor) -> bool:
    """Whether bfloat16 holds all numbers of the float32 `weight` [..., out, in] exactly."""
    if weight.dtype != torch.float32:
        return False
    pieces = torch.split(weight.detach().flatten(0, -2), _ROWS_PER_PIECE)
    return all(torch.equal(piece, piece.bfloat16().float()) for piece in pieces)
