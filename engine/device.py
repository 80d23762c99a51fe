"""The device the engine computes on.

Owns: choosing it, how much memory it has left, moving arrays to and from it, telling when it is
lost, naming its instruction set. Must not know: models, requests. One of the few files that may
name `torch.cuda`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from engine.errors import DeviceLostError, EngineError
from engine.memory import available_host_memory_bytes, total_host_memory_bytes
from kernels.cpu_library import instruction_set as kernel_instruction_set

__all__ = [
    "HostCopies",
    "available_memory_bytes",
    "compute_capability",
    "computes_bfloat16",
    "copy_all_to_device",
    "copy_to_device",
    "instruction_set",
    "is_device_lost",
    "on_device",
    "pack_arrays",
    "resolve_device",
    "total_memory_bytes",
    "unpack_arrays",
]

_BFLOAT16_UNITS = ("avx512_bf16", "amx_bf16", "avx10_1", "bf16", "sve_bf16")  # x86, then Arm
_ALIGNMENT = 16  # bytes, of each array in a packed copy: what a kernel loads at once
# CUDA's errors after which nothing works in this process any more, as they appear in the messages
# of torch, of Triton and of the libraries. Running out of memory and refused arguments are others.
_FATAL_CUDA_ERRORS = (
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "device-side assert triggered",
    "exception during kernel execution",
    "hardware stack error",
    "invalid program counter",
    "misaligned address",
    "operation not supported on global/shared address space",
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "unspecified launch failure",
    "the launch timed out and was terminated",
    "unknown error",
    "driver shutting down",
    "no cuda-capable device is detected",
    "cublas_status_execution_failed",
    "cudnn_status_execution_failed",
)


def resolve_device(name: str) -> torch.device:
    """The device for "auto", "cpu", "cuda" or "cuda:1". Raises EngineError if it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
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


def copy_all_to_device(
    arrays: Sequence[np.ndarray[Any, Any]], device: torch.device
) -> list[torch.Tensor]:
    """Like `copy_to_device` for several arrays: on CUDA they travel in one copy."""
    if device.type == "cpu":
        return [torch.from_numpy(array) for array in arrays]
    return unpack_arrays(pack_arrays(arrays, device).to(device, non_blocking=True), arrays)


def pack_arrays(arrays: Sequence[np.ndarray[Any, Any]], device: torch.device) -> torch.Tensor:
    """The bytes of all arrays in one tensor of the host [bytes], pinned if they go to CUDA."""
    starts = _starts(arrays)
    packed = torch.empty(starts[-1], dtype=torch.uint8, pin_memory=device.type == "cuda")
    view = packed.numpy()
    for array, start in zip(arrays, starts, strict=False):
        view[start : start + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return packed


def unpack_arrays(
    packed: torch.Tensor, arrays: Sequence[np.ndarray[Any, Any]]
) -> list[torch.Tensor]:
    """The packed bytes as tensors of the arrays' shapes and types, in the same memory."""
    return [
        packed[start : start + array.nbytes]
        .view(torch.from_numpy(np.empty(0, array.dtype)).dtype)
        .view(array.shape)
        for array, start in zip(arrays, _starts(arrays), strict=False)
    ]


def _starts(arrays: Sequence[np.ndarray[Any, Any]]) -> list[int]:
    """Where each array begins among the packed bytes, and the size of all."""
    sizes = [-(-array.nbytes // _ALIGNMENT) * _ALIGNMENT for array in arrays]
    return [0, *accumulate(sizes)]


class HostCopies:
    """Copies of tensors, all of one device, on their way to the host. Nothing waits until `wait`.

    On the CPU they are the tensors' own memory.
    """

    def __init__(self, tensors: Sequence[torch.Tensor]) -> None:
        self._event: torch.cuda.Event | None = None
        self._tensors = list(tensors)
        if not tensors or tensors[0].device.type != "cuda":
            return
        pinned = [torch.empty(x.shape, dtype=x.dtype, pin_memory=True) for x in tensors]
        for target, tensor in zip(pinned, tensors, strict=True):
            target.copy_(tensor, non_blocking=True)
        self._tensors = pinned
        self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._event.record()

    def wait(self) -> list[np.ndarray[Any, Any]]:
        """The arrays, once they are there. Raises what the device raised meanwhile."""
        if self._event is not None:
            self._event.synchronize()
        return [tensor.numpy() for tensor in self._tensors]


@contextmanager
def on_device(device: torch.device) -> Iterator[None]:
    """Work of this thread goes to the device.

    Raises DeviceLostError in place of an error after which nothing can be computed in this
    process. Such an error is reported late, by whatever call comes next, so it tells nothing about
    the request it was met with.
    """
    try:
        # Kernels of Triton, and events, belong to the thread's current device.
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            yield
    except RuntimeError as error:
        if is_device_lost(error):
            raise DeviceLostError(f"the device failed for good: {error}") from error
        raise


def is_device_lost(error: RuntimeError) -> bool:
    """Whether the error, of torch, Triton or a library of NVIDIA's, leaves the device useless."""
    text = str(error).lower()
    is_of_device = any(name in text for name in ("cuda", "cublas", "cudnn"))
    is_fatal = is_of_device and any(fatal in text for fatal in _FATAL_CUDA_ERRORS)
    return is_fatal and not isinstance(error, torch.OutOfMemoryError)


def compute_capability(device: torch.device) -> tuple[int, int]:
    """Of a CUDA device: (9, 0) for sm_90."""
    return torch.cuda.get_device_capability(device)


def computes_bfloat16(device: torch.device) -> bool:
    """Whether it multiplies matrices in bfloat16; others convert each number first. True where
    torch cannot tell.
    """
    if device.type != "cpu":
        return True
    ask = getattr(torch.cpu, "get_capabilities", None)  # older ones have none
    told = {} if ask is None else ask()
    known = [told[name] for name in _BFLOAT16_UNITS if name in told]
    return any(known) or not known


def instruction_set(device: torch.device) -> str:
    """What decides the bits of an answer on this device type: torch's instruction set and that of
    our compiled kernels ("AVX512/avx2", "AVX512/reference"), or "sm_90".
    """
    if device.type == "cuda":
        major, minor = compute_capability(device)
        return f"sm_{major}{minor}"
    return f"{torch.backends.cpu.get_cpu_capability()}/{kernel_instruction_set()}"
