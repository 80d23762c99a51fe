"""Products with int8 weights on the CPU, compiled: `kernels/cpu/int8_linear_kernel.h`.

Owns: checking the tensors and handing them over; half precision is widened before and rounded
after, which costs little beside the product.
"""

import ctypes
from ctypes import c_int64, c_void_p

import torch
from torch import Tensor

from kernels.cpu_library import cpu_library
from kernels.int8_linear.weight import Int8Weight

__all__ = ["int8_linear"]


class _Arguments(ctypes.Structure):
    """Int8LinearArguments in `kernels/cpu/int8_linear.h`."""

    _fields_ = (
        *((name, c_void_p) for name in ("x", "panels", "scales", "bias", "output")),
        *((name, c_int64) for name in ("num_rows", "num_inputs", "num_outputs", "x_stride")),
        ("num_threads", c_int64),
    )


_library = cpu_library()
assert _library is not None, "this module is imported only where the library is"
_call = _library.function("int8_linear", _Arguments)


def int8_linear(x: Tensor, weight: Int8Weight, bias: Tensor | None = None) -> Tensor:
    """See `kernels.int8_linear.Int8Linear`. Raises ValueError if shapes do not fit together."""
    num_inputs, num_outputs = weight.num_inputs, weight.num_outputs
    if x.shape[-1:] != (num_inputs,) or (bias is not None and bias.shape != (num_outputs,)):
        shapes = tuple(x.shape), (num_outputs, num_inputs), bias if bias is None else bias.shape
        raise ValueError(f"x, weight and bias do not fit together: {shapes}")
    rows = x.reshape(-1, num_inputs).to(torch.float32)
    if rows.stride(1) != 1:
        rows = rows.contiguous()
    if bias is not None:
        bias = bias.to(torch.float32).contiguous()
    output = torch.empty(len(rows), num_outputs)
    _call(
        _Arguments(
            rows.data_ptr(),
            weight.panels.data_ptr(),
            weight.scales.data_ptr(),
            None if bias is None else bias.data_ptr(),
            output.data_ptr(),
            len(rows),
            num_inputs,
            num_outputs,
            rows.stride(0),
            torch.get_num_threads(),
        )
    )
    return output.to(x.dtype).view(*x.shape[:-1], num_outputs)
