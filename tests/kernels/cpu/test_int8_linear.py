"""The compiled product with int8 weights, on each instruction set."""

import pytest
import torch

from kernels.int8_linear.cases import CASES, TOLERANCES, Int8LinearCase
from kernels.int8_linear.reference import int8_linear as reference
from kernels.registry import resolve
from kernels.tolerance import DTYPES
from tests.kernels.arguments import arguments


def fast(*args, **kwargs):
    return resolve("int8_linear", "cpu")(*args, **kwargs)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_agrees_with_the_reference(compiled, case, dtype):
    inputs = case.make_inputs(dtype)
    output = fast(**arguments(inputs))
    assert output.dtype == dtype
    assert output.is_contiguous()
    TOLERANCES[dtype].check(output, reference(**arguments(inputs)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("num_inputs", [100, 700])
def test_row_has_the_same_bits_alone_and_among_others(compiled, num_inputs, dtype):
    """Rows beside it, their number, their order and the threads do not matter."""
    torch.set_num_threads(2)
    inputs = Int8LinearCase(
        name="x", num_rows=230, num_inputs=num_inputs, num_outputs=150, has_bias=True
    ).make_inputs(dtype)
    x, weight, bias = inputs.x, inputs.weight, inputs.bias
    whole = fast(x, weight, bias)
    for count in (1, 2, 3, 5, 6, 7, 12, 13, 64, 95, 96, 97, 193):
        assert torch.equal(fast(x[:count], weight, bias), whole[:count])
        assert torch.equal(fast(x[-count:], weight, bias), whole[-count:])
    assert torch.equal(fast(x.flip(0), weight, bias), whole.flip(0))
    torch.set_num_threads(1)
    assert torch.equal(fast(x, weight, bias), whole)


def test_leading_dimensions_and_columns_of_others_are_read_in_place(compiled):
    inputs = Int8LinearCase(name="x", num_rows=6, num_inputs=40, num_outputs=70).make_inputs(
        torch.float32
    )
    expected = fast(inputs.x, inputs.weight)
    wide = torch.cat((inputs.x, inputs.x), dim=1).view(2, 3, 80)
    assert torch.equal(fast(wide[..., 40:], inputs.weight), expected.view(2, 3, 70))
    across = inputs.x.T.contiguous().T
    assert torch.equal(fast(across, inputs.weight), expected)


def test_shapes_that_do_not_fit_together_are_refused(compiled):
    inputs = CASES[0].make_inputs(torch.float32)
    for x, bias in ((inputs.x[:, 1:], None), (inputs.x, torch.ones(191)), (torch.ones(()), None)):
        with pytest.raises(ValueError, match="do not fit together"):
            fast(x, inputs.weight, bias)
