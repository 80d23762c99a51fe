"""Paged attention, spelled out: one row at a time, gathered, multiplied, masked, averaged.

Owns: the reference on any device. Must not know: models.

A row is computed from copies of its own data, in shapes that depend on it alone, so its bits do not
depend on the other rows. They do depend on how its prompt is cut: products of other shapes may be
summed in another order. Queries are taken in tiles that start at multiples of 64 positions, each
with the keys up to its end, so chunks that end at such multiples give the same bits as one piece;
other chunks do not (float32 on a CPU with MKL: chunks of 7 change the last bits of one token in
twenty, decoding one token at a time those of most tokens with heads 128 wide).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from kernels.float8 import movable

__all__ = ["paged_attention"]

_TILE = 64


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
    """See `kernels.paged_attention.PagedAttention`."""
    num_tokens, num_heads, _ = query.shape
    block_size, num_kv_heads = key_cache.shape[1:3]
    output = query.new_zeros(num_tokens, num_heads, value_cache.shape[3])
    sink_scores = None
    if sinks is not None:
        sink_scores = sinks.float().view(num_kv_heads, num_heads // num_kv_heads, 1, 1)

    bounds = cu_seqlens_q.tolist()
    for row, seq_len in enumerate(seq_lens.tolist()):
        row_start, row_stop = bounds[row], bounds[row + 1]
        if row_start == row_stop:
            continue
        offset = row_stop - seq_len  # from a position to its token in the flat row
        first_key = _first_key(seq_len - (row_stop - row_start), sliding_window)
        first_block = first_key // block_size
        first_key = first_block * block_size
        blocks = block_table[row, first_block : -(-seq_len // block_size)]
        row_key = _gather(key_cache, blocks)  # [S, Hkv, Dk]
        row_value = _gather(value_cache, blocks)  # [S, Hkv, Dv]
        for start, stop in _tiles(row_start - offset, seq_len):
            lowest = _first_key(start, sliding_window)
            keys = slice(lowest - first_key, stop - first_key)
            output[start + offset : stop + offset] = _attend(
                query[start + offset : stop + offset],
                row_key[keys],
                row_value[keys],
                _visible_keys(start, stop, lowest, sliding_window, query.device),
                sink_scores,
                scale,
                softcap,
            )
    return output


def _gather(cache: Tensor, blocks: Tensor) -> Tensor:
    """The tokens of these blocks, in the cache's dtype."""
    return movable(cache).index_select(0, blocks).view(cache.dtype).flatten(0, 1)


def _tiles(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Cut the positions [start, stop) at the multiples of the tile size: scores then take bounded
    memory, and tokens come in the same company whichever chunks end at such a multiple.
    """
    while start < stop:
        end = min(stop, start // _TILE * _TILE + _TILE)
        yield start, end
        start = end


def _first_key(position: int, sliding_window: int | None) -> int:
    """The first key that the token at `position` sees."""
    return 0 if sliding_window is None else max(0, position - sliding_window + 1)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    visible: Tensor | None,
    sink_scores: Tensor | None,
    scale: float,
    softcap: float | None,
) -> Tensor:
    """Attention of one row. query: [n, Hq, Dk], key: [S, Hkv, Dk], value: [S, Hkv, Dv],
    visible: [n, S] bool, sink_scores: [Hkv, G, 1, 1]. Returns float32 [n, Hq, Dv].
    """
    num_queries, num_heads, key_dim = query.shape
    num_keys, num_kv_heads, value_dim = value.shape
    group = num_heads // num_kv_heads
    # Heads that share a KV head become more queries of that head: [Hkv, G * n, Dk].
    grouped = (query.float() * scale).view(num_queries, num_kv_heads, group, key_dim)
    grouped = grouped.permute(1, 2, 0, 3).reshape(num_kv_heads, group * num_queries, key_dim)
    scores = torch.bmm(grouped, key.float().permute(1, 2, 0))  # [Hkv, G * n, S]
    if softcap is not None:
        scores = scores.div_(softcap).tanh_().mul_(softcap)
    scores = scores.view(num_kv_heads, group, num_queries, num_keys)
    if visible is not None:
        scores = scores.masked_fill_(~visible, float("-inf"))
    if sink_scores is None:
        weights = scores.softmax(dim=-1)
    else:
        sink = sink_scores.expand(-1, -1, num_queries, -1)
        weights = torch.cat([scores, sink], dim=-1).softmax(dim=-1)[..., :-1]
    weights = weights.reshape(num_kv_heads, group * num_queries, num_keys)
    result = torch.bmm(weights, value.float().transpose(0, 1))  # [Hkv, G * n, Dv]
    result = result.view(num_kv_heads, group, num_queries, value_dim)
    return result.permute(2, 0, 1, 3).reshape(num_queries, num_heads, value_dim)


def _visible_keys(
    start: int, stop: int, first_key: int, sliding_window: int | None, device: torch.device
) -> Tensor | None:
    """Which of the keys [first_key, stop) each of the queries [start, stop) sees, [n, S] bool; None
    if the only query sees all of them.
    """
    if stop - start == 1:
        return None
    queries = torch.arange(start, stop, device=device)[:, None]
    keys = torch.arange(first_key, stop, device=device)
    visible = keys <= queries
    if sliding_window is not None:
        visible &= keys > queries - sliding_window
    return visible
