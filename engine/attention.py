"""Paged attention behind transformers' `AttentionInterface`.

Owns: the function that a model's attention layers call, and the step it serves. Must not know:
requests, sampling. The object holds the step's tables itself instead of passing them through the
model's keyword arguments, which some architectures drop; each object has its own registered name,
so several engines can live in one process.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engine.kv_cache import KVCache
from engine.model.interface import register_attention, unregister_attention
from kernels.decoder_layers.layer import StepTables
from kernels.registry import resolve

__all__ = ["PagedAttention"]


class PagedAttention:
    """The attention function of one model. Set `step` before each forward pass.

    `layers` are the model's attention modules in the order of the cache's tensors.
    """

    def __init__(
        self, layers: Sequence[nn.Module], kv_cache: KVCache, *, device: torch.device
    ) -> None:
        self.step: StepTables | None = None
        self._caches = {layer: kv_cache.layer(index) for index, layer in enumerate(layers)}
        self._write_kv = resolve("write_kv", device)
        self._attend = resolve("paged_attention", device)
        self.name = register_attention(self)

    def caches(self, module: nn.Module) -> tuple[Tensor, Tensor]:
        """Keys and values of an attention module, [blocks, block_size, num_kv_heads, dim] each."""
        return self._caches[module]

    def close(self) -> None:
        """Give the name back. The model cannot run any more."""
        unregister_attention(self.name)
        self._caches.clear()
        self.step = None

    def __call__(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        sliding_window: int | None = None,
        softcap: float | None = None,
        s_aux: Tensor | None = None,
        **_: object,
    ) -> tuple[Tensor, None]:
        """Store the step's keys and values, attend over all that is stored.

        query: [1, num_heads, T, key_dim], key: [1, num_kv_heads, T, key_dim], value likewise with
        value_dim. Returns [1, T, num_heads, value_dim]. All KV of the step is written before any of
        it is read, so rows may share blocks that this very step fills.
        """
        step = self.step
        assert step is not None, "attention was called outside of a step"
        assert attention_mask is None, "a model that was probed without a mask brings one"
        key_cache, value_cache = self._caches[module]
        self._write_kv(
            key[0].transpose(0, 1),
            value[0].transpose(0, 1),
            key_cache,
            value_cache,
            step.slot_mapping,
        )
        output = self._attend(
            query[0].transpose(0, 1),
            key_cache,
            value_cache,
            step.block_table,
            step.cu_seqlens_q,
            step.seq_lens,
            scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
            sliding_window=sliding_window,
            softcap=softcap,
            sinks=s_aux,
        )
        return output.unsqueeze(0), None
