"""RMS norm, spelled out. Owns: the reference on any device."""

import torch
from torch import Tensor

__all__ = ["rms_norm"]


def rms_norm(x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None) -> Tensor:
    """See `kernels.rms_norm.RMSNorm`."""
    wide = (x if residual is None else residual.add_(x)).float()
    mean_square = wide.pow(2).mean(dim=-1, keepdim=True)
    normalised = wide * torch.rsqrt(mean_square + eps)
    return (weight * normalised.to(weight.dtype)).to(x.dtype)
