"""Attention of new tokens over the paged KV cache: the contract of the op "paged_attention".

One call serves a whole step: rows that decode one token, rows that prefill a chunk, rows whose
prefix came from the cache. The keys and values of the step's own tokens have been written before
(`kernels.kv_cache`), so everything is read through the block table.

Must not know: requests, layers, models.
"""

from typing import Protocol

from torch import Tensor

from kernels.cpu_library import register_compiled
from kernels.triton_library import register_triton

__all__ = ["PagedAttention"]


class PagedAttention(Protocol):
    """The callable of the op "paged_attention"."""

    def __call__(
        self,
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
        """Causal attention of R rows. Nothing is modified.

        query:        [T, Hq, Dk], the rows' new tokens one after another; last dimension
                      contiguous.
        key_cache:    [N, B, Hkv, Dk], blocks of B tokens; Hq is a multiple of Hkv, and query head
                      h reads KV head h // (Hq // Hkv). In the query's dtype, or float8_e4m3fn,
                      whose elements are what they stand for, without scales.
        value_cache:  [N, B, Hkv, Dv] in the dtype of key_cache; Dv may differ from Dk.
        block_table:  [R, max_blocks] int32: position p of row r lies in block
                      block_table[r, p // B] at offset p % B. Entries after the last needed block
                      are not read; neither are blocks that lie wholly before the window of all of
                      the row's new tokens. max_blocks * B bounds every seq_len, so a tight table
                      helps those that must choose a launch without reading seq_lens.
        cu_seqlens_q: [R + 1] int32, starts at 0: row r owns tokens [cu[r], cu[r + 1]).
        seq_lens:     [R] int32, tokens of row r after this step, at least its new tokens. Token t
                      of a row with q_len new ones is at position seq_len - q_len + t.
        scale:        factor of the scores, before softcap.
        sliding_window: a token at position q sees the keys k with q - window < k <= q.
        softcap:      scores become softcap * tanh(score / softcap).
        sinks:        [Hq]: one more score per head that joins the softmax's denominator and has no
                      value (GPT-OSS); neither scaled nor capped.

        Returns [T, Hq, Dv] in the query's dtype, computed in float32. A row may have no new token;
        nothing of it is read then.
        Tokens from cu[R] on are padding: they read nothing, and what is returned for them is
        unspecified. A row's result depends on that row alone, bit for bit.
        """
        ...


register_compiled("paged_attention", "kernels.paged_attention.cpu")
register_triton("paged_attention", "kernels.paged_attention.gpu")
