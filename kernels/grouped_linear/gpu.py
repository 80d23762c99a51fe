"""Grouped linear layers in Triton: one program for a tile of one group's outputs.

Owns: the kernel, its launch and its tile sizes. Must not know: layers, models.

How many rows each group has is known to the device alone, so as many programs are launched as there
could be tiles; each finds its group by adding up the tiles of those before, and those that are too
many end at once. Nothing is read back, so a step of a mixture can be recorded. (The idea is that of
MegaBlocks: Gale et al. 2022.)
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["grouped_linear"]

# (rows for each group on average, tile, options): the first that is not exceeded. A decoding step
# has few rows for each group and waits for weights; narrow tiles spread them over the device.
_TILES = (
    (16, {"BLOCK_M": 16, "BLOCK_N": 64, "BLOCK_K": 64}, {"num_warps": 4, "num_stages": 4}),
    (64, {"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_K": 64}, {"num_warps": 4, "num_stages": 3}),
    (None, {"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_K": 64}, {"num_warps": 8, "num_stages": 3}),
)
_WIDE_TILE = (
    {"BLOCK_M": 32, "BLOCK_N": 64, "BLOCK_K": 32}, {"num_warps": 4, "num_stages": 2},
)  # fmt: skip


@triton.jit
def _grouped_linear_kernel(
    x_ptr, weight_ptr, bias_ptr, ends_ptr, output_ptr,
    stride_x_row, stride_weight_group, stride_weight_output, stride_weight_input,
    num_groups, num_inputs, num_outputs,
    PADDED_GROUPS: tl.constexpr, HAS_BIAS: tl.constexpr, IS_TRANSPOSED: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    tile = tl.program_id(0)
    groups = tl.arange(0, PADDED_GROUPS)
    is_group = groups < num_groups
    ends = tl.load(ends_ptr + groups, mask=is_group, other=0)
    starts = tl.load(ends_ptr + groups - 1, mask=is_group & (groups > 0), other=0)
    tiles = tl.where(is_group, (ends - starts + BLOCK_M - 1) // BLOCK_M, 0)
    group = tl.sum((tl.cumsum(tiles, 0) <= tile).to(tl.int32), 0)
    if group >= num_groups:
        return
    first_tile = tl.sum(tl.where(groups < group, tiles, 0), 0)
    start = tl.sum(tl.where(groups == group, starts, 0), 0)
    end = tl.sum(tl.where(groups == group, ends, 0), 0)

    rows = start + (tile - first_tile) * BLOCK_M + tl.arange(0, BLOCK_M)
    is_row = rows < end
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    is_column = columns < num_outputs
    inputs = tl.arange(0, BLOCK_K)
    x_ptrs = x_ptr + rows.to(tl.int64)[:, None] * stride_x_row + inputs[None, :]
    weights = weight_ptr + group.to(tl.int64) * stride_weight_group
    # One dimension of the weights is contiguous, and the compiler has to see which.
    if IS_TRANSPOSED:
        weight_ptrs = weights + inputs[:, None] * stride_weight_input + columns[None, :]
        step = BLOCK_K * stride_weight_input
    else:
        weight_ptrs = weights + inputs[:, None] + columns[None, :] * stride_weight_output
        step = BLOCK_K
    sums = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for first in range(0, num_inputs, BLOCK_K):
        is_input = inputs < num_inputs - first
        x = tl.load(x_ptrs, mask=is_row[:, None] & is_input[None, :], other=0.0)
        weight = tl.load(weight_ptrs, mask=is_input[:, None] & is_column[None, :], other=0.0)
        sums = tl.dot(x, weight, sums, input_precision=PRECISION)
        x_ptrs += BLOCK_K
        weight_ptrs += step
    if HAS_BIAS:
        bias = tl.load(bias_ptr + group * num_outputs + columns, mask=is_column, other=0.0)
        sums += bias.to(tl.float32)[None, :]
    tl.store(
        output_ptr + rows.to(tl.int64)[:, None] * num_outputs + columns[None, :],
        sums.to(output_ptr.dtype.element_ty),
        mask=is_row[:, None] & is_column[None, :],
    )


def grouped_linear(x: Tensor, weight: Tensor, ends: Tensor, bias: Tensor | None = None) -> Tensor:
    """See `kernels.grouped_linear.GroupedLinear`. Raises ValueError for other layouts."""
    num_rows, num_inputs = x.shape
    num_groups, num_outputs, _ = weight.shape
    if weight.stride(2) != 1 and weight.stride(1) != 1:
        raise ValueError("grouped_linear: neither dimension of a group's weight is contiguous")
    if x.stride(1) != 1:
        x = x.contiguous()
    output = x.new_empty(num_rows, num_outputs)
    if not num_rows:
        return output
    tile, options = _tile(x.dtype, num_rows, num_groups)
    # A group's last tile may be a part of one, and groups without rows have none.
    most_tiles = num_rows // tile["BLOCK_M"] + min(num_rows, num_groups)
    grid = (most_tiles, triton.cdiv(num_outputs, tile["BLOCK_N"]))
    _grouped_linear_kernel[grid](
        x, weight, None if bias is None else bias.contiguous(), ends, output,
        x.stride(0), *weight.stride(), num_groups, num_inputs, num_outputs,
        PADDED_GROUPS=triton.next_power_of_2(num_groups), HAS_BIAS=bias is not None,
        IS_TRANSPOSED=weight.stride(2) != 1,
        PRECISION="ieee" if x.dtype == torch.float32 else "tf32", **tile, **options,
    )  # fmt: skip
    return output


def _tile(
    dtype: torch.dtype, num_rows: int, num_groups: int
) -> tuple[dict[str, int], dict[str, Any]]:
    """The tile for so many rows, and how it is compiled."""
    if dtype == torch.float32:
        return _WIDE_TILE
    average = num_rows / num_groups
    return next(
        (tile, options) for most, tile, options in _TILES if most is None or average <= most
    )
