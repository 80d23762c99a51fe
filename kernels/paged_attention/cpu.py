"""Paged attention on the CPU, compiled: `kernels/cpu/attention.h` and what it leads to.

Owns: checking the tensors and handing them over. Serves float32 and bfloat16, over caches of the
same dtype or of 8-bit floats; for other dtypes the reference answers. A row's bits depend neither
on other rows nor on threads, and (but for the instruction set "amx" with a cache of bfloat16) not
on how its prompt is cut into chunks.

Rows that decode and have the same blocks in their tables, 256 positions at a time, have keys and
values there fetched once for all of them. Nobody tells: the tables are compared in each call.
"""

import ctypes
from ctypes import c_double, c_int64, c_void_p

import torch
from torch import Tensor

from kernels.cpu_library import cpu_library
from kernels.float8 import FLOAT8
from kernels.paged_attention import reference

__all__ = ["AttentionArguments", "attention_arguments", "num_fetched_tiles", "paged_attention"]

_DATA_TYPES = {torch.float32: 0, torch.bfloat16: 1, FLOAT8: 2}
_Two, _Three = c_int64 * 2, c_int64 * 3


class AttentionArguments(ctypes.Structure):
    """The structure of that name in `kernels/cpu/attention.h`."""

    _fields_ = (
        *((name, c_void_p) for name in ("query", "key_cache", "value_cache", "output")),
        *((name, c_void_p) for name in ("block_table", "cu_seqlens_q", "seq_lens", "sinks")),
        *((name, c_int64) for name in ("data_type", "cache_type", "num_tokens", "num_rows")),
        *((name, c_int64) for name in ("num_heads", "num_kv_heads", "key_dim", "value_dim")),
        *((name, c_int64) for name in ("num_blocks", "block_size", "table_width")),
        ("query_strides", _Two),
        ("key_strides", _Three),
        ("value_strides", _Three),
        *((name, c_int64) for name in ("block_table_stride", "sliding_window", "num_threads")),
        ("scale", c_double),
        ("softcap", c_double),
    )


class _TileCount(ctypes.Structure):
    """TileCount in `kernels/cpu/attention.h`."""

    _fields_ = (("call", AttentionArguments), ("num_tiles", c_int64))


_library = cpu_library()
assert _library is not None, "this module is imported only where the library is"
_call = _library.function("paged_attention", AttentionArguments)
_count = _library.function("attention_tiles", _TileCount)


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
    """See `kernels.paged_attention.PagedAttention`.

    Raises ValueError if shapes do not fit together, IndexError if a row names a block or a token
    that is not there.
    """
    if not _is_served(query.dtype, key_cache.dtype, value_cache.dtype):
        return reference.paged_attention(
            query,
            key_cache,
            value_cache,
            block_table,
            cu_seqlens_q,
            seq_lens,
            scale=scale,
            sliding_window=sliding_window,
            softcap=softcap,
            sinks=sinks,
        )
    num_tokens, num_heads, _ = query.shape
    output = query.new_empty(num_tokens, num_heads, value_cache.size(-1))
    wide_sinks = None if sinks is None else sinks.float().contiguous()
    _call(
        attention_arguments(
            query,
            key_cache,
            value_cache,
            output,
            block_table,
            cu_seqlens_q,
            seq_lens,
            wide_sinks,
            scale,
            sliding_window,
            softcap,
        )
    )
    return output


def num_fetched_tiles(
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
) -> int:
    """How many tiles of keys, 64 positions of one KV head each, `paged_attention` fetches if it is
    called with these arguments: what the sharing of a prefix saves, exactly. Computes nothing.

    Raises what that call raises. For dtypes that the library serves.
    """
    count = _TileCount(
        attention_arguments(
            query,
            key_cache,
            value_cache,
            query,
            block_table,
            cu_seqlens_q,
            seq_lens,
            sinks,
            scale,
            sliding_window,
            softcap,
        )
    )
    _count(count)
    return int(count.num_tiles)


def attention_arguments(
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    output: Tensor,
    block_table: Tensor,
    cu_seqlens_q: Tensor,
    seq_lens: Tensor,
    sinks: Tensor | None,
    scale: float,
    sliding_window: int | None,
    softcap: float | None,
) -> AttentionArguments:
    """The arguments as the library takes them. They hold pointers, not the tensors. Raises
    ValueError if shapes do not fit together.
    """
    _check(
        query, key_cache, value_cache, block_table, cu_seqlens_q, seq_lens, sinks, sliding_window
    )
    num_tokens, num_heads, key_dim = query.shape
    num_blocks, block_size, num_kv_heads, value_dim = value_cache.shape
    num_rows, table_width = block_table.shape
    return AttentionArguments(
        query.data_ptr(),
        key_cache.data_ptr(),
        value_cache.data_ptr(),
        output.data_ptr(),
        block_table.data_ptr(),
        cu_seqlens_q.data_ptr(),
        seq_lens.data_ptr(),
        None if sinks is None else sinks.data_ptr(),
        _DATA_TYPES[query.dtype],
        _DATA_TYPES[key_cache.dtype],
        num_tokens,
        num_rows,
        num_heads,
        num_kv_heads,
        key_dim,
        value_dim,
        num_blocks,
        block_size,
        table_width,
        query.stride()[:2],
        key_cache.stride()[:3],
        value_cache.stride()[:3],
        block_table.stride(0),
        sliding_window or 0,
        torch.get_num_threads(),
        scale,
        softcap or 0.0,
    )


def _is_served(query: torch.dtype, keys: torch.dtype, values: torch.dtype) -> bool:
    return query in (torch.float32, torch.bfloat16) and keys == values and keys in (query, FLOAT8)


def _check(
    query: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    block_table: Tensor,
    cu_seqlens_q: Tensor,
    seq_lens: Tensor,
    sinks: Tensor | None,
    sliding_window: int | None,
) -> None:
    """Raise ValueError if these do not fit together, or have strides that are not served."""
    _, num_heads, key_dim = query.shape
    num_blocks, block_size, num_kv_heads, _ = value_cache.shape
    num_rows, table_width = block_table.shape
    if (
        key_cache.shape != (num_blocks, block_size, num_kv_heads, key_dim)
        or num_heads % num_kv_heads
        or cu_seqlens_q.shape != (num_rows + 1,)
        or seq_lens.shape != (num_rows,)
        or not block_table.dtype == cu_seqlens_q.dtype == seq_lens.dtype == torch.int32
        or not cu_seqlens_q.is_contiguous()
        or not seq_lens.is_contiguous()
        or query.stride(2) != 1
        or key_cache.stride(3) != 1
        or value_cache.stride(3) != 1
        or (table_width > 1 and block_table.stride(1) != 1)
        or (sinks is not None and sinks.shape != (num_heads,))
        or (sliding_window is not None and sliding_window < 1)
    ):
        raise ValueError(
            "paged_attention: tensors do not fit together: "
            f"query {_describe(query)}, key_cache {_describe(key_cache)}, "
            f"value_cache {_describe(value_cache)}, block_table {_describe(block_table)}, "
            f"cu_seqlens_q {_describe(cu_seqlens_q)}, seq_lens {_describe(seq_lens)}, "
            f"sinks {None if sinks is None else _describe(sinks)}, window {sliding_window}"
        )


def _describe(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)} strides {tensor.stride()}"
