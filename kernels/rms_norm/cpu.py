"""RMS norm on the CPU, compiled: `kernels/cpu/elementwise_kernel.h`.

Owns: checking the tensors and handing them over. For dtypes and layouts that it does not serve, the
reference answers.
"""

import ctypes
from ctypes import c_double, c_int64, c_void_p

import torch
from torch import Tensor

from kernels.cpu_library import cpu_library
from kernels.rms_norm import reference

__all__ = ["rms_norm"]

_DATA_TYPES = {torch.float32: 0, torch.bfloat16: 1}


class _Arguments(ctypes.Structure):
    """NormArguments in `kernels/cpu/elementwise.h`."""

    _fields_ = (
        *((name, c_void_p) for name in ("x", "weight", "residual", "output")),
        *((name, c_int64) for name in ("outer", "inner", "dim")),
        ("x_strides", c_int64 * 2),
        *((name, c_int64) for name in ("data_type", "weight_type", "num_threads")),
        ("eps", c_double),
    )


_library = cpu_library()
assert _library is not None, "this module is imported only where the library is"
_call = _library.function("rms_norm", _Arguments)


def rms_norm(x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None) -> Tensor:
    """See `kernels.rms_norm.RMSNorm`. Raises ValueError if shapes do not fit together."""
    data_type, weight_type = _DATA_TYPES.get(x.dtype), _DATA_TYPES.get(weight.dtype)
    shape = x.shape
    if weight.shape != shape[-1:] or (residual is not None and residual.shape != shape):
        raise ValueError(
            f"rms_norm: x {tuple(shape)}, weight {tuple(weight.shape)} and residual "
            f"{None if residual is None else tuple(residual.shape)} do not fit together"
        )
    if (
        data_type is None
        or weight_type is None
        or weight_type > data_type
        or not weight.is_contiguous()
        or (residual is not None and residual.dtype != x.dtype)
        or (residual is not None and not residual.is_contiguous())
    ):
        return reference.rms_norm(x, weight, eps, residual)
    rows = _as_rows(x)
    outer, inner, dim = rows.shape
    output = torch.empty(shape, dtype=x.dtype)
    _call(
        _Arguments(
            rows.data_ptr(),
            weight.data_ptr(),
            None if residual is None else residual.data_ptr(),
            output.data_ptr(),
            outer,
            inner,
            dim,
            rows.stride()[:2],
            data_type,
            weight_type,
            torch.get_num_threads(),
            eps,
        )
    )
    return output


def _as_rows(x: Tensor) -> Tensor:
    """[outer, inner, dim] with the last dimension contiguous: a view of heads within a merged
    projection stays a view.
    """
    if x.stride(-1) != 1:
        x = x.contiguous()
    if x.dim() == 3:
        return x
    dim = x.shape[-1]
    if x.dim() < 3:
        return x.reshape(1, -1, dim)
    return x.reshape(-1, x.shape[-2], dim)
