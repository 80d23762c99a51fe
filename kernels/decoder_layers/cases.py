"""Decoders and steps for the op "decoder_layers": for tests and for the benchmark.

Owns: cases, tolerances, inputs. Must not know: implementations.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kernels.decoder_layers.layer import DecoderLayer, Norm, PanelProduct, StepTables
from kernels.float8 import FLOAT8
from kernels.panel_linear.int8 import quantize
from kernels.panel_linear.weight import PanelWeights, to_panels, to_tiles
from kernels.tolerance import Tolerance

__all__ = ["CASES", "DecoderCase", "Step", "tolerance_of", "with_own_caches"]

_TOLERANCES = {
    torch.float32: Tolerance(5e-5, 2e-5),
    torch.bfloat16: Tolerance(0.06, 0.04),
}
# Rows that are rounded to int8 fall on another integer where float32 sums differ in a last bit.
_ROUNDED = Tolerance(0.2, 0.05)
_BLOCK_SIZE, _NUM_BLOCKS = 4, 40


@dataclass(frozen=True, slots=True)
class Step:
    """The arguments of one call, `DecoderLayers`'."""

    x: Tensor
    cos: Tensor
    sin: Tensor
    tables: StepTables


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderCase:
    """A decoder, and how many tokens of each row its steps compute. `weights`: "float32",
    "bfloat16", "tiles", "int8" or "rounded". `windows`: the sliding window of each layer.
    """

    name: str
    dtype: torch.dtype = torch.float32
    weights: str = "float32"
    windows: tuple[int | None, ...] = (None, None)
    has_head_norms: bool = False
    has_bias: bool = False
    has_float8_cache: bool = False
    num_heads: int = 4
    num_kv_heads: int = 2
    head_dim: int = 32
    width: int = 128
    inner: int = 192
    rotary_dim: int = 32
    steps: tuple[tuple[int, ...], ...] = ((7, 40), (1, 1), (0, 3))

    def make_layers(self, seed: int = 0) -> list[DecoderLayer]:
        """Random layers with empty caches."""
        generator = torch.Generator().manual_seed(seed)
        heads = (self.num_heads + 2 * self.num_kv_heads) * self.head_dim
        mixed = self.num_heads * self.head_dim
        cache = (_NUM_BLOCKS, _BLOCK_SIZE, self.num_kv_heads, self.head_dim)
        cache_dtype = FLOAT8 if self.has_float8_cache else self.dtype

        def product(num_outputs: int, num_inputs: int) -> PanelProduct:
            weight = torch.randn(num_outputs, num_inputs, generator=generator) / num_inputs**0.5
            bias = torch.randn(1, num_outputs, generator=generator) if self.has_bias else None
            return PanelProduct(_in_panels(weight.bfloat16(), self.weights), bias)

        def norm(dim: int, eps: float) -> Norm:
            weight = 1 + torch.randn(dim, generator=generator) / 10
            return Norm(weight.to(self.dtype), eps)

        return [
            DecoderLayer(
                input_norm=norm(self.width, 1e-6),
                qkv=product(heads, self.width),
                query_norm=norm(self.head_dim, 1e-5) if self.has_head_norms else None,
                key_norm=norm(self.head_dim, 1e-4) if self.has_head_norms else None,
                key_cache=torch.zeros(cache).to(cache_dtype),
                value_cache=torch.zeros(cache).to(cache_dtype),
                scale=self.head_dim**-0.5,
                sliding_window=window,
                output=product(self.width, mixed),
                post_attention_norm=norm(self.width, 1e-3),
                gate_up=product(2 * self.inner, self.width),
                down=product(self.width, self.inner),
            )
            for window in self.windows
        ]

    def make_steps(self, seed: int = 1) -> Iterator[Step]:
        """Steps that follow each other; rows have blocks of their own, in no order."""
        generator = torch.Generator().manual_seed(seed)
        num_rows = len(self.steps[0])
        table = torch.randperm(_NUM_BLOCKS, generator=generator).to(torch.int32)
        table = table[: _NUM_BLOCKS // num_rows * num_rows].view(num_rows, -1)
        lengths = [0] * num_rows
        for counts in self.steps:
            slots, ends = [], [0]
            for row, count in enumerate(counts):
                places = torch.arange(lengths[row], lengths[row] + count)
                slots.append(table[row, places // _BLOCK_SIZE] * _BLOCK_SIZE + places % _BLOCK_SIZE)
                lengths[row] += count
                ends.append(ends[-1] + count)
            rows = [row for row, count in enumerate(counts) if count]
            kept = [0, *(ends[row + 1] for row in rows)]
            angles = torch.randn(ends[-1], self.rotary_dim, generator=generator)
            yield Step(
                torch.randn(ends[-1], self.width, generator=generator).to(self.dtype),
                angles.cos().to(self.dtype),
                angles.sin().to(self.dtype),
                StepTables(
                    table[rows].contiguous(),
                    torch.tensor(kept, dtype=torch.int32),
                    torch.tensor([lengths[row] for row in rows], dtype=torch.int32),
                    torch.cat(slots).to(torch.int64),
                ),
            )


def tolerance_of(case: DecoderCase) -> Tolerance:
    """How far results may be apart."""
    return _ROUNDED if case.weights == "rounded" else _TOLERANCES[case.dtype]


def with_own_caches(layers: Sequence[DecoderLayer]) -> list[DecoderLayer]:
    """The same layers with copies of their caches."""
    return [
        replace(each, key_cache=each.key_cache.clone(), value_cache=each.value_cache.clone())
        for each in layers
    ]


def _in_panels(weight: Tensor, kind: str) -> PanelWeights:
    if kind == "tiles":
        return to_tiles(weight[None])
    if kind in ("int8", "rounded"):
        return quantize(weight.float(), rounds_rows=kind == "rounded")
    return to_panels(weight[None], getattr(torch, kind))


_PLAIN = DecoderCase(name="float32")
_HALF = replace(_PLAIN, dtype=torch.bfloat16)
CASES = (
    _PLAIN,
    replace(_PLAIN, name="head_norms", has_head_norms=True, has_bias=True, weights="bfloat16"),
    replace(_PLAIN, name="windows", windows=(None, 5, 5, 9), weights="int8"),
    replace(_PLAIN, name="float8_cache", has_float8_cache=True),
    replace(_PLAIN, name="half_rotated", rotary_dim=16, num_kv_heads=4),
    replace(_HALF, name="half_in_panels", weights="bfloat16", has_head_norms=True),
    replace(_HALF, name="half_with_bias", weights="int8", has_bias=True),
    replace(_HALF, name="tiles", weights="tiles", has_head_norms=True),
    replace(_HALF, name="tiles_with_bias", weights="tiles", has_bias=True, windows=(6, None)),
    replace(_PLAIN, name="rounded", weights="rounded"),
)
