"""Weights of several linear layers of one shape, in the order in which they are multiplied.

Owns: panels, the way there and back. Must not know: products, layers.
A panel holds the weights of some outputs side by side, input by input, so that one number of a row
is multiplied by a whole cache line or more. For rows that are rounded to int8 too it holds them
four inputs at a time, as the processor multiplies bytes: each output's four are adjacent, and 128
is added, since one of the two factors has to be without a sign. For the tiles of AMX it holds
them in the order of `tiles.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from kernels.panel_linear.tiles import in_tiles, without_tiles

__all__ = [
    "PANEL_WIDTH",
    "PanelWeights",
    "add_offset",
    "from_panels",
    "merge",
    "num_panels",
    "pieces",
    "put",
    "to_panels",
    "to_tiles",
    "without_offset",
]

PANEL_WIDTH = 64  # kPanelWidth in kernels/cpu/panel_linear.h
_OFFSET, _INPUTS_PER_WORD = 128, 4
# Panels that are made at a time from weights of another dtype: in float32, at 4,096 inputs, 16 MiB.
_PANELS_PER_PIECE = 16


@dataclass(frozen=True, slots=True)
class PanelWeights:
    """`panels` [groups, panels, in, PANEL_WIDTH], float32, bfloat16 or int8; the last panel of a
    group is filled up with zeros. `scales` [groups, num_outputs] float32 with int8, else None.
    uint8: int8 weights with an offset (see above), for rows that are rounded. `in_tiles`: bfloat16
    in the order of AMX's tiles.
    """

    panels: Tensor
    num_outputs: int
    scales: Tensor | None = None
    in_tiles: bool = False

    @property
    def num_groups(self) -> int:
        return self.panels.shape[0]

    @property
    def num_inputs(self) -> int:
        return self.panels.shape[2]

    @property
    def num_bytes(self) -> int:
        return self.panels.nbytes + (0 if self.scales is None else self.scales.nbytes)

    @property
    def rounds_rows(self) -> bool:
        """Whether the rows that are multiplied are rounded to int8 before."""
        return self.panels.dtype == torch.uint8

    def dense(self, group: int = 0) -> Tensor:
        """What one group's weights stand for: float32 [out, in]."""
        weight = from_panels(self.in_order(self.panels[group]), self.num_outputs).float()
        return weight if self.scales is None else weight * self.scales[group][:, None]

    def in_order(self, panels: Tensor) -> Tensor:
        """Panels of these weights [P, in, PANEL_WIDTH] input by input, without an offset."""
        return without_tiles(panels) if self.in_tiles else without_offset(panels)


def to_panels(weights: Tensor, dtype: torch.dtype | None = None) -> PanelWeights:
    """The weights [groups, out, in], in their own dtype or in this one."""
    num_groups, num_outputs, num_inputs = weights.shape
    shape = (num_groups, num_panels(num_outputs), num_inputs, PANEL_WIDTH)
    panels = weights.new_zeros(shape, dtype=dtype or weights.dtype)
    for group, weight in enumerate(weights):
        for rows in pieces(num_outputs):
            put(panels[group], rows.start, weight[rows].to(panels.dtype))
    return PanelWeights(panels, num_outputs)


def to_tiles(weights: Tensor) -> PanelWeights:
    """The bfloat16 weights [groups, out, in] in the order of AMX's tiles; `in` is a multiple of
    `INPUTS_PER_TILE`.
    """
    num_groups, num_outputs, num_inputs = weights.shape
    panels = weights.new_zeros(num_groups, num_panels(num_outputs), num_inputs, PANEL_WIDTH)
    for group, weight in enumerate(weights):
        for rows in pieces(num_outputs):
            filled = functional.pad(weight[rows], (0, 0, 0, -len(weight[rows]) % PANEL_WIDTH))
            first = rows.start // PANEL_WIDTH
            panels[group, first : first + len(filled) // PANEL_WIDTH] = in_tiles(filled)
    return PanelWeights(panels, num_outputs, in_tiles=True)


def merge(layers: Sequence[PanelWeights]) -> PanelWeights:
    """Layers of one group and of the same inputs as one, outputs in that order."""
    num_outputs = sum(each.num_outputs for each in layers)
    given = [each.scales for each in layers if each.scales is not None]
    scales = torch.cat(given, dim=1) if given else None
    if all(each.num_outputs % PANEL_WIDTH == 0 for each in layers):
        panels = torch.cat([each.panels for each in layers], dim=1)
        return PanelWeights(panels, num_outputs, scales, layers[0].in_tiles)
    rows = [from_panels(each.in_order(each.panels[0]), each.num_outputs) for each in layers]
    weight = torch.cat(rows)
    if layers[0].in_tiles:
        return to_tiles(weight[None])
    panels = to_panels(weight[None]).panels
    panels = add_offset(panels) if layers[0].rounds_rows else panels
    return PanelWeights(panels, num_outputs, scales)


def add_offset(panels: Tensor) -> Tensor:
    """Int8 panels [groups, P, in, PANEL_WIDTH] as uint8 ones; `in` is a multiple of four."""
    groups, count, inputs, width = panels.shape
    words = panels.view(groups, count, inputs // _INPUTS_PER_WORD, _INPUTS_PER_WORD, width)
    moved = words.transpose(3, 4).reshape(panels.shape)
    return moved.view(torch.uint8).bitwise_xor(_OFFSET)  # which adds 128 to what has a sign


def without_offset(panels: Tensor) -> Tensor:
    """Panels [P, in, PANEL_WIDTH] input by input: uint8 ones as int8, others as they are."""
    if panels.dtype != torch.uint8:
        return panels
    count, inputs, width = panels.shape
    words = panels.view(count, inputs // _INPUTS_PER_WORD, width, _INPUTS_PER_WORD)
    return words.transpose(2, 3).reshape(panels.shape).bitwise_xor(_OFFSET).view(torch.int8)


def from_panels(panels: Tensor, num_outputs: int) -> Tensor:
    """Panels [P, in, PANEL_WIDTH], input by input, in the usual order [num_outputs, in]; copied."""
    rows = panels.transpose(1, 2).reshape(-1, panels.shape[1])
    return rows[:num_outputs].contiguous()


def num_panels(num_outputs: int) -> int:
    """How many panels hold so many outputs."""
    return -(-num_outputs // PANEL_WIDTH)


def pieces(num_outputs: int) -> Iterator[slice]:
    """Consecutive outputs, some whole panels at a time."""
    step = _PANELS_PER_PIECE * PANEL_WIDTH
    for start in range(0, num_outputs, step):
        yield slice(start, min(start + step, num_outputs))


def put(panels: Tensor, first_output: int, weight: Tensor) -> None:
    """Write the weights [rows, in] of outputs that begin with a panel where they belong."""
    first = first_output // PANEL_WIDTH
    whole = len(weight) // PANEL_WIDTH
    count = whole * PANEL_WIDTH
    blocks = weight[:count].reshape(whole, PANEL_WIDTH, weight.shape[1])
    panels[first : first + whole] = blocks.transpose(1, 2)
    if count < len(weight):
        panels[first + whole, :, : len(weight) - count] = weight[count:].T
