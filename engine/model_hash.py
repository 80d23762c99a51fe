"""The identity of a checkpoint.

Owns: the hash of a model folder. Must not know: torch, so that a run with nothing left to compute
can tell at once.
"""

from pathlib import Path

import xxhash

__all__ = ["model_hash"]

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
