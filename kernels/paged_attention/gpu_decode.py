"""Attention of rows with one new token in Triton: splits of their keys, then a join of these.

Owns: the two kernels, their launch and tile sizes. Must not know: rows with several new tokens.

Rows that name the same blocks for a whole split (a system prompt, a document) are computed by one
program, whose tile has room for more than one row's heads anyway, so the split's keys are read
once. It finds them by itself: rows stand in tiles of neighbours, and the first of those that are
alike serves them all. A line of the tile has the same bits wherever it stands and whatever the
others hold, so who shares with whom does not show in the results.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.paged_attention.gpu_walk import MIN_ROWS, load_queries, walk

__all__ = ["launch_decode"]

_KEYS_PER_SPLIT = 512


@triton.jit
def _rows_alike(
    row, split, cu_seqlens_ptr, seq_lens_ptr, block_table_ptr, stride_table_row, window,
    ROWS_PER_TILE: tl.constexpr, BLOCK_SIZE: tl.constexpr, KEYS_PER_SPLIT: tl.constexpr,
    HAS_WINDOW: tl.constexpr,
):  # fmt: skip
    """Which rows of `row`'s tile one program can serve, as bits: those that decode one token, see
    the whole split as it does, and name its blocks for it; and `row` itself in any case.
    """
    places = tl.arange(0, ROWS_PER_TILE)
    rows = row // ROWS_PER_TILE * ROWS_PER_TILE + places
    is_there = rows < tl.num_programs(0)
    first_token = tl.load(cu_seqlens_ptr + rows, mask=is_there, other=0)
    num_new = tl.load(cu_seqlens_ptr + rows + 1, mask=is_there, other=0) - first_token
    seq_lens = tl.load(seq_lens_ptr + rows, mask=is_there, other=0)
    own_seq_len = tl.load(seq_lens_ptr + row)
    first, last = split * KEYS_PER_SPLIT, (split + 1) * KEYS_PER_SPLIT
    sees_all = is_there & (num_new == 1) & (tl.minimum(seq_lens, own_seq_len) >= last)
    if HAS_WINDOW:
        sees_all &= tl.maximum(seq_lens, own_seq_len) - window <= first
    blocks = first // BLOCK_SIZE + tl.arange(0, KEYS_PER_SPLIT // BLOCK_SIZE)
    own = tl.load(
        block_table_ptr + row.to(tl.int64) * stride_table_row + blocks,
        mask=blocks * BLOCK_SIZE < own_seq_len, other=-1,
    )  # fmt: skip
    theirs = tl.load(
        block_table_ptr + rows.to(tl.int64)[:, None] * stride_table_row + blocks[None, :],
        mask=sees_all[:, None], other=-2,
    )  # fmt: skip  # [rows of the tile, blocks of the split]
    is_alike = sees_all & (tl.min((theirs == own[None, :]).to(tl.int32), 1) == 1)
    return tl.sum(tl.where(is_alike, 1 << places, 0)) | 1 << row % ROWS_PER_TILE


@triton.jit
def _decode_attention_kernel(
    query_ptr, partial_ptr, partial_highest_ptr, partial_total_ptr, cu_seqlens_ptr, seq_lens_ptr,
    key_cache_ptr, value_cache_ptr, block_table_ptr,
    stride_query_token, stride_query_head,
    stride_key_block, stride_key_slot, stride_key_head,
    stride_value_block, stride_value_slot, stride_value_head,
    stride_table_row, num_splits, scale, softcap, window,
    GROUP: tl.constexpr, ROWS_PER_TILE: tl.constexpr, BLOCK_SIZE: tl.constexpr,
    KEYS_PER_SPLIT: tl.constexpr,
    KEY_DIM: tl.constexpr, VALUE_DIM: tl.constexpr,
    PADDED_KEY_DIM: tl.constexpr, PADDED_VALUE_DIM: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    HAS_WINDOW: tl.constexpr, HAS_SOFTCAP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Rows with one new token; one program for a split of the keys, a row and one KV head.

    The programs of rows whose keys of this split another program reads end at once.
    """
    row = tl.program_id(0)
    kv_head = tl.program_id(1).to(tl.int64)
    split = tl.program_id(2)
    token = tl.load(cu_seqlens_ptr + row)
    num_new = tl.load(cu_seqlens_ptr + row + 1) - token
    seq_len = tl.load(seq_lens_ptr + row)
    first_seen = 0
    if HAS_WINDOW:
        first_seen = tl.maximum(0, seq_len - window)
    first_key = tl.maximum(split * KEYS_PER_SPLIT, first_seen // BLOCK_N * BLOCK_N)
    last_key = tl.minimum(seq_len, (split + 1) * KEYS_PER_SPLIT)
    if num_new != 1 or first_key >= last_key:
        return
    served = 1
    if ROWS_PER_TILE > 1:
        served = _rows_alike(
            row, split, cu_seqlens_ptr, seq_lens_ptr, block_table_ptr, stride_table_row, window,
            ROWS_PER_TILE, BLOCK_SIZE, KEYS_PER_SPLIT, HAS_WINDOW,
        )  # fmt: skip
    if served & (1 << row % ROWS_PER_TILE) - 1 != 0:
        return
    lines = tl.arange(0, BLOCK_M)
    place_in_tile = lines // GROUP
    is_used = (place_in_tile < ROWS_PER_TILE) & (served >> place_in_tile & 1 == 1)
    rows = (row // ROWS_PER_TILE * ROWS_PER_TILE + place_in_tile).to(tl.int64)
    tokens = tl.load(cu_seqlens_ptr + rows, mask=is_used, other=0).to(tl.int64)
    heads = kv_head * GROUP + lines % GROUP
    query = load_queries(
        query_ptr, stride_query_token, stride_query_head, tokens, heads, is_used,
        KEY_DIM, PADDED_KEY_DIM,
    )  # fmt: skip
    # What is shared lies before each row's own token; a row alone sees to its end.
    positions = tl.zeros([BLOCK_M], tl.int32) + seq_len - 1
    highest, total, values = walk(
        query, positions, row.to(tl.int64), kv_head, first_key, last_key,
        key_cache_ptr, value_cache_ptr, block_table_ptr,
        stride_key_block, stride_key_slot, stride_key_head,
        stride_value_block, stride_value_slot, stride_value_head,
        stride_table_row, scale, softcap, window,
        BLOCK_SIZE, KEY_DIM, VALUE_DIM, PADDED_KEY_DIM, PADDED_VALUE_DIM, BLOCK_M, BLOCK_N,
        HAS_WINDOW, HAS_SOFTCAP, PRECISION,
    )  # fmt: skip
    num_heads = tl.num_programs(1) * GROUP
    place = (rows * num_heads + heads) * num_splits + split  # [M]
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


def launch_decode(
    query: Tensor, output: Tensor, sinks: Tensor | None, cu_seqlens_q: Tensor, seq_lens: Tensor,
    cache: tuple[Tensor, ...], strides: tuple[int, ...], numbers: tuple[float, ...],
    shared: dict[str, Any],
) -> None:  # fmt: skip
    """Write the output of rows with one new token; `gpu.paged_attention` says what the rest is."""
    num_rows, num_heads = len(seq_lens), query.shape[1]
    num_splits = -(-cache[2].shape[1] * shared["BLOCK_SIZE"] // _KEYS_PER_SPLIT)
    places = (num_rows, num_heads, num_splits)
    partial = query.new_empty((*places, shared["VALUE_DIM"]), dtype=torch.float32)
    highest, total = query.new_empty((2, *places), dtype=torch.float32)
    tile = _decode_tile(query.dtype, shared["PADDED_KEY_DIM"])
    group, block_size = shared["GROUP"], shared["BLOCK_SIZE"]
    block_m = max(MIN_ROWS, triton.next_power_of_2(group))
    # A split that does not begin and end with a block is not shared.
    is_shareable = _KEYS_PER_SPLIT % block_size == 0
    _decode_attention_kernel[(num_rows, cache[0].shape[2], num_splits)](
        query, partial, highest, total, cu_seqlens_q, seq_lens, *cache,
        query.stride(0), query.stride(1), *strides, num_splits, *numbers,
        **shared, KEYS_PER_SPLIT=_KEYS_PER_SPLIT, BLOCK_M=block_m,
        ROWS_PER_TILE=block_m // triton.next_power_of_2(group) if is_shareable else 1, **tile,
    )  # fmt: skip
    _join_splits_kernel[(num_rows, num_heads)](
        partial, highest, total, output, sinks, cu_seqlens_q, seq_lens,
        output.stride(0), output.stride(1), num_splits, numbers[2],
        KEYS_PER_SPLIT=_KEYS_PER_SPLIT, VALUE_DIM=shared["VALUE_DIM"],
        PADDED_VALUE_DIM=shared["PADDED_VALUE_DIM"], BLOCK_N=tile["BLOCK_N"],
        HAS_WINDOW=shared["HAS_WINDOW"], HAS_SINKS=sinks is not None, num_warps=1,
    )  # fmt: skip


def _decode_tile(dtype: torch.dtype, width: int) -> dict[str, int]:
    """Tile sizes of decoding. Not tuned on a device yet: the largest without spilled registers."""
    if width > 128:
        return {"BLOCK_N": 16, "num_warps": 4, "num_stages": 2}
    return {"BLOCK_N": 32, "num_warps": 4, "num_stages": 2 if dtype == torch.float32 else 3}
