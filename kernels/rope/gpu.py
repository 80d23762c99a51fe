"""Rotary embedding in Triton: one program for one token and a few of its heads.

Owns: the kernel and its launch. Must not know: how angles follow from positions, models.
"""

import triton
import triton.language as tl
from torch import Tensor

__all__ = ["rope"]

_HEADS_PER_PROGRAM = 8


@triton.jit
def _rope_kernel(
    x_ptr, output_ptr, cos_ptr, sin_ptr,
    stride_x_token, stride_x_head, stride_cos_token, stride_sin_token,
    num_heads, head_dim, rotary_dim,
    BLOCK_HEADS: tl.constexpr, BLOCK_DIM: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    heads = tl.program_id(1) * BLOCK_HEADS + tl.arange(0, BLOCK_HEADS)
    dims = tl.arange(0, BLOCK_DIM)
    half = rotary_dim // 2
    is_turning = dims < rotary_dim
    is_there = (heads < num_heads)[:, None] & (dims < head_dim)[None, :]
    partner = tl.where(dims < half, dims + half, dims - half)  # what each dimension turns with
    base = x_ptr + token * stride_x_token + heads[:, None] * stride_x_head
    x = tl.load(base + dims[None, :], mask=is_there, other=0.0)  # [H, D]
    other = tl.load(base + partner[None, :], mask=is_there & is_turning[None, :], other=0.0)
    cos = tl.load(cos_ptr + token * stride_cos_token + dims, mask=is_turning, other=1.0)
    sin = tl.load(sin_ptr + token * stride_sin_token + dims, mask=is_turning, other=0.0)
    signed = tl.where((dims < half)[None, :], -other.to(tl.float32), other.to(tl.float32))
    turned = x.to(tl.float32) * cos.to(tl.float32)[None, :] + signed * sin.to(tl.float32)[None, :]
    place = (token * num_heads + heads)[:, None] * head_dim + dims[None, :]
    tl.store(output_ptr + place, turned.to(x.dtype), mask=is_there)


def rope(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """See `kernels.rope.Rope`. Raises ValueError for a last dimension that is not contiguous."""
    if any(each.stride(-1) != 1 for each in (query, key, cos, sin)):
        raise ValueError("rope: the last dimension has to be contiguous")
    return _turn(query, cos, sin), _turn(key, cos, sin)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    num_tokens, num_heads, head_dim = x.shape
    output = x.new_empty(x.shape)
    if num_tokens:
        block_heads = min(_HEADS_PER_PROGRAM, triton.next_power_of_2(num_heads))
        _rope_kernel[(num_tokens, triton.cdiv(num_heads, block_heads))](
            x, output, cos, sin,
            x.stride(0), x.stride(1), cos.stride(0), sin.stride(0),
            num_heads, head_dim, cos.shape[1],
            BLOCK_HEADS=block_heads, BLOCK_DIM=triton.next_power_of_2(head_dim), num_warps=2,
        )  # fmt: skip
    return output
