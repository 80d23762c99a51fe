"""Writing keys and values into the paged cache in Triton: one program for one token.

Owns: the kernel and its launch. Must not know: requests, who owns a block.
"""

import triton
import triton.language as tl
from torch import Tensor

__all__ = ["write_kv"]


@triton.jit
def _write_kv_kernel(
    key_ptr, value_ptr, key_cache_ptr, value_cache_ptr, slots_ptr,
    stride_key_token, stride_key_head, stride_value_token, stride_value_head,
    stride_key_block, stride_key_slot, stride_key_cache_head,
    stride_value_block, stride_value_slot, stride_value_cache_head,
    block_size, key_dim, value_dim, key_elements, value_elements,
    BLOCK_KEY: tl.constexpr, BLOCK_VALUE: tl.constexpr,
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
    tl.store(key_cache_ptr + place, key.to(key_cache_ptr.dtype.element_ty), mask=is_there)
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
    tl.store(value_cache_ptr + place, value.to(value_cache_ptr.dtype.element_ty), mask=is_there)


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
        *tensors, slot_mapping,
        *key.stride()[:2], *value.stride()[:2], *key_cache.stride()[:3], *value_cache.stride()[:3],
        key_cache.shape[1], key_dim, value_dim, num_key, num_value,
        BLOCK_KEY=triton.next_power_of_2(num_key), BLOCK_VALUE=triton.next_power_of_2(num_value),
        num_warps=4,
    )  # fmt: skip
