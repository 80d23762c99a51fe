import numpy as np
import pytest
import torch

from engine.device import (
    HostCopies,
    available_memory_bytes,
    computes_bfloat16,
    copy_all_to_device,
    copy_to_device,
    instruction_set,
    is_device_lost,
    on_device,
    pack_arrays,
    resolve_device,
    total_memory_bytes,
    unpack_arrays,
)
from engine.errors import DeviceLostError, EngineError

CPU = torch.device("cpu")


def test_names_of_the_host_mean_the_cpu() -> None:
    assert resolve_device("cpu") == resolve_device("cpu:0") == CPU


def test_auto_takes_what_is_there() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected


@pytest.mark.parametrize("name", ["gpu", "mps", "cuda:99", "", "cuda:x"])
def test_a_device_that_is_not_there_is_named_in_the_error(name: str) -> None:
    with pytest.raises(EngineError, match=f"device '{name}'"):
        resolve_device(name)


def test_an_array_on_the_cpu_is_not_copied() -> None:
    array = np.arange(4)
    tensor = copy_to_device(array, CPU)
    array[0] = 7
    assert tensor.tolist() == [7, 1, 2, 3]


def _arrays() -> list[np.ndarray]:
    return [
        np.arange(3),
        np.arange(10, dtype=np.int32).reshape(2, 5)[:, ::2],
        np.zeros((0, 4), np.float32),
        np.array([0.5, 0.25], np.float32),
        np.array([True, False, True]),
        np.array([1e300]),
    ]


def test_arrays_that_travel_together_arrive_as_they_were() -> None:
    arrays = _arrays()
    packed = pack_arrays(arrays, CPU)
    for array, tensor in zip(arrays, unpack_arrays(packed, arrays), strict=True):
        np.testing.assert_array_equal(tensor.numpy(), array)
        assert tensor.numpy().dtype == array.dtype
        assert tensor.data_ptr() % 16 == packed.data_ptr() % 16
    assert all(
        np.array_equal(tensor.numpy(), array)
        for array, tensor in zip(arrays, copy_all_to_device(arrays, CPU), strict=True)
    )


FATAL = [
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCUDA kernel"),
    RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"),
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("CUDA error: device-side assert triggered"),
    RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("CUDA error: misaligned address"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"),
]
HARMLESS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("CUDA error: invalid argument"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"),
    RuntimeError("an unknown error in a model"),
]


@pytest.mark.parametrize("error", FATAL, ids=str)
def test_an_error_that_leaves_the_device_useless_is_told_apart(error: RuntimeError) -> None:
    assert is_device_lost(error)
    with pytest.raises(DeviceLostError, match="failed for good") as caught, on_device(CPU):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", HARMLESS, ids=str)
def test_an_error_of_one_step_passes(error: RuntimeError) -> None:
    with pytest.raises(type(error)) as caught, on_device(CPU):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"avx512_bf16": False, "amx_bf16": False, "avx2": True}, False),
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"bf16": False, "sve_bf16": False, "neon": True}, False),
        ({"bf16": True}, True),
        ({"neon": True}, True),
        ({}, True),
    ],
)
def test_a_processor_without_bfloat16_products_is_known(
    told: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told, raising=False)
    assert computes_bfloat16(CPU) == expected
    assert computes_bfloat16(torch.device("cuda"))


def test_a_torch_that_cannot_tell_is_taken_to_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert computes_bfloat16(CPU)


def test_the_cpu_reports_its_memory_and_instructions() -> None:
    assert 0 < available_memory_bytes(CPU) <= total_memory_bytes(CPU)
    of_torch, _, of_kernels = instruction_set(CPU).partition("/")
    assert of_torch == torch.backends.cpu.get_cpu_capability()
    assert of_kernels in {"portable", "avx2", "avx512", "amx", "reference"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_reports_its_memory_and_takes_arrays() -> None:
    device = resolve_device("cuda")
    assert 0 < available_memory_bytes(device) <= total_memory_bytes(device)
    assert copy_to_device(np.arange(4), device).cpu().tolist() == [0, 1, 2, 3]
    assert instruction_set(device).startswith("sm_")
    copies = copy_all_to_device(_arrays(), device)
    for array, found in zip(_arrays(), HostCopies(copies).wait(), strict=True):
        np.testing.assert_array_equal(found, array)
