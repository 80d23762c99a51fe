"""Paged attention in Triton: a kernel for prefilled chunks, one for decoded tokens, one that joins.

Owns: the kernels, their launch, their tile sizes. Must not know: requests, layers, models.

A row with one new token is cut into splits of its keys, so that few long rows still fill the
device; each split leaves a partial result, and a third kernel joins them (flash decoding: Dao et
al. 2023). A row with several new tokens is cut into tiles of queries that walk over the keys with a
running softmax (FlashAttention-2: Dao 2023). In both, the query heads of one KV head are rows of
one tile, so its keys are read once. Which kernel serves a row, and how it is cut, follows from that
row alone, so its bits do not depend on the others. Nothing is read back to the host.

Keys and values of 8-bit floats become the query's dtype, which is exact, once they are loaded
(from compute capability 8.9 on: Triton has no such conversion for older GPUs).
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["paged_attention"]

_KEYS_PER_SPLIT = 512
_MIN_ROWS = 16  # the matrix units take no less


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
def _scores(
    query, key, scale, softcap, HAS_SOFTCAP: tl.constexpr, PRECISION: tl.constexpr
):  # fmt: skip
    scores = tl.dot(query, key, input_precision=PRECISION) * scale  # [M, N]
    if HAS_SOFTCAP:
        scores = softcap * (2.0 * tl.sigmoid(2.0 * scores / softcap) - 1.0)
    return scores


@triton.jit
def _walk(
    query, positions, row, kv_head, first_key, last_key,
    key_cache_ptr, value_cache_ptr, block_table_ptr,
    stride_key_block, stride_key_slot, stride_key_head,
    stride_value_block, stride_value_slot, stride_value_head,
    stride_table_row, scale, softcap, window,
    BLOCK_SIZE: tl.constexpr, KEY_DIM: tl.constexpr, VALUE_DIM: tl.constexpr,
    PADDED_KEY_DIM: tl.constexpr, PADDED_VALUE_DIM: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    HAS_WINDOW: tl.constexpr, HAS_SOFTCAP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Attend from the tile's queries to the keys [first_key, last_key).

    Returns the running maximum [M], the sum [M] and the unnormalised values [M, DV], in float32.
    """
    key_dims = tl.arange(0, PADDED_KEY_DIM)
    value_dims = tl.arange(0, PADDED_VALUE_DIM)
    highest = tl.full([BLOCK_M], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    values = tl.zeros([BLOCK_M, PADDED_VALUE_DIM], tl.float32)
    for start in range(first_key, last_key, BLOCK_N):
        keys = start + tl.arange(0, BLOCK_N)
        is_there = keys < last_key
        block = tl.load(
            block_table_ptr + row * stride_table_row + keys // BLOCK_SIZE, mask=is_there, other=0
        ).to(tl.int64)
        slot = keys % BLOCK_SIZE
        key = tl.load(
            key_cache_ptr + block[None, :] * stride_key_block + slot[None, :] * stride_key_slot
            + kv_head * stride_key_head + key_dims[:, None],
            mask=is_there[None, :] & (key_dims < KEY_DIM)[:, None], other=0.0,
        ).to(query.dtype)  # fmt: skip  # [DK, N]
        scores = _scores(query, key, scale, softcap, HAS_SOFTCAP, PRECISION)
        is_seen = is_there[None, :] & (keys[None, :] <= positions[:, None])
        if HAS_WINDOW:
            is_seen &= keys[None, :] > positions[:, None] - window
        scores = tl.where(is_seen, scores, float("-inf"))
        new_highest = tl.maximum(highest, tl.max(scores, 1))
        # A query that sees none of the keys so far has no maximum yet.
        base = tl.where(new_highest == float("-inf"), 0.0, new_highest)
        weights = tl.exp(scores - base[:, None])
        shrink = tl.exp(highest - base)
        value = tl.load(
            value_cache_ptr + block[:, None] * stride_value_block
            + slot[:, None] * stride_value_slot + kv_head * stride_value_head
            + value_dims[None, :],
            mask=is_there[:, None] & (value_dims < VALUE_DIM)[None, :], other=0.0,
        ).to(query.dtype)  # fmt: skip  # [N, DV]
        total = total * shrink + tl.sum(weights, 1)
        values = values * shrink[:, None]
        values += tl.dot(weights.to(value.dtype), value, input_precision=PRECISION)
        highest = new_highest
    return highest, total, values


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
    key_dims = tl.arange(0, PADDED_KEY_DIM)
    query = tl.load(
        query_ptr + tokens[:, None] * stride_query_token + heads[:, None] * stride_query_head
        + key_dims[None, :],
        mask=is_used[:, None] & (key_dims < KEY_DIM)[None, :], other=0.0,
    )  # fmt: skip  # [M, DK]
    lowest = seq_len - num_new + start
    first_key = 0
    if HAS_WINDOW:
        first_key = tl.maximum(0, lowest - window + 1) // BLOCK_N * BLOCK_N
    last_key = tl.minimum(seq_len, lowest + BLOCK_Q)
    highest, total, values = _walk(
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


@triton.jit
def _decode_attention_kernel(
    query_ptr, partial_ptr, partial_highest_ptr, partial_total_ptr, cu_seqlens_ptr, seq_lens_ptr,
    key_cache_ptr, value_cache_ptr, block_table_ptr,
    stride_query_token, stride_query_head,
    stride_key_block, stride_key_slot, stride_key_head,
    stride_value_block, stride_value_slot, stride_value_head,
    stride_table_row, num_splits, scale, softcap, window,
    GROUP: tl.constexpr, BLOCK_SIZE: tl.constexpr, KEYS_PER_SPLIT: tl.constexpr,
    KEY_DIM: tl.constexpr, VALUE_DIM: tl.constexpr,
    PADDED_KEY_DIM: tl.constexpr, PADDED_VALUE_DIM: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    HAS_WINDOW: tl.constexpr, HAS_SOFTCAP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Rows with one new token; one program for a split of the keys, a row and one KV head."""
    row = tl.program_id(0).to(tl.int64)
    kv_head = tl.program_id(1).to(tl.int64)
    split = tl.program_id(2)
    token = tl.load(cu_seqlens_ptr + row).to(tl.int64)
    num_new = tl.load(cu_seqlens_ptr + row + 1) - token
    seq_len = tl.load(seq_lens_ptr + row)
    first_seen = 0
    if HAS_WINDOW:
        first_seen = tl.maximum(0, seq_len - window)
    first_key = tl.maximum(split * KEYS_PER_SPLIT, first_seen // BLOCK_N * BLOCK_N)
    last_key = tl.minimum(seq_len, (split + 1) * KEYS_PER_SPLIT)
    if num_new != 1 or first_key >= last_key:
        return
    lines = tl.arange(0, BLOCK_M)
    heads = kv_head * GROUP + lines
    is_used = lines < GROUP
    key_dims = tl.arange(0, PADDED_KEY_DIM)
    query = tl.load(
        query_ptr + token * stride_query_token + heads[:, None] * stride_query_head
        + key_dims[None, :],
        mask=is_used[:, None] & (key_dims < KEY_DIM)[None, :], other=0.0,
    )  # fmt: skip  # [M, DK]
    positions = tl.zeros([BLOCK_M], tl.int32) + seq_len - 1
    highest, total, values = _walk(
        query, positions, row, kv_head, first_key, last_key,
        key_cache_ptr, value_cache_ptr, block_table_ptr,
        stride_key_block, stride_key_slot, stride_key_head,
        stride_value_block, stride_value_slot, stride_value_head,
        stride_table_row, scale, softcap, window,
        BLOCK_SIZE, KEY_DIM, VALUE_DIM, PADDED_KEY_DIM, PADDED_VALUE_DIM, BLOCK_M, BLOCK_N,
        HAS_WINDOW, HAS_SOFTCAP, PRECISION,
    )  # fmt: skip
    num_heads = tl.num_programs(1) * GROUP
    place = (row * num_heads + heads) * num_splits + split  # [M]
    value_dims = tl.arange(0, PADDED_VALUE_DIM)
    tl.store(
        partial_ptr + place[:, None] * VALUE_DIM + value_dims[None, :], values,
        mask=is_used[:, None] & (value_dims < VALUE_DIM)[None, :],
    )  # fmt: skip
    tl.store(partial_highest_ptr + place, highest, mask=is_used)
    tl.store(partial_total_ptr + place, total, mask=is_used)


@triton.jit
def _join_splits_kernel(
    partial_ptr, partial_highest_ptr, partial_total_ptr, output_ptr, sinks_ptr,
    cu_seqlens_ptr, seq_lens_ptr, stride_output_token, stride_output_head,
    num_splits, window,
    KEYS_PER_SPLIT: tl.constexpr, VALUE_DIM: tl.constexpr, PADDED_VALUE_DIM: tl.constexpr,
    BLOCK_N: tl.constexpr, HAS_WINDOW: tl.constexpr, HAS_SINKS: tl.constexpr,
):  # fmt: skip
    """One program for a row with one new token and one query head: its splits, one by one."""
    row = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    token = tl.load(cu_seqlens_ptr + row).to(tl.int64)
    if tl.load(cu_seqlens_ptr + row + 1) - token != 1:
        return
    seq_len = tl.load(seq_lens_ptr + row)
    first_seen = 0
    if HAS_WINDOW:
        first_seen = tl.maximum(0, seq_len - window) // BLOCK_N * BLOCK_N
    value_dims = tl.arange(0, PADDED_VALUE_DIM)
    highest = float("-inf")
    total = 0.0
    values = tl.zeros([PADDED_VALUE_DIM], tl.float32)
    first = (row * tl.num_programs(1) + head) * num_splits
    for split in range(first_seen // KEYS_PER_SPLIT, tl.cdiv(seq_len, KEYS_PER_SPLIT)):
        split_highest = tl.load(partial_highest_ptr + first + split)
        new_highest = tl.maximum(highest, split_highest)
        base = tl.where(new_highest == float("-inf"), 0.0, new_highest)
        shrink, grow = tl.exp(highest - base), tl.exp(split_highest - base)
        split_values = tl.load(
            partial_ptr + (first + split) * VALUE_DIM + value_dims,
            mask=value_dims < VALUE_DIM, other=0.0,
        )  # fmt: skip
        values = values * shrink + split_values * grow
        total = total * shrink + tl.load(partial_total_ptr + first + split) * grow
        highest = new_highest
    if HAS_SINKS:
        total += tl.exp(tl.load(sinks_ptr + head).to(tl.float32) - highest)
    tl.store(
        output_ptr + token * stride_output_token + head * stride_output_head + value_dims,
        (values / total).to(output_ptr.dtype.element_ty), mask=value_dims < VALUE_DIM,
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
        "PADDED_KEY_DIM": max(_MIN_ROWS, triton.next_power_of_2(key_dim)),
        "PADDED_VALUE_DIM": max(_MIN_ROWS, triton.next_power_of_2(value_dim)),
        "HAS_WINDOW": sliding_window is not None,
        "HAS_SOFTCAP": softcap is not None,
        "PRECISION": "ieee" if query.dtype == torch.float32 else "tf32",
    }
    cache = (key_cache, value_cache, block_table)
    strides = (*key_cache.stride()[:3], *value_cache.stride()[:3], block_table.stride(0))
    numbers = (scale, softcap or 0.0, sliding_window or 0)
    _launch_chunks(query, output, sinks, cu_seqlens_q, seq_lens, cache, strides, numbers, shared)
    _launch_decode(query, output, sinks, cu_seqlens_q, seq_lens, cache, strides, numbers, shared)
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


def _launch_decode(
    query: Tensor, output: Tensor, sinks: Tensor | None, cu_seqlens_q: Tensor, seq_lens: Tensor,
    cache: tuple[Tensor, ...], strides: tuple[int, ...], numbers: tuple[float, ...],
    shared: dict[str, Any],
) -> None:  # fmt: skip
    num_rows, num_heads = len(seq_lens), query.shape[1]
    num_splits = -(-cache[2].shape[1] * shared["BLOCK_SIZE"] // _KEYS_PER_SPLIT)
    places = (num_rows, num_heads, num_splits)
    partial = query.new_empty((*places, shared["VALUE_DIM"]), dtype=torch.float32)
    highest, total = query.new_empty((2, *places), dtype=torch.float32)
    tile = _decode_tile(query.dtype, shared["PADDED_KEY_DIM"])
    block_m = max(_MIN_ROWS, triton.next_power_of_2(shared["GROUP"]))
    _decode_attention_kernel[(num_rows, cache[0].shape[2], num_splits)](
        query, partial, highest, total, cu_seqlens_q, seq_lens, *cache,
        query.stride(0), query.stride(1), *strides, num_splits, *numbers,
        **shared, KEYS_PER_SPLIT=_KEYS_PER_SPLIT, BLOCK_M=block_m, **tile,
    )  # fmt: skip
    _join_splits_kernel[(num_rows, num_heads)](
        partial, highest, total, output, sinks, cu_seqlens_q, seq_lens,
        output.stride(0), output.stride(1), num_splits, numbers[2],
        KEYS_PER_SPLIT=_KEYS_PER_SPLIT, VALUE_DIM=shared["VALUE_DIM"],
        PADDED_VALUE_DIM=shared["PADDED_VALUE_DIM"], BLOCK_N=tile["BLOCK_N"],
        HAS_WINDOW=shared["HAS_WINDOW"], HAS_SINKS=sinks is not None, num_warps=1,
    )  # fmt: skip


def _chunk_tile(dtype: torch.dtype, width: int) -> dict[str, int]:
    """Tile sizes of prefill. Not tuned on a device yet: the largest without spilled registers."""
    if dtype == torch.float32:
        return {"BLOCK_M": 32, "BLOCK_N": 32, "num_warps": 4, "num_stages": 2}
    if width > 128:
        return {"BLOCK_M": 64, "BLOCK_N": 16, "num_warps": 8, "num_stages": 2}
    return {"BLOCK_M": 128, "BLOCK_N": 64 if width <= 64 else 32, "num_warps": 8, "num_stages": 3}


def _decode_tile(dtype: torch.dtype, width: int) -> dict[str, int]:
    """Tile sizes of decoding. Not tuned on a device yet: the largest without spilled registers."""
    if width > 128:
        return {"BLOCK_N": 16, "num_warps": 4, "num_stages": 2}
    return {"BLOCK_N": 32, "num_warps": 4, "num_stages": 2 if dtype == torch.float32 else 3}
