"""Rotary embedding on the CPU, compiled: `kernels/cpu/elementwise_kernel.h`.

Owns: checking the tensors and handing them over. For dtypes and layouts that it does not serve, the
reference answers.
"""

import ctypes
from ctypes import c_int64, c_void_p

import torch
from torch import Tensor

from kernels.cpu_library import cpu_library
from kernels.rope import reference

__all__ = ["rope"]

_DATA_TYPES = {torch.float32: 0, torch.bfloat16: 1}


class _Arguments(ctypes.Structure):
    """RopeArguments in `kernels/cpu/elementwise.h`."""

    _fields_ = (
        *((name, c_void_p) for name in ("query", "key", "cos", "sin")),
        *((name, c_void_p) for name in ("query_output", "key_output")),
        *((name, c_int64) for name in ("num_tokens", "num_heads", "num_kv_heads")),
        *((name, c_int64) for name in ("head_dim", "rotary_dim")),
        ("query_strides", c_int64 * 2),
        ("key_strides", c_int64 * 2),
        *((name, c_int64) for name in ("cos_stride", "sin_stride")),
        *((name, c_int64) for name in ("data_type", "angle_type", "num_threads")),
    )


_library = cpu_library()
assert _library is not None, "this module is imported only where the library is"
_call = _library.function("rope", _Arguments)


def rope(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """See `kernels.rope.Rope`. Raises ValueError if shapes do not fit together."""
    num_tokens, num_heads, head_dim = query.shape
    num_kv_heads, rotary_dim = key.shape[1], cos.shape[1]
    if (
        key.shape != (num_tokens, num_kv_heads, head_dim)
        or not cos.shape == sin.shape == (num_tokens, rotary_dim)
        or rotary_dim % 2
        or rotary_dim > head_dim
    ):
        raise ValueError(
            f"rope: query {tuple(query.shape)}, key {tuple(key.shape)}, cos {tuple(cos.shape)} "
            f"and sin {tuple(sin.shape)} do not fit together"
        )
    data_type, angle_type = _DATA_TYPES.get(query.dtype), _DATA_TYPES.get(cos.dtype)
    if (
        data_type is None
        or angle_type is None
        or angle_type > data_type
        or key.dtype != query.dtype
        or sin.dtype != cos.dtype
        or any(x.stride(-1) != 1 for x in (query, key, cos, sin))
    ):
        return reference.rope(query, key, cos, sin)
    query_output = query.new_empty(num_tokens, num_heads, head_dim)
    key_output = key.new_empty(num_tokens, num_kv_heads, head_dim)
    _call(
        _Arguments(
            query.data_ptr(),
            key.data_ptr(),
            cos.data_ptr(),
            sin.data_ptr(),
            query_output.data_ptr(),
            key_output.data_ptr(),
            num_tokens,
            num_heads,
            num_kv_heads,
            head_dim,
            rotary_dim,
            query.stride()[:2],
            key.stride()[:2],
            cos.stride(0),
            sin.stride(0),
            data_type,
            angle_type,
            torch.get_num_threads(),
        )
    )
    return query_output, key_output
