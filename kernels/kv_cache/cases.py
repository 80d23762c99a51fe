"""Shapes for writing keys and values: for tests and for the benchmark.

Owns: cases, inputs. Writing is exact up to the conversion to the cache's dtype, so there are no
tolerances. Must not know: implementations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.float8 import FLOAT8, as_stored

__all__ = ["CASES", "WriteKVCase", "WriteKVInputs"]

_SPECIALS = (
    *(float("inf"), float("-inf"), float("nan"), 0.0, -0.0, 448.0, -448.0, 449.0, 463.9, 464.0),
    *(-465.0, 480.0, 1e4, -3e38, 2**-6, 2**-7, 2**-9, 2**-10, -(2**-10), 1.5 * 2**-9, 2**-11),
    *(1e-30, -1e-42, 1.9375 * 2**-7, 17.0, 19.0, 1.0625, 1.1875, 0.0146484375, 0.0166015625),
)


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
    """`num_tokens` tokens to random slots; every third one is skipped if `has_padding`.

    `cache_dtype` None: that of the keys. `scale` is the size of the numbers; with `has_specials`
    some are infinite, NaN, zeros of both signs, or too small for a cache of 8-bit floats.
    """

    name: str
    num_tokens: int
    num_blocks: int = 12
    block_size: int = 16
    num_kv_heads: int = 2
    key_dim: int = 16
    value_dim: int = 16
    has_padding: bool = False
    cache_dtype: torch.dtype | None = None
    scale: float = 1.0
    has_specials: bool = False

    def make_inputs(
        self,
        dtype: torch.dtype,
        *,
        device: str = "cpu",
        seed: int = 0,
    ) -> WriteKVInputs:
        """Random inputs; the caches hold NaN."""
        generator = torch.Generator().manual_seed(seed)
        slots = torch.randperm(self.num_blocks * self.block_size, generator=generator)
        slots = slots[: self.num_tokens].clone()
        if self.has_padding:
            slots[::3] = -1
        heads, cache_shape = self.num_kv_heads, (self.num_blocks, self.block_size)
        key, value = (
            self._numbers((self.num_tokens, heads, width), generator).to(dtype).to(device)
            for width in (self.key_dim, self.value_dim)
        )
        key_cache, value_cache = (
            as_stored(
                torch.full((*cache_shape, heads, width), float("nan")), self.cache_dtype or dtype
            ).to(device)
            for width in (self.key_dim, self.value_dim)
        )
        return WriteKVInputs(
            key=key,
            value=value,
            key_cache=key_cache,
            value_cache=value_cache,
            slot_mapping=slots.to(device),
        )

    def _numbers(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        numbers = torch.randn(shape, generator=generator) * self.scale
        if self.has_specials:
            flat = numbers.view(-1)
            specials = torch.tensor(_SPECIALS).repeat(-(-len(flat) // (3 * len(_SPECIALS))))
            flat[::3] = specials[: len(flat[::3])]
        return numbers


CASES = (
    WriteKVCase(name="one_token", num_tokens=1),
    WriteKVCase(name="no_token", num_tokens=0),
    WriteKVCase(name="chunk", num_tokens=101),
    WriteKVCase(name="padding", num_tokens=77, has_padding=True),
    WriteKVCase(name="only_padding", num_tokens=1, has_padding=True),
    WriteKVCase(name="block_1", num_tokens=9, block_size=1),
    WriteKVCase(name="odd", num_tokens=50, num_kv_heads=3, key_dim=19, value_dim=7, block_size=8),
    WriteKVCase(name="float8", num_tokens=101, has_padding=True, cache_dtype=FLOAT8),
    WriteKVCase(name="float8_small", num_tokens=50, cache_dtype=FLOAT8, scale=0.01),
    WriteKVCase(
        name="float8_specials",
        num_tokens=77,
        num_kv_heads=3,
        key_dim=19,
        value_dim=7,
        cache_dtype=FLOAT8,
        scale=300.0,
        has_specials=True,
    ),
)
