"""Linear layers with weights in panels, compiled: `kernels/cpu/panel_linear_kernel.h`.

Owns: checking the tensors and handing them over; half precision is widened before and rounded
after, which costs little beside the product. Rows that are to be rounded and a processor without
products of integers are the reference's matter.
"""

import ctypes
from ctypes import c_int64, c_void_p

import torch
from torch import Tensor

from kernels.cpu_library import cpu_library, multiplies_int8
from kernels.panel_linear import reference
from kernels.panel_linear.weight import PanelWeights

__all__ = ["panel_linear"]

_WEIGHT_TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2, torch.uint8: 3}


class _Arguments(ctypes.Structure):
    """PanelLinearArguments in `kernels/cpu/panel_linear.h`."""

    _fields_ = (
        *((name, c_void_p) for name in ("x", "panels", "scales", "bias", "output", "ends")),
        *((name, c_int64) for name in ("num_groups", "num_rows", "num_inputs", "num_outputs")),
        *((name, c_int64) for name in ("x_stride", "weight_type", "num_threads")),
    )


_library = cpu_library()
assert _library is not None, "this module is imported only where the library is"
_call = _library.function("panel_linear", _Arguments)


def panel_linear(
    x: Tensor, weights: PanelWeights, ends: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """See `kernels.panel_linear.PanelLinear`. Raises ValueError if shapes do not fit together,
    IndexError if `ends` leave the rows of x.
    """
    panels = weights.panels
    groups, _, inputs, _ = panels.shape
    outputs, shape = weights.num_outputs, x.shape
    if (
        shape[-1:] != (inputs,)
        or (groups != 1 if ends is None else ends.shape != (groups,) or len(shape) != 2)
        or (bias is not None and bias.shape != (groups, outputs))
    ):
        shapes = tuple(shape), (groups, outputs, inputs), ends if ends is None else ends.shape
        raise ValueError(f"x, weights, ends and bias do not fit together: {shapes}")
    weight_type = _WEIGHT_TYPES.get(panels.dtype)
    if weight_type is None or (weights.rounds_rows and not multiplies_int8()):
        return reference.panel_linear(x, weights, ends, bias)
    rows = x.to(torch.float32)
    if len(shape) != 2:
        rows = rows.reshape(-1, inputs)
    if rows.stride(1) != 1:
        rows = rows.contiguous()
    if bias is not None:
        bias = bias.to(torch.float32).contiguous()
    if ends is None:
        end = ctypes.c_int32(len(rows))
        ends_address = ctypes.addressof(end)
    else:
        ends = ends.to(torch.int32).contiguous()
        ends_address = ends.data_ptr()
    output = torch.empty(len(rows), outputs)
    _call(
        _Arguments(
            rows.data_ptr(),
            panels.data_ptr(),
            None if weights.scales is None else weights.scales.data_ptr(),
            None if bias is None else bias.data_ptr(),
            output.data_ptr(),
            ends_address,
            groups,
            len(rows),
            inputs,
            outputs,
            rows.stride(0),
            weight_type,
            torch.get_num_threads(),
        )
    )
    if len(shape) != 2:
        output = output.view(*shape[:-1], outputs)
    return output.to(x.dtype)
