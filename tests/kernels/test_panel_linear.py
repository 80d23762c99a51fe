"""Weights in panels: the way there and back, and the reference of the op."""

import pytest
import torch

from kernels.panel_linear.cases import CASES, TOLERANCES, panels_of
from kernels.panel_linear.int8 import rounded
from kernels.panel_linear.reference import panel_linear
from kernels.panel_linear.weight import PANEL_WIDTH, merge, to_panels
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


def test_weights_are_converted_while_they_move():
    weight = torch.randn(2, 1100, 5)
    made = to_panels(weight, torch.bfloat16)
    assert made.panels.dtype == torch.bfloat16
    for group in range(2):
        assert torch.equal(made.dense(group), weight[group].bfloat16().float())


@pytest.mark.parametrize("sizes", [(64, 128), (3, 64, 100), (1,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8, torch.uint8], ids=str)
def test_layers_merge_as_their_weights_do(sizes, dtype):
    weights = [torch.randn(1, size, 9) for size in sizes]
    merged = merge([panels_of(each, dtype) for each in weights])
    together = panels_of(torch.cat(weights, dim=1), dtype)
    assert merged.num_outputs == together.num_outputs == sum(sizes)
    assert torch.equal(merged.panels, together.panels)
    assert torch.equal(merged.dense(), together.dense())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_row_is_multiplied_by_its_groups_weights(case, dtype):
    inputs = case.make_inputs(dtype)
    output = panel_linear(**arguments(inputs))
    assert output.dtype == dtype
    assert output.shape == (len(inputs.x), inputs.weights.num_outputs)
    start = 0
    ends = [len(inputs.x)] if inputs.ends is None else inputs.ends.tolist()
    for group, end in enumerate(ends):
        rows = inputs.x[start:end]
        rows = rounded(rows) if inputs.weights.rounds_rows else rows
        expected = rows.double() @ inputs.weights.dense(group).double().T
        if inputs.bias is not None:
            expected += inputs.bias[group].double()
        TOLERANCES[dtype].check(output[start:end], expected)
        start = end


def test_leading_dimensions_keep_their_shape() -> None:
    weights = to_panels(torch.randn(1, 70, 20))
    assert panel_linear(torch.ones(2, 3, 20), weights).shape == (2, 3, 70)
