"""Weights of a smaller network in a larger one that computes the same.

Owns: which new entries are zero. Must not know: files, training.
A larger network learns more from a step but a step takes longer; growing it from a trained smaller
one keeps what cheap steps have taught (Net2Net, Chen et al. 2015, arXiv:1511.05641).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["set_weights"]

# What adds to the residual stream: there, new weights have to be zero.
_OUTPUTS = ("o_proj", "down_proj", "embed_tokens")
_HEAD_NORMS = ("q_norm", "k_norm")


@torch.no_grad()
def set_weights(weights: Mapping[str, Tensor], small: Mapping[str, Tensor]) -> None:
    """Sets `weights` to those of `small`, which may have fewer rows, columns and layers.

    A further layer, head or inner unit starts with its own random input weights and adds nothing;
    a further dimension of the residual stream is zero, and the norms are scaled for it. New entries
    have gradients, since what reads or feeds them is not zero.

    Raises ValueError where a weight of `small` does not fit in.
    """
    for name in small.keys() - weights.keys():
        raise ValueError(f"{name} has no place in a network with fewer layers")
    for name, target in weights.items():
        part = name.rsplit("/", 1)[-1]
        value = small.get(name)
        if value is None:
            if part in _OUTPUTS:
                target.zero_()
            continue
        if any(old > new for old, new in zip(value.shape, target.shape, strict=True)):
            raise ValueError(
                f"{name} of shape {[*value.shape]} does not fit into {[*target.shape]}: sizes "
                "must be those of the weights to start from, or larger"
            )
        if target.ndim == 1:
            _set_norm(target, value, part)
            continue
        if part in _OUTPUTS:
            target.zero_()
        target[: value.shape[0], : value.shape[1]] = value


def _set_norm(target: Tensor, value: Tensor, part: str) -> None:
    if part in _HEAD_NORMS and value.shape != target.shape:
        raise ValueError(f"{part}: the width of a head cannot grow, its positions would change")
    # The mean square is over more dimensions, of which the new ones are zero.
    scale = (value.shape[0] / target.shape[0]) ** 0.5
    target.fill_(scale)
    target[: value.shape[0]] = value * scale
