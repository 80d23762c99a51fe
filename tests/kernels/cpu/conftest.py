from collections.abc import Iterator

import pytest
import torch

from kernels.cpu_library import (
    cpu_library,
    instruction_set,
    select_instruction_set,
    supported_instruction_sets,
)


@pytest.fixture(params=["portable", "avx2", "avx512", "amx"])
def compiled(request: pytest.FixtureRequest) -> Iterator[str]:
    """The compiled kernels on one instruction set after the other; whatever an op allocates begins
    as NaN."""
    if cpu_library() is None:
        pytest.skip("the CPU kernels are not built")
    if request.param not in supported_instruction_sets():
        pytest.skip(f"this processor has no {request.param}")
    before = instruction_set()
    select_instruction_set(request.param)
    torch.use_deterministic_algorithms(True)  # fills new memory
    try:
        assert torch.empty(3).isnan().all()
        yield request.param
    finally:
        torch.use_deterministic_algorithms(False)
        select_instruction_set(before)
