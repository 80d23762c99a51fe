"""Names for what decides an engine's answers.

Owns: the hash of a checkpoint, and the fingerprint of a running engine. Must not know: settings of
single requests. Answers are promised to repeat bit for bit only under one fingerprint.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
import xxhash

from engine.device import instruction_set

__all__ = ["engine_fingerprint", "model_hash"]

# Everything that changes tokens; a README or a picture does not.
_SUFFIXES = frozenset({".json", ".jinja", ".model", ".safetensors", ".txt"})
_WHOLE_BYTES = 32 * 2**20
_SAMPLE_BYTES = 64 * 2**10
_NUM_SAMPLES = 128


def model_hash(folder: Path) -> str:
    """The checkpoint's identity, 32 hex digits: its file names and their content.

    Files up to 32 MiB are hashed whole. Of larger ones, which only weights are, the size, the first
    mebibyte (it names every tensor) and 128 samples of 64 KiB at even distances count, so that
    16 GB take well under a second. A change that touches none of the samples goes unnoticed; new
    weights, another dtype or another revision do not.
    """
    digest = xxhash.xxh3_128()
    for path in sorted(folder.iterdir()):
        if path.suffix not in _SUFFIXES or not path.is_file():
            continue
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            if size <= _WHOLE_BYTES:
                digest.update(file.read())
                continue
            digest.update(file.read(2**20))
            for index in range(_NUM_SAMPLES):
                file.seek((size - _SAMPLE_BYTES) * index // (_NUM_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def engine_fingerprint(model: str, dtype: torch.dtype, device: torch.device) -> str:
    """`fp_` and 16 hex digits for: model hash, dtype, device type, thread count, instruction set,
    and the versions of what computes.
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
    )
    digest = xxhash.xxh3_64_hexdigest("\0".join(parts).encode())
    return f"fp_{digest}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a source tree
        return "source"
