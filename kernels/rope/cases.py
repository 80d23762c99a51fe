"""Shapes for rotary embedding: for tests and for the benchmark.

Owns: cases, tolerances, inputs. Must not know: implementations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.tolerance import DTYPES, Tolerance

__all__ = ["CASES", "TOLERANCES", "RopeCase", "RopeInputs"]

# The difference of two products may be near zero: the bound is that of the products' rounding.
_BOUNDS = (Tolerance(1e-6, 1e-6), Tolerance(2**-5, 2**-7), Tolerance(2**-8, 2**-10))
TOLERANCES = dict(zip(DTYPES, _BOUNDS, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeInputs:
    """The arguments of one call, `Rope`'s."""

    query: Tensor
    key: Tensor
    cos: Tensor
    sin: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeCase:
    """`rotary_dim` None: all of `head_dim` turns."""

    name: str
    num_tokens: int
    num_heads: int = 4
    num_kv_heads: int = 2
    head_dim: int = 16
    rotary_dim: int | None = None
    first_position: int = 0

    def make_inputs(self, dtype: torch.dtype, device: str = "cpu", seed: int = 0) -> RopeInputs:
        """Random query and key; angles of consecutive positions from base 10,000."""
        generator = torch.Generator().manual_seed(seed)
        rotary_dim = self.rotary_dim or self.head_dim
        positions = torch.arange(self.num_tokens, dtype=torch.float64) + self.first_position
        powers = torch.arange(0, rotary_dim, 2, dtype=torch.float64) / rotary_dim
        angles = positions[:, None] * 10_000.0**-powers
        angles = torch.cat([angles, angles], dim=-1)  # [T, rotary_dim]
        query, key = (
            torch.randn(self.num_tokens, heads, self.head_dim, generator=generator)
            for heads in (self.num_heads, self.num_kv_heads)
        )
        return RopeInputs(
            query=query.to(dtype).to(device),
            key=key.to(dtype).to(device),
            cos=angles.cos().to(dtype).to(device),
            sin=angles.sin().to(dtype).to(device),
        )


CASES = (
    RopeCase(name="one_token", num_tokens=1),
    RopeCase(name="no_token", num_tokens=0),
    RopeCase(name="chunk", num_tokens=65, head_dim=128, num_heads=16, num_kv_heads=8),
    RopeCase(name="far", num_tokens=7, first_position=100_000),
    RopeCase(name="partial", num_tokens=21, head_dim=40, rotary_dim=10),
    RopeCase(name="two_dims", num_tokens=5, head_dim=18, rotary_dim=2),
    RopeCase(name="odd_rest", num_tokens=13, head_dim=19, rotary_dim=6, num_heads=3),
)
