"""Linear layers with weights in panels, compiled: `kernels/cpu/panel_linear_kernel.h`.

Owns: checking the tensors and handing them over; half precision is widened before and rounded
after, which costs little beside the product, and stays as it is where weights are in tiles. Rows
that are to be rounded and a processor without products of integers are the reference's matter, as
are weights in tiles for rows of another dtype.
"""

import ctypes
from ctypes import c_int64, c_void_p

import torch
from torch import Tensor

from kernels.cpu_library import cpu_library, multiplies_int8, multiplies_tiles
from kernels.panel_linear import reference
from kernels.panel_linear.weight import PanelWeights

__all__ = ["panel_linear", "weight_type"]

_WEIGHT_TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2, torch.uint8: 3}
_TILED_WEIGHTS = 4


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


def weight_type(weights: PanelWeights, dtype: torch.dtype) -> int | None:
    """What the library calls such weights; None if it has no products for rows of `dtype`."""
    if weights.in_tiles:
        return _TILED_WEIGHTS if dtype == torch.bfloat16 and multiplies_tiles() else None
    if weights.rounds_rows and not multiplies_int8():
        return None
    return _WEIGHT_TYPES.get(weights.panels.dtype)


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
    kind = weight_type(weights, x.dtype)
    if kind is None:
        return reference.panel_linear(x, weights, ends, bias)
    dtype = torch.bfloat16 if weights.in_tiles else torch.float32
    rows = x.to(dtype)
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
    output = torch.empty(len(rows), outputs, dtype=dtype)
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
            kind,
            torch.get_num_threads(),
        )
    )
    if len(shape) != 2:
        output = output.view(*shape[:-1], outputs)
    return output.to(x.dtype)
