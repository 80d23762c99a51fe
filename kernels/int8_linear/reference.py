"""Products with int8 weights, spelled out. Owns: the reference on any device."""

import torch
from torch import Tensor

from kernels.int8_linear.weight import Int8Weight

__all__ = ["int8_linear"]


def int8_linear(x: Tensor, weight: Int8Weight, bias: Tensor | None = None) -> Tensor:
    """See `kernels.int8_linear.Int8Linear`."""
    rows = x.reshape(-1, weight.num_inputs).float()
    # One panel at a time: a whole vocabulary in float32 would need its old memory again.
    sums = [rows @ panel.float() for panel in weight.panels]
    output = torch.cat(sums, dim=1)[:, : weight.num_outputs] * weight.scales
    if bias is not None:
        output = output + bias
    return output.to(x.dtype).reshape(*x.shape[:-1], weight.num_outputs)
