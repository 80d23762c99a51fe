"""Weights in panels: the way there and back, and the reference of the op."""

import pytest
import torch

from kernels.int8_linear.weight import quantize, quantize_groups
from kernels.panel_linear.cases import CASES, TOLERANCES
from kernels.panel_linear.reference import panel_linear
from kernels.panel_linear.weight import PANEL_WIDTH, to_panels
from kernels.tolerance import DTYPES
from tests.kernels.arguments import arguments


@pytest.mark.parametrize("num_outputs", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_panels_hold_each_groups_weights(num_outputs, dtype):
    weight = torch.randn(3, num_outputs, 7).to(dtype)
    made = to_panels(weight)
    assert made.panels.dtype == dtype
    assert made.panels.shape == (3, -(-num_outputs // PANEL_WIDTH), 7, PANEL_WIDTH)
    assert (made.num_groups, made.num_inputs, made.num_outputs) == (3, 7, num_outputs)
    assert made.num_bytes == made.panels.nbytes
    for group in range(3):
        assert torch.equal(made.dense(group), weight[group].float())
        assert torch.equal(made.panels[group, 0, :, 0], weight[group, 0])


def test_groups_are_rounded_as_each_alone():
    weight = torch.randn(3, 70, 9)
    made = quantize_groups(weight)
    assert made.scales is not None
    assert made.num_bytes == made.panels.nbytes + made.scales.nbytes
    for group in range(3):
        alone = quantize(weight[group])
        assert torch.equal(made.panels[group], alone.panels)
        assert torch.equal(made.dense(group), alone.dequantized())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_row_is_multiplied_by_its_groups_weights(case, dtype):
    inputs = case.make_inputs(dtype)
    output = panel_linear(**arguments(inputs))
    assert output.dtype == dtype
    assert output.shape == (len(inputs.x), inputs.weights.num_outputs)
    start = 0
    for group, end in enumerate(inputs.ends.tolist()):
        expected = inputs.x[start:end].double() @ inputs.weights.dense(group).double().T
        if inputs.bias is not None:
            expected += inputs.bias[group].double()
        TOLERANCES[dtype].check(output[start:end], expected)
        start = end
