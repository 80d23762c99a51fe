"""Weights of linear layers in int8, with one scale for each output.

Owns: their rounding. Must not know: products, layers.
Symmetric: an output's weights are -127 to 127 times its scale, so a zero stays one, and no weight
moves by more than half a scale.
"""

import torch
from torch import Tensor

from kernels.panel_linear.weight import PANEL_WIDTH, PanelWeights, num_panels, pieces, put

__all__ = ["quantize", "quantize_groups"]

_LARGEST = 127


def quantize(weight: Tensor) -> PanelWeights:
    """The nearest int8 weights to a floating-point `weight` [out, in], as one group. Where an
    output's weights are not finite, its scale is not, nor what is computed with it.
    """
    return quantize_groups(weight[None])


def quantize_groups(weights: Tensor) -> PanelWeights:
    """`quantize` for the weights [out, in] of each group, [groups, out, in]."""
    num_groups, num_outputs, num_inputs = weights.shape
    shape = (num_groups, num_panels(num_outputs), num_inputs, PANEL_WIDTH)
    panels = weights.new_zeros(shape, dtype=torch.int8)
    scales = weights.new_empty(num_groups, num_outputs, dtype=torch.float32)
    for group, weight in enumerate(weights):
        _round(weight, panels[group], scales[group])
    return PanelWeights(panels, num_outputs, scales)


def _round(weight: Tensor, panels: Tensor, scales: Tensor) -> None:
    """Piece by piece, so that little memory is needed beside the result."""
    for rows in pieces(len(weight)):
        piece = weight[rows].float()
        scale = piece.abs().amax(dim=1) / _LARGEST
        scales[rows] = scale
        # Zeros divided by a scale of zero are no numbers, as is what is not finite.
        integers = (piece / scale[:, None]).round_().clamp_(-_LARGEST, _LARGEST).nan_to_num_(0.0)
        put(panels, rows.start, integers.to(torch.int8))
