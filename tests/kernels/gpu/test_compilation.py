"""The Triton kernels compile for the GPUs that they are meant for, and fit on them."""

from typing import Any

import pytest

pytest.importorskip("triton", reason="triton is not installed")

import torch
import triton
from triton.compiler import CompilationError

from kernels.activation import gpu as activation
from kernels.grouped_linear import gpu as grouped_linear
from kernels.kv_cache import gpu as kv_cache
from kernels.paged_attention import gpu as paged_attention
from kernels.paged_attention import gpu_decode
from kernels.rms_norm import gpu as rms_norm
from kernels.rope import gpu as rope
from kernels.sampling import gpu as sampling
from kernels.sampling import gpu_edits, gpu_logprobs
from tests.kernels.gpu.compilation import compile_kernel

pytestmark = pytest.mark.slow

FLOAT32 = {"partial_ptr", "partial_highest_ptr", "partial_total_ptr"}
FLOAT8 = "fp8e4nv"
CACHES = {"key_cache_ptr", "value_cache_ptr"}
INT32 = {"ends_ptr", "cu_seqlens_ptr", "seq_lens_ptr", "block_table_ptr"}
# Triton 3.6 keeps a few values of the largest tiles in local memory, and exchanges some through
# shared memory that 3.9 exchanges between threads.
IS_OLDER = tuple(map(int, triton.__version__.split(".")[:2])) < (3, 9)
SPILLED_BYTES = 128 if IS_OLDER else 0
EXCHANGED_BYTES = 16 * 1024 if IS_OLDER else 1024
# Of a program, in bytes: what one multiprocessor can give.
SHARED_BYTES = {80: 163 * 1024, 89: 99 * 1024, 90: 227 * 1024, 100: 227 * 1024}


def types_of(kernel: Any, dtype: str, cache: str | None = None) -> dict[str, str]:
    types = {}
    for name in kernel.arg_names:
        if name in FLOAT32:
            types[name] = "*fp32"
        elif name == "slots_ptr":
            types[name] = "*i64"
        elif name in INT32:
            types[name] = "*i32"
        elif name in CACHES:
            types[name] = f"*{cache or dtype}"
        elif name.endswith("_ptr"):
            types[name] = f"*{dtype}"
        else:
            types[name] = "fp32" if name in ("scale", "softcap", "eps") else "i32"
    return types


# 8-bit floats have conversions from 8.9 on.
ATTENTION = [(80, "bf16"), (90, "bf16"), (100, "bf16"), (89, FLOAT8), (90, FLOAT8), (100, FLOAT8)]


def attention_constants(width: int, group: int) -> dict[str, Any]:
    return {
        "GROUP": group, "BLOCK_SIZE": 16, "KEY_DIM": width, "VALUE_DIM": width,
        "PADDED_KEY_DIM": width, "PADDED_VALUE_DIM": width,
        "HAS_WINDOW": False, "HAS_SOFTCAP": False, "PRECISION": "tf32",
    }  # fmt: skip


@pytest.mark.parametrize("width", [64, 128, 256])
@pytest.mark.parametrize(("architecture", "cache"), ATTENTION)
def test_decode_attention_fits_without_spills(architecture: int, cache: str, width: int) -> None:
    kernel = gpu_decode._decode_attention_kernel
    tile = gpu_decode._decode_tile(torch.bfloat16, width)
    options = {name: tile.pop(name) for name in ("num_warps", "num_stages")}
    constants = {
        **attention_constants(width, group=4), **tile, "BLOCK_M": 16, "KEYS_PER_SPLIT": 512,
        "ROWS_PER_TILE": 4,
    }  # fmt: skip
    types = types_of(kernel, "bf16", cache)
    needs = compile_kernel(kernel, types, constants, architecture, **options)
    assert needs.local_bytes <= SPILLED_BYTES
    assert needs.shared_bytes <= SHARED_BYTES[architecture] // 2  # two programs at a time
    assert "mma" in needs.ptx


