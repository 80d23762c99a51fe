"""Weights of linear layers in int8, with one scale for each output, and rows with some for each.

Owns: their rounding. Must not know: products, layers.
Symmetric: an output's weights are -127 to 127 times its scale, so a zero stays one, and no weight
moves by more than half a scale. A row is rounded when it is multiplied, a few inputs at a time:
activations have outliers, which cost only those that share a scale with them.
"""

import torch
from torch import Tensor

from kernels.panel_linear.weight import (
    PANEL_WIDTH,
    PanelWeights,
    add_offset,
    num_panels,
    pieces,
    put,
)

__all__ = ["INPUTS_PER_SCALE", "quantize", "quantize_groups", "rounded"]

INPUTS_PER_SCALE = 128  # kInputsPerScale in kernels/cpu/rounded_rows.h
_LARGEST = 127
# Of numbers that are all smaller, 127 over the largest is infinite: they are taken for zeros.
_SMALLEST = 4e-37


def quantize(weight: Tensor, *, rounds_rows: bool = False) -> PanelWeights:
    """The nearest int8 weights to a floating-point `weight` [out, in], as one group. Where an
    output's weights are not finite, its scale is not, nor what is computed with it. `rounds_rows`:
    for rows that are rounded too, if the number of inputs is a multiple of four.
    """
    return quantize_groups(weight[None], rounds_rows=rounds_rows)


def quantize_groups(weights: Tensor, *, rounds_rows: bool = False) -> PanelWeights:
    """`quantize` for the weights [out, in] of each group, [groups, out, in]."""
    num_groups, num_outputs, num_inputs = weights.shape
    shape = (num_groups, num_panels(num_outputs), num_inputs, PANEL_WIDTH)
    panels = weights.new_zeros(shape, dtype=torch.int8)
    scales = weights.new_empty(num_groups, num_outputs, dtype=torch.float32)
    for group, weight in enumerate(weights):
        _round(weight, panels[group], scales[group])
    if rounds_rows and num_inputs % 4 == 0:
        panels = add_offset(panels)
    return PanelWeights(panels, num_outputs, scales)


def rounded(rows: Tensor) -> Tensor:
    """What the integers and scales of `rows` [R, in] stand for: float32. NaN where a number that
    shares the scale is not finite.
    """
    parts = []
    for part in torch.split(rows.float(), INPUTS_PER_SCALE, dim=1):
        largest = part.abs().amax(dim=1, keepdim=True)
        # A number divided by a tensor is multiplied by reciprocals, which rounds ties elsewhere.
        per_unit = torch.full_like(largest, _LARGEST) / largest
        per_unit = torch.where(largest > _SMALLEST, per_unit, 0.0)
        parts.append((part * per_unit).round() * (largest / _LARGEST))
    return torch.cat(parts, dim=1)


def _round(weight: Tensor, panels: Tensor, scales: Tensor) -> None:
    """Piece by piece, so that little memory is needed beside the result."""
    for rows in pieces(len(weight)):
        piece = weight[rows].float()
        scale = piece.abs().amax(dim=1) / _LARGEST
        scales[rows] = scale
        # Zeros divided by a scale of zero are no numbers, as is what is not finite.
        integers = (piece / scale[:, None]).round_().clamp_(-_LARGEST, _LARGEST).nan_to_num_(0.0)
        put(panels, rows.start, integers.to(torch.int8))
