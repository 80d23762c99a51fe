"""The name for what decides a running engine's answers.

Owns: the fingerprint. Must not know: settings of single requests. Answers are promised to repeat
bit for bit only under one fingerprint.
"""

from importlib.metadata import PackageNotFoundError, version

import torch
import xxhash

from engine.device import instruction_set

__all__ = ["engine_fingerprint"]


def engine_fingerprint(
    model: str,
    dtype: torch.dtype,
    device: torch.device,
    *,
    quantization: str | None = None,
    kv_cache_dtype: str = "auto",
    deterministic: bool = False,
) -> str:
    """`fp_` and 16 hex digits for: model hash, dtype, quantization, device type, thread count,
    instruction set, the versions of what computes, the format of the KV cache where it is not the
    model's, and whether it computes the deterministic way.
    """
    parts = (
        model,
        str(dtype),
        device.type,
        str(torch.get_num_threads()) if device.type == "cpu" else "",
        instruction_set(device),
        torch.__version__,
        _version("transformers"),
        _version("headrace"),
        *((f"quantization={quantization}",) if quantization else ()),
        *((f"kv_cache_dtype={kv_cache_dtype}",) if kv_cache_dtype != "auto" else ()),
        *(("deterministic",) if deterministic else ()),
    )
    digest = xxhash.xxh3_64_hexdigest("\0".join(parts).encode())
    return f"fp_{digest}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a source tree
        return "source"
