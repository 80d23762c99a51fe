"""Shapes for gated activations: for tests and for the benchmark.

Owns: cases, tolerances, inputs. Must not know: implementations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.tolerance import ELEMENTWISE, Tolerance

__all__ = ["CASES", "TOLERANCES", "GatedActivationCase", "GatedActivationInputs"]

# 1 + tanh(x) and 1 + erf(x) cancel for negative x, and what is left of float32 is multiplied.
TOLERANCES = {
    dtype: Tolerance(1e-5, tolerance.relative) for dtype, tolerance in ELEMENTWISE.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedActivationInputs:
    """The arguments of one call, `SiluMul`'s and `GeluMul`'s."""

    gate: Tensor
    up: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedActivationCase:
    """`is_merged`: gate and up are the halves of one tensor, so their rows are not adjacent."""

    name: str
    num_tokens: int
    width: int
    is_merged: bool = False
    scale: float = 1.0

    def make_inputs(
        self, dtype: torch.dtype, device: str = "cpu", seed: int = 0
    ) -> GatedActivationInputs:
        """Random inputs with the standard deviation `scale`."""
        generator = torch.Generator().manual_seed(seed)
        merged = torch.randn(self.num_tokens, 2 * self.width, generator=generator) * self.scale
        gate, up = merged.to(dtype).to(device).chunk(2, dim=-1)
        if not self.is_merged:
            gate, up = gate.contiguous(), up.contiguous()
        return GatedActivationInputs(gate=gate, up=up)


CASES = (
    GatedActivationCase(name="one_token", num_tokens=1, width=96),
    GatedActivationCase(name="no_token", num_tokens=0, width=96),
    GatedActivationCase(name="merged", num_tokens=33, width=512, is_merged=True),
    GatedActivationCase(name="odd", num_tokens=5, width=333),
    GatedActivationCase(name="odd_merged", num_tokens=7, width=19, is_merged=True),
    GatedActivationCase(name="large_values", num_tokens=3, width=64, scale=8.0),
)