@pytest.mark.parametrize("width", [64, 128, 256])
@pytest.mark.parametrize(("architecture", "cache"), ATTENTION)
def test_chunk_attention_fits_without_spills(architecture: int, cache: str, width: int) -> None:
    kernel = paged_attention._chunk_attention_kernel
    tile = paged_attention._chunk_tile(torch.bfloat16, width)
    options = {name: tile.pop(name) for name in ("num_warps", "num_stages")}
    constants = {
        **attention_constants(width, group=4), **tile,
        "BLOCK_Q": tile["BLOCK_M"] // 4, "HAS_SINKS": False,
    }  # fmt: skip
    types = types_of(kernel, "bf16", cache)
    needs = compile_kernel(kernel, types, constants, architecture, **options)
    assert needs.local_bytes <= SPILLED_BYTES
    assert needs.shared_bytes <= SHARED_BYTES[architecture]
    assert {80: "mma.sync", 89: "mma.sync", 90: "wgmma", 100: "tcgen05.mma"}[
        architecture
    ] in needs.ptx


@pytest.mark.parametrize("is_transposed", [False, True])
@pytest.mark.parametrize("tile", grouped_linear._TILES, ids=lambda tile: f"to_{tile[0]}")
@pytest.mark.parametrize("architecture", [80, 90, 100])
def test_grouped_linear_layers_fit_without_spills(
    architecture: int, tile: Any, is_transposed: bool
) -> None:
    kernel = grouped_linear._grouped_linear_kernel
    _, sizes, options = tile
    constants = {
        **sizes, "PADDED_GROUPS": 128, "HAS_BIAS": True, "IS_TRANSPOSED": is_transposed,
        "PRECISION": "tf32",
    }  # fmt: skip
    aligned = [name for name in kernel.arg_names if name.endswith("_ptr")]
    aligned += ["stride_x_row", "stride_weight_group", "num_inputs", "num_outputs"]
    aligned.append("stride_weight_input" if is_transposed else "stride_weight_output")
    needs = compile_kernel(
        kernel, types_of(kernel, "bf16"), constants, architecture, aligned=aligned, **options
    )
    assert needs.local_bytes <= SPILLED_BYTES
    assert needs.registers <= 232
    assert needs.shared_bytes <= SHARED_BYTES[architecture] // 2  # two programs at a time
    assert "mma" in needs.ptx
    assert "cp.async" in needs.ptx  # tiles are fetched ahead


SIMPLE = (
    (gpu_decode._join_splits_kernel,
     {"KEYS_PER_SPLIT": 512, "VALUE_DIM": 128, "PADDED_VALUE_DIM": 128, "BLOCK_N": 64,
      "HAS_WINDOW": True, "HAS_SINKS": True}, 1),
    (rms_norm._rms_norm_kernel, {"BLOCK": 4096, "HAS_RESIDUAL": True, "IS_WIDE": False}, 8),
    (rope._rope_kernel, {"BLOCK_HEADS": 8, "BLOCK_DIM": 128}, 2),
    (activation._gated_activation_kernel, {"KIND": 0, "BLOCK": 1024}, 4),
    (kv_cache._write_kv_kernel, {"BLOCK_KEY": 1024, "BLOCK_VALUE": 1024, "IS_FLOAT8": False}, 4),
)  # fmt: skip


@pytest.mark.parametrize(
    ("kernel", "constants", "num_warps"), SIMPLE, ids=lambda v: getattr(v, "__name__", "")
)
@pytest.mark.parametrize("architecture", [80, 90, 100])
def test_the_other_kernels_fit_without_spills(
    kernel: Any, constants: dict[str, Any], num_warps: int, architecture: int
) -> None:
    types = types_of(kernel, "bf16")
    needs = compile_kernel(kernel, types, constants, architecture, num_warps=num_warps)
    assert needs.local_bytes <= SPILLED_BYTES
    assert needs.registers <= 128
    assert needs.shared_bytes <= EXCHANGED_BYTES


