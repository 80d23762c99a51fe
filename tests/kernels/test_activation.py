import pytest
import torch
from transformers.activations import ACT2FN

from kernels.activation.cases import CASES, TOLERANCES
from kernels.activation.reference import gelu_mul, silu_mul
from kernels.tolerance import DTYPES
from tests.kernels.arguments import arguments


def gelu_tanh(gate, up):
    return gelu_mul(gate, up)


def gelu_exact(gate, up):
    return gelu_mul(gate, up, approximate="none")


OPS = ((silu_mul, "silu"), (gelu_tanh, "gelu_pytorch_tanh"), (gelu_exact, "gelu"))


@pytest.mark.parametrize(("op", "name"), OPS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_the_activation_of_transformers_times_up(case, dtype, op, name):
    inputs = case.make_inputs(dtype)
    before = inputs.gate.clone(), inputs.up.clone()
    output = op(**arguments(inputs))
    assert output.dtype == dtype
    assert output.is_contiguous()
    expected = ACT2FN[name](inputs.gate.double()) * inputs.up.double()
    TOLERANCES[dtype].check(output, expected)
    if dtype == torch.float32:
        TOLERANCES[dtype].check(output, ACT2FN[name](inputs.gate) * inputs.up)
    assert torch.equal(inputs.gate, before[0])
    assert torch.equal(inputs.up, before[1])
