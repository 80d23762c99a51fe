"""What both attention kernels do with a tile of queries: load it, walk over keys with a running
softmax.

Owns: the load and the walk. Must not know: which queries a tile has, where its results go.

Keys and values of 8-bit floats become the query's dtype, which is exact, once they are loaded
(from compute capability 8.9 on: Triton has no such conversion for older GPUs).
"""

import triton
import triton.language as tl

__all__ = ["MIN_ROWS", "load_queries", "walk"]

MIN_ROWS = 16
"""Rows of the smallest tile, and columns: the matrix units take no less."""


@triton.jit
def load_queries(
    query_ptr, stride_token, stride_head, tokens, heads, is_used,
    KEY_DIM: tl.constexpr, PADDED_KEY_DIM: tl.constexpr,
):  # fmt: skip
    """Query vectors [M, DK] of `tokens` [M] (int64) and `heads` [M]; zeros where not `is_used`."""
    key_dims = tl.arange(0, PADDED_KEY_DIM)
    return tl.load(
        query_ptr + tokens[:, None] * stride_token + heads[:, None] * stride_head
        + key_dims[None, :],
        mask=is_used[:, None] & (key_dims < KEY_DIM)[None, :], other=0.0,
    )  # fmt: skip


@triton.jit
def _scores(
    query, key, scale, softcap, HAS_SOFTCAP: tl.constexpr, PRECISION: tl.constexpr
):  # fmt: skip
    scores = tl.dot(query, key, input_precision=PRECISION) * scale  # [M, N]
    if HAS_SOFTCAP:
        scores = softcap * (2.0 * tl.sigmoid(2.0 * scores / softcap) - 1.0)
    return scores


@triton.jit
def walk(
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
