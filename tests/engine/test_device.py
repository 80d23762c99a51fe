import numpy as np
import pytest
import torch

from engine.device import (
    available_memory_bytes,
    copy_to_device,
    instruction_set,
    resolve_device,
    total_memory_bytes,
)
from engine.errors import EngineError

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
