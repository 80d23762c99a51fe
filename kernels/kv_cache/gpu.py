"""Writing keys and values into the paged cache in Triton: one program for one token.

Owns: the kernel and its launch. Must not know: requests, who owns a block.

8-bit floats are rounded with integers, not by Triton's conversion: so the bits are those of the
reference on every GPU and in Triton's interpreter, whose own conversion does not round to even.
"""

import triton
import triton.language as tl
from torch import Tensor

from kernels.float8 import FLOAT8, movable

__all__ = ["write_kv"]


@triton.jit
def _float8_bits(x):
    """e4m3fn bits of float32 numbers: to nearest, ties to even, at most 448; NaN stays NaN."""
    bits = x.to(tl.int32, bitcast=True)
    magnitude = bits & 0x7FFFFFFF
    # 20 bits of the mantissa go, and 120 of the exponent's bias, which stands above 3 bits.
    code = ((magnitude + 0x7FFFF + ((magnitude >> 20) & 1)) >> 20) - 120 * 8
    # Below 2^-6 there are multiples of 2^-9 only: what a float32 near 2^14 (0x46800000) can tell.
    size = magnitude.to(tl.float32, bitcast=True)
    small = (size + 16384.0).to(tl.int32, bitcast=True) - 0x46800000
    code = tl.minimum(tl.where(magnitude < 0x3C800000, small, code), 0x7E)
    code = tl.where(magnitude > 0x7F800000, 0x7F, code)
    return (code | ((bits >> 24) & 0x80)).to(tl.uint8)


@triton.jit
def _stored(x, cache_ptr, IS_FLOAT8: tl.constexpr):
    """What the cache, of bytes if they are 8-bit floats, holds of x."""
    return _float8_bits(x.to(tl.float32)) if IS_FLOAT8 else x.to(cache_ptr.dtype.element_ty)


@triton.jit
def _write_kv_kernel(
    key_ptr, value_ptr, key_cache_ptr, value_cache_ptr, slots_ptr,
    stride_key_token, stride_key_head, stride_value_token, stride_value_head,
    stride_key_block, stride_key_slot, stride_key_cache_head,
    stride_value_block, stride_value_slot, stride_value_cache_head,
    block_size, key_dim, value_dim, key_elements, value_elements,
    BLOCK_KEY: tl.constexpr, BLOCK_VALUE: tl.constexpr, IS_FLOAT8: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    slot = tl.load(slots_ptr + token)
    if slot < 0:
        return
    block, offset = slot // block_size, slot % block_size
    elements = tl.arange(0, BLOCK_KEY)
    is_there = elements < key_elements
    head, dim = elements // key_dim, elements % key_dim
    key = tl.load(
        key_ptr + token * stride_key_token + head * stride_key_head + dim, mask=is_there, other=0.0
    )
    place = block * stride_key_block + offset * stride_key_slot + head * stride_key_cache_head + dim
    tl.store(key_cache_ptr + place, _stored(key, key_cache_ptr, IS_FLOAT8), mask=is_there)
    elements = tl.arange(0, BLOCK_VALUE)
    is_there = elements < value_elements
    head, dim = elements // value_dim, elements % value_dim
    value = tl.load(
        value_ptr + token * stride_value_token + head * stride_value_head + dim,
        mask=is_there, other=0.0,
    )  # fmt: skip
    place = (
        block * stride_value_block + offset * stride_value_slot
        + head * stride_value_cache_head + dim
    )  # fmt: skip
    tl.store(value_cache_ptr + place, _stored(value, value_cache_ptr, IS_FLOAT8), mask=is_there)


def write_kv(
    key: Tensor,
    value: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    slot_mapping: Tensor,
) -> None:
    """See `kernels.kv_cache.WriteKV`. Raises ValueError for other layouts."""
    tensors = (key, value, key_cache, value_cache)
    if any(tensor.stride(-1) != 1 for tensor in tensors):
        raise ValueError("write_kv: the last dimension has to be contiguous")
    num_tokens, num_heads, key_dim = key.shape
    value_dim = value.shape[2]
    if not num_tokens:
        return
    num_key, num_value = num_heads * key_dim, num_heads * value_dim
    _write_kv_kernel[(num_tokens,)](
        key, value, movable(key_cache), movable(value_cache), slot_mapping,
        *key.stride()[:2], *value.stride()[:2], *key_cache.stride()[:3], *value_cache.stride()[:3],
        key_cache.shape[1], key_dim, value_dim, num_key, num_value,
        BLOCK_KEY=triton.next_power_of_2(num_key), BLOCK_VALUE=triton.next_power_of_2(num_value),
        IS_FLOAT8=key_cache.dtype == FLOAT8, num_warps=4,
    )  # fmt: skip
