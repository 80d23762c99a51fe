"""Gated activations on the CPU, compiled: `kernels/cpu/elementwise_kernel.h`.

Owns: checking the tensors and handing them over. For dtypes and layouts that it does not serve, and
for the exact GELU, the references answer.
"""

import ctypes
from ctypes import c_int64, c_void_p
from typing import Literal

import torch
from torch import Tensor

from kernels.activation import reference
from kernels.cpu_library import cpu_library

__all__ = ["gelu_mul", "silu_mul"]

_DATA_TYPES = {torch.float32: 0, torch.bfloat16: 1}


class _Arguments(ctypes.Structure):
    """GatedArguments in `kernels/cpu/elementwise.h`."""

    _fields_ = (
        *((name, c_void_p) for name in ("gate", "up", "output")),
        *((name, c_int64) for name in ("num_rows", "dim", "gate_stride", "up_stride")),
        *((name, c_int64) for name in ("data_type", "num_threads", "is_gelu")),
    )


_library = cpu_library()
assert _library is not None, "this module is imported only where the library is"
_call = _library.function("gated", _Arguments)


def silu_mul(gate: Tensor, up: Tensor) -> Tensor:
    """See `kernels.activation.SiluMul`. Raises ValueError if shapes do not fit together."""
    return _gated(gate, up, is_gelu=False) if _is_served(gate, up) else reference.silu_mul(gate, up)


def gelu_mul(gate: Tensor, up: Tensor, *, approximate: Literal["none", "tanh"] = "tanh") -> Tensor:
    """See `kernels.activation.GeluMul`. Raises ValueError if shapes do not fit together."""
    if approximate == "tanh" and _is_served(gate, up):
        return _gated(gate, up, is_gelu=True)
    return reference.gelu_mul(gate, up, approximate=approximate)


def _is_served(gate: Tensor, up: Tensor) -> bool:
    if gate.shape != up.shape:
        raise ValueError(f"gate {tuple(gate.shape)} and up {tuple(up.shape)} do not fit together")
    return (
        gate.dtype == up.dtype
        and gate.dtype in _DATA_TYPES
        and gate.dim() > 0
        and gate.stride(-1) == 1 == up.stride(-1)
    )


def _gated(gate: Tensor, up: Tensor, *, is_gelu: bool) -> Tensor:
    shape = gate.shape
    output = torch.empty(shape, dtype=gate.dtype)
    if len(shape) != 2:  # a view where it can be one
        gate, up = gate.reshape(-1, shape[-1]), up.reshape(-1, shape[-1])
    num_rows, dim = gate.shape
    _call(
        _Arguments(
            gate.data_ptr(),
            up.data_ptr(),
            output.data_ptr(),
            num_rows,
            dim,
            gate.stride(0),
            up.stride(0),
            _DATA_TYPES[gate.dtype],
            torch.get_num_threads(),
            is_gelu,
        )
    )
    return output
