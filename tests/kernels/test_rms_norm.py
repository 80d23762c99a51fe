import pytest
import torch
from transformers.models.gemma2.modeling_gemma2 import Gemma2RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from kernels.rms_norm.cases import CASES, TOLERANCES, RMSNormCase
from kernels.rms_norm.reference import rms_norm
from kernels.tolerance import DTYPES
from tests.kernels.arguments import arguments


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reference_keeps_the_contract(case, dtype):
    inputs = case.make_inputs(dtype)
    x = inputs.x.clone()
    summed = x if inputs.residual is None else inputs.residual + x
    wide = summed.double()
    scale = (wide.pow(2).mean(-1, keepdim=True) + inputs.eps).rsqrt()
    output = rms_norm(**arguments(inputs))
    assert output.dtype == dtype
    assert torch.equal(inputs.x, x)
    # The weight's own rounding step doubles the bound where it applies.
    TOLERANCES[dtype].check(output, wide * scale * inputs.weight.double())
    if inputs.residual is not None:
        assert torch.equal(inputs.residual, summed)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_it_is_the_norm_of_llama_bit_for_bit(dtype):
    inputs = RMSNormCase(name="x", shape=(3, 21, 96), eps=1e-5).make_inputs(dtype)
    module = LlamaRMSNorm(96, eps=1e-5).to(dtype)
    module.weight.data.copy_(inputs.weight)
    with torch.no_grad():
        assert torch.equal(rms_norm(**arguments(inputs)), module(inputs.x))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_it_is_the_norm_of_gemma_when_the_caller_adds_one_in_float32(dtype):
    inputs = RMSNormCase(name="x", shape=(21, 96)).make_inputs(dtype)
    module = Gemma2RMSNorm(96, eps=inputs.eps).to(dtype)
    module.weight.data.copy_(inputs.weight - 1)
    with torch.no_grad():
        ours = rms_norm(inputs.x, 1 + module.weight.float(), inputs.eps)
        assert torch.equal(ours, module(inputs.x))


@pytest.mark.parametrize("width", [1, 19, 64, 1000])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_vector_has_the_same_bits_alone_and_among_others(dtype, width):
    inputs = RMSNormCase(name="x", shape=(41, width)).make_inputs(dtype)
    together = rms_norm(**arguments(inputs))
    for row in range(41):
        alone = rms_norm(inputs.x[row : row + 1], inputs.weight, inputs.eps)
        assert torch.equal(alone[0], together[row])
