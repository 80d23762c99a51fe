"""Panels of bfloat16 in the order of AMX's tiles (`kernels/cpu/tiled_rows.h`).

Owns: the way there and back. Must not know: products, layers.
A panel's outputs lie in two blocks, a block's weights 32 inputs after the other, those in two tiles
of 16 outputs, and a tile's numbers in 16 pairs of inputs.
"""

import torch
from torch import Tensor

__all__ = ["INPUTS_PER_TILE", "in_tiles", "without_tiles"]

INPUTS_PER_TILE = 32
_PAIRS, _OUTPUTS, _TILES, _BLOCKS = 16, 16, 2, 2
_WIDTH = _BLOCKS * _TILES * _OUTPUTS


def in_tiles(weight: Tensor) -> Tensor:
    """Bfloat16 weights [out, in], `out` a multiple of 64 and `in` of 32, as panels [P, in, 64]."""
    panels, inputs = len(weight) // _WIDTH, weight.shape[1]
    # Pairs of inputs are adjacent before and after: they move as one word.
    words = weight.contiguous().view(torch.int32)
    steps = inputs // INPUTS_PER_TILE
    blocks = words.view(panels, _BLOCKS, _TILES, _OUTPUTS, steps, _PAIRS)
    moved = blocks.permute(0, 1, 4, 2, 5, 3).contiguous()
    return moved.view(torch.bfloat16).view(panels, inputs, _WIDTH)


def without_tiles(panels: Tensor) -> Tensor:
    """What `in_tiles` made, [P, in, 64], input by input."""
    count, inputs, width = panels.shape
    shape = (count, _BLOCKS, inputs // INPUTS_PER_TILE, _TILES, _PAIRS, _OUTPUTS, 2)
    moved = panels.reshape(shape).permute(0, 2, 4, 6, 1, 3, 5)
    return moved.reshape(count, inputs, width)
