"""The Triton kernels compile for the GPUs that they are meant for, and fit on them."""

from typing import Any

import pytest

pytest.importorskip("triton", reason="triton is not installed")

import torch

from kernels.activation import gpu as activation
from kernels.kv_cache import gpu as kv_cache
from kernels.paged_attention import gpu as paged_attention
from kernels.rms_norm import gpu as rms_norm
from kernels.rope import gpu as rope
from tests.kernels.gpu.compilation import compile_kernel

pytestmark = pytest.mark.slow

FLOAT32 = {"partial_ptr", "partial_highest_ptr", "partial_total_ptr"}
INT32 = {"cu_seqlens_ptr", "seq_lens_ptr", "block_table_ptr"}
# Of a program, in bytes: what one multiprocessor can give.
SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024}


def types_of(kernel: Any, dtype: str) -> dict[str, str]:
    types = {}
    for name in kernel.arg_names:
        if name in FLOAT32:
            types[name] = "*fp32"
        elif name == "slots_ptr":
            types[name] = "*i64"
        elif name in INT32:
            types[name] = "*i32"
        elif name.endswith("_ptr"):
            types[name] = f"*{dtype}"
        else:
            types[name] = "fp32" if name in ("scale", "softcap", "eps") else "i32"
    return types


def attention_constants(width: int, group: int) -> dict[str, Any]:
    return {
        "GROUP": group, "BLOCK_SIZE": 16, "KEY_DIM": width, "VALUE_DIM": width,
        "PADDED_KEY_DIM": width, "PADDED_VALUE_DIM": width,
        "HAS_WINDOW": False, "HAS_SOFTCAP": False, "PRECISION": "tf32",
    }  # fmt: skip


@pytest.mark.parametrize("width", [64, 128, 256])
@pytest.mark.parametrize("architecture", [80, 90])
def test_decode_attention_fits_without_spills(architecture: int, width: int) -> None:
    kernel = paged_attention._decode_attention_kernel
    tile = paged_attention._decode_tile(torch.bfloat16, width)
    options = {name: tile.pop(name) for name in ("num_warps", "num_stages")}
    constants = {
        **attention_constants(width, group=4), **tile, "BLOCK_M": 16, "KEYS_PER_SPLIT": 512,
    }  # fmt: skip
    needs = compile_kernel(kernel, types_of(kernel, "bf16"), constants, architecture, **options)
    assert needs.local_bytes == 0
    assert needs.shared_bytes <= SHARED_BYTES[architecture] // 2  # two programs at a time
    assert "mma" in needs.ptx


@pytest.mark.parametrize("width", [64, 128, 256])
@pytest.mark.parametrize("architecture", [80, 90])
def test_chunk_attention_fits_without_spills(architecture: int, width: int) -> None:
    kernel = paged_attention._chunk_attention_kernel
    tile = paged_attention._chunk_tile(torch.bfloat16, width)
    options = {name: tile.pop(name) for name in ("num_warps", "num_stages")}
    constants = {
        **attention_constants(width, group=4), **tile,
        "BLOCK_Q": tile["BLOCK_M"] // 4, "HAS_SINKS": False,
    }  # fmt: skip
    needs = compile_kernel(kernel, types_of(kernel, "bf16"), constants, architecture, **options)
    assert needs.local_bytes == 0
    assert needs.shared_bytes <= SHARED_BYTES[architecture]
    assert ("wgmma" if architecture == 90 else "mma.sync") in needs.ptx


SIMPLE = (
    (paged_attention._join_splits_kernel,
     {"KEYS_PER_SPLIT": 512, "VALUE_DIM": 128, "PADDED_VALUE_DIM": 128, "BLOCK_N": 64,
      "HAS_WINDOW": True, "HAS_SINKS": True}, 1),
    (rms_norm._rms_norm_kernel, {"BLOCK": 4096, "HAS_RESIDUAL": True, "IS_WIDE": False}, 8),
    (rope._rope_kernel, {"BLOCK_HEADS": 8, "BLOCK_DIM": 128}, 2),
    (activation._gated_activation_kernel, {"KIND": 0, "BLOCK": 1024}, 4),
    (kv_cache._write_kv_kernel, {"BLOCK_KEY": 1024, "BLOCK_VALUE": 1024}, 4),
)  # fmt: skip


@pytest.mark.parametrize(
    ("kernel", "constants", "num_warps"), SIMPLE, ids=lambda v: getattr(v, "__name__", "")
)
@pytest.mark.parametrize("architecture", [80, 90])
def test_the_other_kernels_fit_without_spills(
    kernel: Any, constants: dict[str, Any], num_warps: int, architecture: int
) -> None:
    types = types_of(kernel, "bf16")
    needs = compile_kernel(kernel, types, constants, architecture, num_warps=num_warps)
    assert needs.local_bytes == 0
    assert needs.registers <= 128
    assert needs.shared_bytes <= 1024
