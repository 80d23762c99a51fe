"""Paged attention in Triton: a kernel for prefilled chunks, one for decoded tokens, one that joins.

Owns: the op, and the kernel of chunks with its launch and tile sizes. Must not know: requests,
layers, models.

A row with one new token is cut into splits of its keys, so that few long rows still fill the
device; each split leaves a partial result, and a third kernel joins them (flash decoding: Dao et
al. 2023). A row with several new tokens is cut into tiles of queries that walk over the keys with a
running softmax (FlashAttention-2: Dao 2023). In both, the query heads of one KV head are rows of
one tile, so its keys are read once. Which kernel serves a row, and how it is cut, follows from that
row alone, so its bits do not depend on the others. Nothing is read back to the host.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.paged_attention.gpu_decode import launch_decode
from kernels.paged_attention.gpu_walk import MIN_ROWS, load_queries, walk

__all__ = ["paged_attention"]


@triton.jit
def _row_of_tile(cu_seqlens_ptr, num_rows, tile, BLOCK_Q: tl.constexpr):
    """The row whose tiles begin at or before `tile`; row r's begin at cu[r] // BLOCK_Q + r."""
    low = 0
    high = num_rows
    while low < high:
        middle = (low + high) // 2
        first = tl.load(cu_seqlens_ptr + middle) // BLOCK_Q + middle
        if first <= tile:
            low = middle + 1
        else:
            high = middle
    return low - 1


