"""The device the engine computes on.

Owns: choosing it, how much memory it has left, moving arrays to it, naming its instruction set.
Must not know: models, requests. One of the few files that may name `torch.cuda`.
"""

from typing import Any

import numpy as np
import torch

from engine.errors import EngineError
from engine.memory import available_host_memory_bytes, total_host_memory_bytes
from kernels.cpu_library import instruction_set as kernel_instruction_set

__all__ = [
    "available_memory_bytes",
    "copy_to_device",
    "instruction_set",
    "resolve_device",
    "total_memory_bytes",
]


def resolve_device(name: str) -> torch.device:
    """The device for "auto", "cpu", "cuda" or "cuda:1". Raises EngineError if it is not there."""
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise EngineError(f"device {name!r} is not one of auto, cpu, cuda, cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise EngineError(f"device {name!r} is not supported: use auto, cpu, cuda or cuda:N")
    if device.type == "cpu":
        return torch.device("cpu")
    index = device.index or 0
    num_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= num_devices:
        raise EngineError(f"device {name!r} is not there: torch finds {num_devices} CUDA devices")
    return torch.device("cuda", index)


def available_memory_bytes(device: torch.device) -> int:
    """Memory that can still be taken on the device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + cached)
    return available_host_memory_bytes()


def total_memory_bytes(device: torch.device) -> int:
    """All memory of the device, in use or not."""
    if device.type == "cuda":
        _, total = torch.cuda.mem_get_info(device)
        return int(total)
    return total_host_memory_bytes()


def copy_to_device(array: np.ndarray[Any, Any], device: torch.device) -> torch.Tensor:
    """The array as a tensor on the device. On the CPU it shares the array's memory; on CUDA it goes
    through pinned memory, so that the copy does not wait for what the device is doing.
    """
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def instruction_set(device: torch.device) -> str:
    """What decides the bits of an answer on this device type: torch's instruction set and that of
    our compiled kernels ("AVX512/avx2", "AVX512/reference"), or "sm_90".
    """
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        return f"sm_{major}{minor}"
    return f"{torch.backends.cpu.get_cpu_capability()}/{kernel_instruction_set()}"
