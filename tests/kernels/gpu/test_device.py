"""The Triton kernels' numbers on a GPU: every case, in every dtype, bfloat16 too."""

import pytest
import torch

from bench.gpu_checks import check_kernels

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.timeout(600)
def test_every_case_of_every_kernel_equals_its_reference() -> None:
    verdicts = check_kernels(torch.device("cuda"))
    assert [verdict for verdict in verdicts if verdict.wrong is not None] == []