@triton.jit
def _chunk_attention_kernel(
    query_ptr, output_ptr, sinks_ptr, cu_seqlens_ptr, seq_lens_ptr,
    key_cache_ptr, value_cache_ptr, block_table_ptr,
    stride_query_token, stride_query_head, stride_output_token, stride_output_head,
    stride_key_block, stride_key_slot, stride_key_head,
    stride_value_block, stride_value_slot, stride_value_head,
    stride_table_row, num_rows, scale, softcap, window,
    GROUP: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_SIZE: tl.constexpr,
    KEY_DIM: tl.constexpr, VALUE_DIM: tl.constexpr,
    PADDED_KEY_DIM: tl.constexpr, PADDED_VALUE_DIM: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    HAS_WINDOW: tl.constexpr, HAS_SOFTCAP: tl.constexpr, HAS_SINKS: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Rows with several new tokens; one program for BLOCK_Q of them and one KV head."""
    tile = tl.program_id(0)
    kv_head = tl.program_id(1).to(tl.int64)
    row = _row_of_tile(cu_seqlens_ptr, num_rows, tile, BLOCK_Q)
    first_token = tl.load(cu_seqlens_ptr + row)
    num_new = tl.load(cu_seqlens_ptr + row + 1) - first_token
    start = (tile - (first_token // BLOCK_Q + row)) * BLOCK_Q  # within the row
    if num_new <= 1 or start >= num_new:
        return
    seq_len = tl.load(seq_lens_ptr + row)
    lines = tl.arange(0, BLOCK_M)
    offsets = start + lines // GROUP
    heads = kv_head * GROUP + lines % GROUP
    is_used = (lines < BLOCK_Q * GROUP) & (offsets < num_new)
    positions = tl.where(is_used, seq_len - num_new + offsets, seq_len - 1)
    tokens = (first_token + offsets).to(tl.int64)
    query = load_queries(
        query_ptr, stride_query_token, stride_query_head, tokens, heads, is_used,
        KEY_DIM, PADDED_KEY_DIM,
    )  # fmt: skip
    lowest = seq_len - num_new + start
    first_key = 0
    if HAS_WINDOW:
        first_key = tl.maximum(0, lowest - window + 1) // BLOCK_N * BLOCK_N
    last_key = tl.minimum(seq_len, lowest + BLOCK_Q)
    highest, total, values = walk(
        query, positions, row.to(tl.int64), kv_head, first_key, last_key,
        key_cache_ptr, value_cache_ptr, block_table_ptr,
        stride_key_block, stride_key_slot, stride_key_head,
        stride_value_block, stride_value_slot, stride_value_head,
        stride_table_row, scale, softcap, window,
        BLOCK_SIZE, KEY_DIM, VALUE_DIM, PADDED_KEY_DIM, PADDED_VALUE_DIM, BLOCK_M, BLOCK_N,
        HAS_WINDOW, HAS_SOFTCAP, PRECISION,
    )  # fmt: skip
    if HAS_SINKS:
        sink = tl.load(sinks_ptr + heads, mask=is_used, other=0.0).to(tl.float32)
        total += tl.exp(sink - highest)
    value_dims = tl.arange(0, PADDED_VALUE_DIM)
    tl.store(
        output_ptr + tokens[:, None] * stride_output_token + heads[:, None] * stride_output_head
        + value_dims[None, :],
        (values / total[:, None]).to(output_ptr.dtype.element_ty),
        mask=is_used[:, None] & (value_dims < VALUE_DIM)[None, :],
    )  # fmt: skip


def paged_attention(
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    block_table: Tensor,
    cu_seqlens_q: Tensor,
    seq_lens: Tensor,
    *,
    scale: float,
    sliding_window: int | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """See `kernels.paged_attention.PagedAttention`. Raises ValueError for other layouts."""
    num_tokens, num_heads, key_dim = query.shape
    num_kv_heads, value_dim = value_cache.shape[2:]
    for name, tensor in (("query", query), ("key", key_cache), ("value", value_cache)):
        if tensor.stride(-1) != 1:
            raise ValueError(f"paged_attention: the last dimension of {name} is not contiguous")
    output = query.new_empty(num_tokens, num_heads, value_dim)
    num_rows = len(seq_lens)
    if not num_tokens or not num_rows:
        return output
    group = num_heads // num_kv_heads
    shared: dict[str, Any] = {
        "GROUP": group,
        "BLOCK_SIZE": key_cache.shape[1],
        "KEY_DIM": key_dim,
        "VALUE_DIM": value_dim,
        "PADDED_KEY_DIM": max(MIN_ROWS, triton.next_power_of_2(key_dim)),
        "PADDED_VALUE_DIM": max(MIN_ROWS, triton.next_power_of_2(value_dim)),
        "HAS_WINDOW": sliding_window is not None,
        "HAS_SOFTCAP": softcap is not None,
        "PRECISION": "ieee" if query.dtype == torch.float32 else "tf32",
    }
    cache = (key_cache, value_cache, block_table)
    strides = (*key_cache.stride()[:3], *value_cache.stride()[:3], block_table.stride(0))
    numbers = (scale, softcap or 0.0, sliding_window or 0)
    _launch_chunks(query, output, sinks, cu_seqlens_q, seq_lens, cache, strides, numbers, shared)
    launch_decode(query, output, sinks, cu_seqlens_q, seq_lens, cache, strides, numbers, shared)
    return output


def _launch_chunks(
    query: Tensor, output: Tensor, sinks: Tensor | None, cu_seqlens_q: Tensor, seq_lens: Tensor,
    cache: tuple[Tensor, ...], strides: tuple[int, ...], numbers: tuple[float, ...],
    shared: dict[str, Any],
) -> None:  # fmt: skip
    num_tokens, num_rows = query.shape[0], len(seq_lens)
    if num_tokens < 2:
        return
    tile = _chunk_tile(query.dtype, shared["PADDED_KEY_DIM"])
    block_m = max(tile["BLOCK_M"], triton.next_power_of_2(shared["GROUP"]))
    block_q = block_m // shared["GROUP"]
    num_tiles = num_tokens // block_q + num_rows  # at least; the ones too many end at once
    _chunk_attention_kernel[(num_tiles, cache[0].shape[2])](
        query, output, sinks, cu_seqlens_q, seq_lens, *cache,
        query.stride(0), query.stride(1), output.stride(0), output.stride(1), *strides,
        num_rows, *numbers, **shared, HAS_SINKS=sinks is not None,
        **{**tile, "BLOCK_M": block_m}, BLOCK_Q=block_q,
    )  # fmt: skip


def _chunk_tile(dtype: torch.dtype, width: int) -> dict[str, int]:
    """Tile sizes of prefill. Not tuned on a device yet: the largest without spilled registers."""
    if dtype == torch.float32:
        return {"BLOCK_M": 32, "BLOCK_N": 32, "num_warps": 4, "num_stages": 2}
    if width > 128:
        return {"BLOCK_M": 64, "BLOCK_N": 16, "num_warps": 8, "num_stages": 2}
    return {"BLOCK_M": 128, "BLOCK_N": 64 if width <= 64 else 32, "num_warps": 8, "num_stages": 3}
