"""Products with int8 weights on the CPU, compiled: the op "panel_linear" with one group.

Owns: checking the tensors and handing them over.
"""

import ctypes

from torch import Tensor

from kernels.int8_linear.weight import Int8Weight
from kernels.panel_linear.cpu import multiply

__all__ = ["int8_linear"]


def int8_linear(x: Tensor, weight: Int8Weight, bias: Tensor | None = None) -> Tensor:
    """See `kernels.int8_linear.Int8Linear`. Raises ValueError if shapes do not fit together."""
    num_inputs, num_outputs = weight.num_inputs, weight.num_outputs
    if x.shape[-1:] != (num_inputs,) or (bias is not None and bias.shape != (num_outputs,)):
        shapes = tuple(x.shape), (num_outputs, num_inputs), bias if bias is None else bias.shape
        raise ValueError(f"x, weight and bias do not fit together: {shapes}")
    rows = x.reshape(-1, num_inputs)
    end = ctypes.c_int32(len(rows))
    address = ctypes.addressof(end)
    output = multiply(rows, weight.panels, weight.scales, bias, address, 1, num_outputs)
    return output.view(*x.shape[:-1], num_outputs)
