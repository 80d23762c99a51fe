"""Rotary embedding, spelled out. Owns: the reference on any device."""

import torch
from torch import Tensor

__all__ = ["rope"]


def rope(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """See `kernels.rope.Rope`."""
    cos, sin = cos.float()[:, None], sin.float()[:, None]  # [T, 1, rotary_dim]
    return _turn(query, cos, sin), _turn(key, cos, sin)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    rotary_dim = cos.shape[-1]
    turning, passing = x[..., :rotary_dim].float(), x[..., rotary_dim:]
    first, second = turning.chunk(2, dim=-1)
    turned = turning * cos + torch.cat([-second, first], dim=-1) * sin
    return torch.cat([turned.to(x.dtype), passing], dim=-1)