@pytest.mark.parametrize("architecture", [80, 89, 90, 100])
def test_writing_8_bit_floats_fits_everywhere(architecture: int) -> None:
    kernel = kv_cache._write_kv_kernel
    constants = {"BLOCK_KEY": 1024, "BLOCK_VALUE": 1024, "IS_FLOAT8": True}
    types = types_of(kernel, "bf16", "u8")
    needs = compile_kernel(kernel, types, constants, architecture, num_warps=4)
    assert needs.local_bytes <= SPILLED_BYTES
    assert needs.registers <= 128
    assert needs.shared_bytes <= EXCHANGED_BYTES


def test_reading_8_bit_floats_does_not_compile_for_what_the_engine_refuses() -> None:
    kernel = gpu_decode._decode_attention_kernel
    constants = {
        **attention_constants(64, group=4), "BLOCK_N": 32, "BLOCK_M": 16, "KEYS_PER_SPLIT": 512,
        "ROWS_PER_TILE": 4,
    }  # fmt: skip
    with pytest.raises(CompilationError, match="fp8e4nv not supported in this architecture"):
        compile_kernel(kernel, types_of(kernel, "bf16", FLOAT8), constants, 80)


SAMPLING_TYPES = {
    "*fp32": ("maxima", "temperature", "min_p", "top_p", "chosen", "top_values", "repetition",
              "presence", "frequency", "values"),
    "*fp64": ("uniform",),
    "*i64": ("token_ids", "top_k", "total", "rank", "top_ids", "rows", "tokens", "num_prompt",
             "num_tokens"),
    "*i32": ("candidates", "mask_index", "penalty_index", "bits", "counts", "history"),
    "*i1": ("is_valid",),
    "*bf16": ("logits",),
}  # fmt: skip
DRAW = {"HAS_TEMPERATURE": True, "PADDED_BLOCKS": 2048, "BLOCK": 128, "TILE": 2048}
OFF = {"min_p_ptr": None, "top_k_ptr": None, "top_p_ptr": None}
SAMPLING = (
    (sampling._draw_kernel, {**DRAW, "HAS_MIN_P": True, "HAS_TOP_K": True, "HAS_TOP_P": True}),
    (sampling._draw_kernel,
     {**DRAW, "HAS_MIN_P": False, "HAS_TOP_K": False, "HAS_TOP_P": False, **OFF}),
    (gpu_logprobs._logprobs_kernel, {"PADDED_BLOCKS": 2048, "TILE": 2048}),
    (gpu_edits._maxima_kernel,
     {"HAS_MASKS": True, "HAS_PENALTIES": True, "CHUNK": 4096, "BLOCK": 128}),
    (gpu_edits._count_tokens_kernel, {"BLOCK": 256}),
    (gpu_edits._edit_pairs_kernel, {"BLOCK": 128, "HAS_VALUES": True}),
)  # fmt: skip


@pytest.mark.parametrize(
    ("kernel", "constants"), SAMPLING, ids=lambda value: getattr(value, "__name__", "")
)
@pytest.mark.parametrize("architecture", [80, 90, 100])
def test_the_sampling_kernels_fit(
    kernel: Any, constants: dict[str, Any], architecture: int
) -> None:
    of_name = {f"{name}_ptr": kind for kind, names in SAMPLING_TYPES.items() for name in names}
    if kernel is not sampling._draw_kernel and kernel is not gpu_logprobs._logprobs_kernel:
        of_name["logits_ptr"] = "*fp32"  # what is edited has been widened
    types = {name: of_name.get(name, "i32") for name in kernel.arg_names}
    needs = compile_kernel(kernel, types, constants, architecture, num_warps=8)
    assert needs.local_bytes <= 16
    assert needs.registers <= 160
    assert needs.shared_bytes <= EXCHANGED_BYTES
