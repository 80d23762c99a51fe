"""The reference of grouped linear layers, against one product for each row."""

import pytest

from kernels.grouped_linear.cases import CASES, TOLERANCES
from kernels.grouped_linear.reference import grouped_linear
from kernels.tolerance import DTYPES
from tests.kernels.arguments import arguments


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_row_is_multiplied_by_its_groups_weight(case, dtype):
    inputs = case.make_inputs(dtype)
    output = grouped_linear(**arguments(inputs))
    assert output.dtype == dtype
    assert output.is_contiguous()
    assert output.shape == (sum(case.counts), case.num_outputs)
    groups = [group for group, count in enumerate(case.counts) for _ in range(count)]
    for row, group in enumerate(groups):
        expected = inputs.weight[group].double() @ inputs.x[row].double()
        if inputs.bias is not None:
            expected += inputs.bias[group].double()
        TOLERANCES[dtype].check(output[row], expected)
