"""Rows with more than one split of keys, in shapes that take each way through the kernel."""

from dataclasses import replace

from kernels.float8 import FLOAT8
from kernels.paged_attention.cases import PagedAttentionCase

__all__ = ["LONG_CASES"]

_PLAIN_CASES = (
    PagedAttentionCase(name="grouped", rows=((1, 1300), (40, 700), (3, 520), (1, 5))),
    PagedAttentionCase(
        name="real_heads_long",
        rows=((1, 1100), (1, 600), (90, 600), (5, 513)),
        num_heads=16,
        num_kv_heads=8,
        key_dim=128,
        value_dim=128,
    ),
    PagedAttentionCase(
        name="odd",
        rows=((1, 1100), (70, 1030), (2, 3)),
        num_heads=7,
        num_kv_heads=1,
        key_dim=19,
        value_dim=21,
        block_size=1,
    ),
    PagedAttentionCase(
        name="window_and_all",
        rows=((1, 1500), (50, 1200), (1, 700)),
        num_heads=16,
        num_kv_heads=2,
        key_dim=64,
        value_dim=64,
        block_size=8,
        sliding_window=600,
        softcap=3.0,
        has_sinks=True,
    ),
)

LONG_CASES = _PLAIN_CASES + tuple(
    replace(case, name=f"{case.name}_float8", cache_dtype=FLOAT8) for case in _PLAIN_CASES
)
