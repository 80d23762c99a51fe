import pytest
import torch
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb
from transformers.models.phi3.modeling_phi3 import apply_rotary_pos_emb as apply_partial

from kernels.rope.cases import CASES, TOLERANCES, RopeCase
from kernels.rope.reference import rope
from kernels.tolerance import DTYPES
from tests.kernels.arguments import arguments


def turned(x, cos, sin):
    """Pair by pair: (a, b) -> (a cos - b sin, b cos + a sin), in float64."""
    output = x.double()
    half = cos.shape[-1] // 2
    for pair in range(half):
        a, b = x[..., pair].double(), x[..., pair + half].double()
        c, s = cos[:, None, pair].double(), sin[:, None, pair].double()
        output[..., pair] = a * c - b * s
        output[..., pair + half] = b * c + a * s
    return output


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reference_keeps_the_contract(case, dtype):
    inputs = case.make_inputs(dtype)
    before = inputs.query.clone(), inputs.key.clone()
    for output, x in zip(rope(**arguments(inputs)), before, strict=True):
        assert output.dtype == dtype
        TOLERANCES[dtype].check(output, turned(x, inputs.cos, inputs.sin))
    assert torch.equal(inputs.query, before[0])
    assert torch.equal(inputs.key, before[1])


@pytest.mark.parametrize(
    ("theirs", "rotary_dim"), [(apply_rotary_pos_emb, 40), (apply_partial, 40), (apply_partial, 10)]
)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_it_is_the_rotary_embedding_of_transformers(dtype, theirs, rotary_dim):
    case = RopeCase(name="x", num_tokens=23, head_dim=40, rotary_dim=rotary_dim)
    inputs = case.make_inputs(dtype)
    batched = [t.transpose(0, 1)[None] for t in (inputs.query, inputs.key)]
    outputs = theirs(*batched, inputs.cos[None], inputs.sin[None])
    for ours, output in zip(rope(**arguments(inputs)), outputs, strict=True):
        expected = output[0].transpose(0, 1)
        if dtype == torch.float32:
            assert torch.equal(ours, expected)
        TOLERANCES[dtype].check(ours, expected)
