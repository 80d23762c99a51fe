"""Shapes for writing keys and values: for tests and for the benchmark.

Owns: cases, inputs. Writing is exact up to the conversion to the cache's dtype, so there are no
tolerances. Must not know: implementations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["CASES", "WriteKVCase", "WriteKVInputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteKVInputs:
    """The arguments of one call, `WriteKV`'s."""

    key: Tensor
    value: Tensor
    key_cache: Tensor
    value_cache: Tensor
    slot_mapping: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteKVCase:
    """`num_tokens` tokens to random slots; every third one is skipped if `has_padding`."""

    name: str
    num_tokens: int
    num_blocks: int = 12
    block_size: int = 16
    num_kv_heads: int = 2
    key_dim: int = 16
    value_dim: int = 16
    has_padding: bool = False

    def make_inputs(
        self,
        dtype: torch.dtype,
        *,
        cache_dtype: torch.dtype | None = None,
        device: str = "cpu",
        seed: int = 0,
    ) -> WriteKVInputs:
        """Random inputs; the caches hold NaN. `cache_dtype` None: `dtype`."""
        generator = torch.Generator().manual_seed(seed)
        slots = torch.randperm(self.num_blocks * self.block_size, generator=generator)
        slots = slots[: self.num_tokens].clone()
        if self.has_padding:
            slots[::3] = -1
        heads, cache_shape = self.num_kv_heads, (self.num_blocks, self.block_size)
        key, value = (
            torch.randn(self.num_tokens, heads, width, generator=generator).to(dtype).to(device)
            for width in (self.key_dim, self.value_dim)
        )
        key_cache, value_cache = (
            torch.full(
                (*cache_shape, heads, width),
                float("nan"),
                dtype=cache_dtype or dtype,
                device=device,
            )
            for width in (self.key_dim, self.value_dim)
        )
        return WriteKVInputs(
            key=key,
            value=value,
            key_cache=key_cache,
            value_cache=value_cache,
            slot_mapping=slots.to(device),
        )


CASES = (
    WriteKVCase(name="one_token", num_tokens=1),
    WriteKVCase(name="no_token", num_tokens=0),
    WriteKVCase(name="chunk", num_tokens=101),
    WriteKVCase(name="padding", num_tokens=77, has_padding=True),
    WriteKVCase(name="only_padding", num_tokens=1, has_padding=True),
    WriteKVCase(name="block_1", num_tokens=9, block_size=1),
    WriteKVCase(name="odd", num_tokens=50, num_kv_heads=3, key_dim=19, value_dim=7, block_size=8),
)
