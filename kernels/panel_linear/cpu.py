"""Linear layers with weights in panels, compiled: `kernels/cpu/panel_linear_kernel.h`.

Owns: checking the tensors and handing them over, for the op "int8_linear" too; half precision is
widened before and rounded after, which costs little beside the product.
"""

import ctypes
from ctypes import c_int64, c_void_p

import torch
from torch import Tensor

from kernels.cpu_library import cpu_library
from kernels.panel_linear import reference
from kernels.panel_linear.weight import PanelWeights

__all__ = ["multiply", "panel_linear"]

_WEIGHT_TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}


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
    x: Tensor, weights: PanelWeights, ends: Tensor, bias: Tensor | None = None
) -> Tensor:
    """See `kernels.panel_linear.PanelLinear`. Raises ValueError if shapes do not fit together,
    IndexError if `ends` leave the rows of x.
    """
    groups, inputs, outputs = weights.num_groups, weights.num_inputs, weights.num_outputs
    if (
        x.shape[1:] != (inputs,)
        or ends.shape != (groups,)
        or (bias is not None and bias.shape != (groups, outputs))
    ):
        shapes = tuple(x.shape), (groups, outputs, inputs), tuple(ends.shape)
        raise ValueError(f"x, weights, ends and bias do not fit together: {shapes}")
    if weights.panels.dtype not in _WEIGHT_TYPES:
        return reference.panel_linear(x, weights, ends, bias)
    ends = ends.to(torch.int32).contiguous()
    return multiply(x, weights.panels, weights.scales, bias, ends.data_ptr(), groups, outputs)


def multiply(
    x: Tensor,
    panels: Tensor,
    scales: Tensor | None,
    bias: Tensor | None,
    ends: int,
    num_groups: int,
    num_outputs: int,
) -> Tensor:
    """The call itself, for what fits together. `panels`: [..., P, in, PANEL_WIDTH], contiguous as
    are `scales`; `ends`: the address of `num_groups` int32.
    """
    rows = x.to(torch.float32)
    if rows.stride(1) != 1:
        rows = rows.contiguous()
    if bias is not None:
        bias = bias.to(torch.float32).contiguous()
    output = torch.empty(len(rows), num_outputs)
    _call(
        _Arguments(
            rows.data_ptr(),
            panels.data_ptr(),
            None if scales is None else scales.data_ptr(),
            None if bias is None else bias.data_ptr(),
            output.data_ptr(),
            ends,
            num_groups,
            len(rows),
            rows.shape[1],
            num_outputs,
            rows.stride(0),
            _WEIGHT_TYPES[panels.dtype],
            torch.get_num_threads(),
        )
    )
    return output.to(x.dtype)
