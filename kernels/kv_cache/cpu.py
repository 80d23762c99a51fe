"""Writing keys and values on the CPU, compiled: `kernels/cpu/write_kv.cpp`.

Owns: checking the tensors and handing them over. Serves caches of the keys' dtype, and those of
8-bit floats for float32 and bfloat16; elsewhere the reference answers.
"""

import ctypes
from ctypes import c_int64, c_void_p

import torch
from torch import Tensor

from kernels.cpu_library import cpu_library
from kernels.float8 import FLOAT8
from kernels.kv_cache import reference

__all__ = ["WriteKVArguments", "write_kv", "write_kv_arguments"]

_ROUNDED_FROM = {torch.float32: 0, torch.bfloat16: 1}
_Two, _Three = c_int64 * 2, c_int64 * 3


class WriteKVArguments(ctypes.Structure):
    """The structure of that name in `kernels/cpu/elementwise.h`."""

    _fields_ = (
        *((name, c_void_p) for name in ("key", "value", "key_cache", "value_cache")),
        ("slot_mapping", c_void_p),
        *((name, c_int64) for name in ("num_tokens", "num_kv_heads", "num_blocks", "block_size")),
        *((name, c_int64) for name in ("key_bytes", "value_bytes")),
        ("key_strides", _Two),
        ("value_strides", _Two),
        ("key_cache_strides", _Three),
        ("value_cache_strides", _Three),
        *((name, c_int64) for name in ("is_float8", "data_type", "num_threads")),
    )


_library = cpu_library()
assert _library is not None, "this module is imported only where the library is"
_call = _library.function("write_kv", WriteKVArguments)


def write_kv(
    key: Tensor,
    value: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    slot_mapping: Tensor,
) -> None:
    """See `kernels.kv_cache.WriteKV`.

    Raises ValueError if shapes do not fit together, IndexError if a slot is not in the cache;
    nothing is written then.
    """
    is_rounded = key_cache.dtype == FLOAT8 and key.dtype in _ROUNDED_FROM
    if (
        key.dtype != value.dtype
        or key_cache.dtype != value_cache.dtype
        or not (is_rounded or key.dtype == key_cache.dtype)
    ):
        reference.write_kv(key, value, key_cache, value_cache, slot_mapping)
        return
    _call(write_kv_arguments(key, value, key_cache, value_cache, slot_mapping))


def write_kv_arguments(
    key: Tensor,
    value: Tensor,
    key_cache: Tensor,
    value_cache: Tensor,
    slot_mapping: Tensor,
) -> WriteKVArguments:
    """The arguments as the library takes them, for dtypes that it serves. They hold pointers, not
    the tensors. Raises ValueError if shapes do not fit together.
    """
    dtype = key.dtype
    num_tokens, num_heads, key_dim = key.shape
    value_dim = value.shape[2]
    num_blocks, block_size = key_cache.shape[:2]
    if (
        value.shape[:2] != (num_tokens, num_heads)
        or key_cache.shape[2:] != (num_heads, key_dim)
        or value_cache.shape != (num_blocks, block_size, num_heads, value_dim)
        or slot_mapping.shape != (num_tokens,)
        or slot_mapping.dtype != torch.int64
        or not slot_mapping.is_contiguous()
        or any(x.stride(-1) != 1 for x in (key, value, key_cache, value_cache))
    ):
        described = ", ".join(
            f"{x.dtype} {tuple(x.shape)} strides {x.stride()}"
            for x in (key, value, key_cache, value_cache, slot_mapping)
        )
        raise ValueError(f"write_kv: tensors do not fit together: {described}")
    size = dtype.itemsize
    return WriteKVArguments(
        key.data_ptr(),
        value.data_ptr(),
        key_cache.data_ptr(),
        value_cache.data_ptr(),
        slot_mapping.data_ptr(),
        num_tokens,
        num_heads,
        num_blocks,
        block_size,
        key_dim * size,
        value_dim * size,
        _bytes(key, 2),
        _bytes(value, 2),
        _bytes(key_cache, 3),
        _bytes(value_cache, 3),
        key_cache.dtype == FLOAT8,
        _ROUNDED_FROM.get(dtype, 0),
        torch.get_num_threads(),
    )


def _bytes(tensor: Tensor, num_dims: int) -> tuple[int, ...]:
    """The first strides."""
    size = tensor.dtype.itemsize
    return tuple(stride * size for stride in tensor.stride()[:num_dims])
