"""Gated activations, spelled out. Owns: the references on any device."""

from typing import Literal

import torch.nn.functional as nnf
from torch import Tensor

__all__ = ["gelu_mul", "silu_mul"]


def silu_mul(gate: Tensor, up: Tensor) -> Tensor:
    """See `kernels.activation.SiluMul`."""
    return (nnf.silu(gate.float()) * up.float()).to(gate.dtype)


def gelu_mul(gate: Tensor, up: Tensor, *, approximate: Literal["none", "tanh"] = "tanh") -> Tensor:
    """See `kernels.activation.GeluMul`."""
    return (nnf.gelu(gate.float(), approximate=approximate) * up.float()).to(gate.dtype)
