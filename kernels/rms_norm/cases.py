"""Shapes for RMS norm: for tests and for the benchmark.

Owns: cases, tolerances, inputs. Must not know: implementations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.tolerance import ELEMENTWISE

__all__ = ["CASES", "TOLERANCES", "RMSNormCase", "RMSNormInputs"]

TOLERANCES = ELEMENTWISE


@dataclass(frozen=True, slots=True, kw_only=True)
class RMSNormInputs:
    """The arguments of one call, `RMSNorm`'s."""

    x: Tensor
    weight: Tensor
    eps: float
    residual: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RMSNormCase:
    """`shape` is that of x. `is_wide`: the weight stays float32 whatever x is (Gemma's form)."""

    name: str
    shape: tuple[int, ...]
    eps: float = 1e-6
    scale: float = 1.0
    has_residual: bool = False
    is_wide: bool = False

    def make_inputs(self, dtype: torch.dtype, device: str = "cpu", seed: int = 0) -> RMSNormInputs:
        """Random inputs; x has the standard deviation `scale`."""
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(self.shape, generator=generator) * self.scale
        weight = 1 + 0.2 * torch.randn(self.shape[-1], generator=generator)
        residual = torch.randn(self.shape, generator=generator) if self.has_residual else None
        return RMSNormInputs(
            x=x.to(dtype).to(device),
            weight=weight.to(torch.float32 if self.is_wide else dtype).to(device),
            eps=self.eps,
            residual=None if residual is None else residual.to(dtype).to(device),
        )


CASES = (
    RMSNormCase(name="one_token", shape=(1, 64)),
    RMSNormCase(name="no_token", shape=(0, 64)),
    RMSNormCase(name="chunk", shape=(37, 1024)),
    RMSNormCase(name="odd", shape=(5, 333)),
    RMSNormCase(name="per_head", shape=(9, 4, 16)),
    RMSNormCase(name="tiny_values", shape=(7, 96), scale=1e-4, eps=1e-5),
    RMSNormCase(name="large_values", shape=(7, 96), scale=300.0),
    RMSNormCase(name="residual", shape=(11, 129), has_residual=True),
    RMSNormCase(name="wide", shape=(11, 129), is_wide=True),
    RMSNormCase(name="wide_residual", shape=(3, 64), is_wide=True, has_residual=True),
)
