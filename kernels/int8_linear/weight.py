"""Weights of a linear layer in int8, with one scale for each output.

Owns: their rounding, their order in memory, their way back. Must not know: products, layers.
Symmetric: an output's weights are -127 to 127 times its scale, so a zero stays one, and no weight
moves by more than half a scale.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.panel_linear.weight import (
    PANEL_WIDTH,
    PanelWeights,
    from_panels,
    num_panels,
    put,
)

__all__ = ["Int8Weight", "merge", "quantize", "quantize_groups"]

_LARGEST = 127
# Panels whose weights are in float32 at a time: at 4,096 inputs 16 MiB.
_PANELS_PER_PIECE = 16


@dataclass(frozen=True, slots=True)
class Int8Weight:
    """`panels` [panels, in, PANEL_WIDTH] int8: those outputs side by side, the last panel filled up
    with zeros. `scales` [num_outputs] float32.
    """

    panels: Tensor
    scales: Tensor

    @property
    def num_inputs(self) -> int:
        return self.panels.shape[1]

    @property
    def num_outputs(self) -> int:
        return self.scales.shape[0]

    @property
    def num_bytes(self) -> int:
        return self.panels.nbytes + self.scales.nbytes

    def integers(self) -> Tensor:
        """The integers [out, in] in the usual order; copied."""
        return from_panels(self.panels, self.num_outputs)

    def dequantized(self) -> Tensor:
        """What the weights stand for: float32 [out, in]."""
        return self.integers().float() * self.scales[:, None]


def quantize(weight: Tensor) -> Int8Weight:
    """The nearest int8 weights to a floating-point `weight` [out, in]; piece by piece, so that
    little memory is needed beside the result. Where an output's weights are not finite, its scale
    is not, nor what is computed with it.
    """
    num_outputs, num_inputs = weight.shape
    panels = weight.new_zeros(num_panels(num_outputs), num_inputs, PANEL_WIDTH, dtype=torch.int8)
    scales = weight.new_empty(num_outputs, dtype=torch.float32)
    for rows in _pieces(num_outputs):
        piece = weight[rows].float()
        scale = piece.abs().amax(dim=1) / _LARGEST
        scales[rows] = scale
        # Zeros divided by a scale of zero are no numbers, as is what is not finite.
        integers = (piece / scale[:, None]).round_().clamp_(-_LARGEST, _LARGEST).nan_to_num_(0.0)
        put(panels, rows.start, integers.to(torch.int8))
    return Int8Weight(panels, scales)


def quantize_groups(weights: Tensor) -> PanelWeights:
    """`quantize` for the weights [out, in] of each group, [groups, out, in]."""
    num_groups, num_outputs, num_inputs = weights.shape
    shape = (num_groups, num_panels(num_outputs), num_inputs, PANEL_WIDTH)
    panels = weights.new_empty(shape, dtype=torch.int8)
    scales = weights.new_empty(num_groups, num_outputs, dtype=torch.float32)
    for group, weight in enumerate(weights):
        made = quantize(weight)
        panels[group], scales[group] = made.panels, made.scales
    return PanelWeights(panels, num_outputs, scales)


def merge(weights: Sequence[Int8Weight]) -> Int8Weight:
    """The weights of several layers with the same input as those of one, outputs in that order."""
    scales = torch.cat([weight.scales for weight in weights])
    if all(weight.num_outputs % PANEL_WIDTH == 0 for weight in weights):
        return Int8Weight(torch.cat([weight.panels for weight in weights]), scales)
    integers = torch.cat([weight.integers() for weight in weights])
    shape = (num_panels(len(scales)), integers.shape[1], PANEL_WIDTH)
    panels = integers.new_zeros(shape)
    for rows in _pieces(len(scales)):
        put(panels, rows.start, integers[rows])
    return Int8Weight(panels, scales)


def _pieces(num_outputs: int) -> Iterator[slice]:
    """Consecutive outputs, whole panels at a time."""
    step = _PANELS_PER_PIECE * PANEL_WIDTH
    for start in range(0, num_outputs, step):
        yield slice(start, min(start + step, num_outputs))
