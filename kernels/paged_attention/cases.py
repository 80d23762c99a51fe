"""Shapes for paged attention, with inputs made from them: for tests and for the benchmark.

Owns: cases, tolerances, inputs. Must not know: implementations.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kernels.float8 import FLOAT8, as_stored
from kernels.tolerance import REDUCTION, Tolerance

__all__ = [
    "CASES",
    "MATRIX_TOLERANCES",
    "TOLERANCES",
    "PagedAttentionCase",
    "PagedAttentionInputs",
    "SharedText",
    "share_blocks",
    "unshare_blocks",
]

TOLERANCES = REDUCTION
# Matrix units take the softmax's weights in the dtype of the values, so these are rounded too.
# float32 products are summed in blocks, in another order than the reference's.
MATRIX_TOLERANCES = {
    torch.float32: Tolerance(2e-6, 5e-5),
    torch.bfloat16: Tolerance(2**-6, 2**-6),
    torch.float16: Tolerance(2**-9, 2**-9),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PagedAttentionInputs:
    """The arguments of one call, `PagedAttention`'s."""

    query: Tensor
    key_cache: Tensor
    value_cache: Tensor
    block_table: Tensor
    cu_seqlens_q: Tensor
    seq_lens: Tensor
    scale: float
    sliding_window: int | None
    softcap: float | None
    sinks: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PagedAttentionCase:
    """One step: `rows` are pairs (new tokens, tokens after the step), which have their first
    `num_shared` tokens in common. `cache_dtype` None: the query's.
    """

    name: str
    rows: tuple[tuple[int, int], ...]
    num_heads: int = 4
    num_kv_heads: int = 2
    key_dim: int = 16
    value_dim: int = 16
    block_size: int = 16
    sliding_window: int | None = None
    softcap: float | None = None
    has_sinks: bool = False
    cache_dtype: torch.dtype | None = None
    num_shared: int = 0

    def make_inputs(
        self, dtype: torch.dtype, device: str = "cpu", seed: int = 0
    ) -> PagedAttentionInputs:
        """Random inputs. Blocks are handed out in random order; every slot that no row may read,
        and one block that no row owns, holds NaN; unused entries of the block table point there.
        """
        generator = torch.Generator().manual_seed(seed)
        blocks_per_row = [-(-seq_len // self.block_size) for _, seq_len in self.rows]
        num_blocks = sum(blocks_per_row) + 1
        order = torch.randperm(num_blocks, generator=generator).int()
        poisoned = int(order[-1])
        block_table = torch.full(
            (len(self.rows), max(blocks_per_row, default=0) + 1), poisoned, dtype=torch.int32
        )
        shape = (num_blocks, self.block_size, self.num_kv_heads)
        key_cache = torch.full((*shape, self.key_dim), float("nan"))
        value_cache = torch.full((*shape, self.value_dim), float("nan"))
        taken = 0
        for row, (_, seq_len) in enumerate(self.rows):
            blocks = order[taken : taken + blocks_per_row[row]]
            taken += len(blocks)
            block_table[row, : len(blocks)] = blocks
            positions = torch.arange(seq_len)
            slots = (blocks[positions // self.block_size], positions % self.block_size)
            for cache in (key_cache, value_cache):
                cache[slots] = torch.randn(seq_len, *cache.shape[2:], generator=generator)
        lengths = torch.tensor(self.rows, dtype=torch.int32).view(-1, 2)
        query = torch.randn(
            int(lengths[:, 0].sum()), self.num_heads, self.key_dim, generator=generator
        )
        cu_seqlens_q = torch.zeros(len(self.rows) + 1, dtype=torch.int32)
        cu_seqlens_q[1:] = lengths[:, 0].cumsum(0)
        sinks = torch.randn(self.num_heads, generator=generator) if self.has_sinks else None
        inputs = PagedAttentionInputs(
            query=query.to(dtype).to(device),
            key_cache=as_stored(key_cache, self.cache_dtype or dtype).to(device),
            value_cache=as_stored(value_cache, self.cache_dtype or dtype).to(device),
            block_table=block_table.to(device),
            cu_seqlens_q=cu_seqlens_q.to(device),
            seq_lens=lengths[:, 1].contiguous().to(device),
            scale=self.key_dim**-0.5,
            sliding_window=self.sliding_window,
            softcap=self.softcap,
            sinks=None if sinks is None else sinks.to(dtype).to(device),
        )
        if not self.num_shared:
            return inputs
        return share_blocks(inputs, [SharedText((*range(len(self.rows)),), 0, self.num_shared)])


@dataclass(frozen=True, slots=True)
class SharedText:
    """`rows` have the same tokens at the positions [start, stop), in blocks of the first one."""

    rows: tuple[int, ...]
    start: int
    stop: int


def share_blocks(inputs: PagedAttentionInputs, texts: Iterable[SharedText]) -> PagedAttentionInputs:
    """The inputs with rows that name the same blocks, where these lie wholly within a shared text
    and a row is long enough. Texts are shared one after another.
    """
    size = inputs.key_cache.shape[1]
    table = inputs.block_table.clone()
    for text in texts:
        owner, *others = text.rows
        for row in others:
            num_blocks = -(-int(inputs.seq_lens[row]) // size)
            blocks = slice(-(-text.start // size), min(text.stop // size, num_blocks))
            table[row, blocks] = table[owner, blocks]
    return replace(inputs, block_table=table)


def unshare_blocks(inputs: PagedAttentionInputs, seed: int = 0) -> PagedAttentionInputs:
    """The same keys and values, in blocks that belong to one row each, in random order."""
    size = inputs.key_cache.shape[1]
    num_needed = [-(-seq_len // size) for seq_len in inputs.seq_lens.tolist()]
    needed = [row[:n] for row, n in zip(inputs.block_table, num_needed, strict=True)]
    order = torch.randperm(sum(num_needed), generator=torch.Generator().manual_seed(seed))
    places = order.argsort().int()
    table = torch.zeros_like(inputs.block_table)
    taken = 0
    for row, count in zip(table, num_needed, strict=True):
        row[:count] = places[taken : taken + count]
        taken += count
    blocks = torch.cat(needed).long()[order]
    return replace(
        inputs,
        key_cache=inputs.key_cache[blocks],
        value_cache=inputs.value_cache[blocks],
        block_table=table,
    )


_MIXED = ((1, 1), (1, 40), (17, 17), (5, 70), (1, 16), (64, 129), (0, 9), (2, 33))
_SHARED = ((1, 600), (1, 513), (3, 620), (1, 700), (1, 512), (1, 40), (1, 900))

CASES = (
    PagedAttentionCase(name="one_token", rows=((1, 1),)),
    PagedAttentionCase(name="decode", rows=tuple((1, n) for n in (1, 15, 16, 17, 100, 257))),
    PagedAttentionCase(name="prefill", rows=((33, 33), (128, 128), (1, 1))),
    PagedAttentionCase(name="mixed", rows=_MIXED),
    PagedAttentionCase(name="block_8", rows=_MIXED, block_size=8),
    PagedAttentionCase(name="block_1", rows=_MIXED, block_size=1),
    PagedAttentionCase(name="no_grouping", rows=_MIXED, num_heads=3, num_kv_heads=3),
    PagedAttentionCase(name="one_kv_head", rows=_MIXED, num_heads=7, num_kv_heads=1),
    PagedAttentionCase(name="odd_width", rows=_MIXED, key_dim=19, value_dim=19),
    PagedAttentionCase(name="narrow_values", rows=_MIXED, key_dim=24, value_dim=12),
    PagedAttentionCase(name="wide_values", rows=_MIXED, key_dim=8, value_dim=40),
    PagedAttentionCase(name="window_16", rows=_MIXED, sliding_window=16),
    PagedAttentionCase(name="window_1", rows=_MIXED, sliding_window=1),
    PagedAttentionCase(name="window_wider", rows=_MIXED, sliding_window=4096),
    PagedAttentionCase(name="softcap", rows=_MIXED, softcap=2.0),
    PagedAttentionCase(name="sinks", rows=_MIXED, has_sinks=True),
    PagedAttentionCase(name="shared", rows=_SHARED, num_shared=512),
    PagedAttentionCase(
        name="shared_window", rows=_SHARED, num_shared=512, sliding_window=620, block_size=8
    ),
    PagedAttentionCase(
        name="everything",
        rows=_MIXED,
        num_heads=6,
        num_kv_heads=2,
        key_dim=20,
        value_dim=12,
        block_size=8,
        sliding_window=13,
        softcap=3.0,
        has_sinks=True,
    ),
    PagedAttentionCase(
        name="real_heads",
        rows=((1, 300), (40, 200)),
        num_heads=16,
        num_kv_heads=8,
        key_dim=128,
        value_dim=128,
    ),
    PagedAttentionCase(name="float8", rows=_MIXED, cache_dtype=FLOAT8),
    PagedAttentionCase(
        name="float8_everything",
        rows=_MIXED,
        num_heads=6,
        num_kv_heads=2,
        key_dim=20,
        value_dim=12,
        block_size=8,
        sliding_window=13,
        softcap=3.0,
        has_sinks=True,
        cache_dtype=FLOAT8,
    ),
    PagedAttentionCase(
        name="float8_wide",
        rows=((1, 300), (40, 90)),
        num_heads=8,
        num_kv_heads=2,
        key_dim=128,
        value_dim=64,
        cache_dtype=FLOAT8,
    ),
)
