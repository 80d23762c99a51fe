"""In which number format keys and values are kept.

Owns: what `kv_cache_dtype` means, and where it cannot be had. Must not know: blocks, how numbers
are rounded (`kernels.float8` does).
"""

from collections.abc import Iterable
from dataclasses import replace

import torch

from engine.device import compute_capability
from engine.errors import EngineError
from engine.model.geometry import LayerGeometry
from kernels.float8 import FLOAT8

__all__ = ["check_cache_dtype", "stored_layers"]

_STORED_AS = {"auto": None, "fp8": FLOAT8}
_LEAST_CAPABILITY = (8, 9)  # the first GPUs that convert 8-bit floats


def check_cache_dtype(name: str, device: torch.device) -> None:
    """Raises EngineError if this is no format, or one that the device has no conversions for."""
    if name not in _STORED_AS:
        raise EngineError(f"--kv-cache-dtype {name!r}: use {' or '.join(_STORED_AS)}")
    if name == "auto" or device.type != "cuda":
        return
    capability = compute_capability(device)
    if capability < _LEAST_CAPABILITY:
        have, need = (".".join(map(str, each)) for each in (capability, _LEAST_CAPABILITY))
        raise EngineError(
            f"--kv-cache-dtype {name!r}: {device} has compute capability {have}, and 8-bit floats "
            f"need {need} or more; use auto"
        )


def stored_layers(layers: Iterable[LayerGeometry], name: str) -> list[LayerGeometry]:
    """The layers as the cache keeps them: "auto" in the dtype that the model computes in."""
    dtype = _STORED_AS[name]
    return [layer if dtype is None else replace(layer, dtype=dtype) for layer in layers]
