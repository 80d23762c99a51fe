"""The compiled product with weights in panels, on each instruction set."""

import pytest
import torch

from kernels.cpu_library import multiplies_int8
from kernels.grouped_linear.cases import GroupedLinearCase
from kernels.panel_linear.cases import CASES, TOLERANCES, PanelLinearCase, panels_of
from kernels.panel_linear.reference import panel_linear as reference
from kernels.panel_linear.weight import PanelWeights
from kernels.registry import resolve
from kernels.tolerance import DTYPES
from tests.kernels.arguments import arguments

COUNTS = (0, 1, 5, 97, 12, 0, 13, 200, 6, 96, 3)


def fast(*args, **kwargs):
    return resolve("panel_linear", "cpu")(*args, **kwargs)


def skip_without_products(kind):
    if kind == torch.uint8 and not multiplies_int8():
        pytest.skip("the reference multiplies, whose bits depend on the rows")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_agrees_with_the_reference(compiled, case, dtype):
    inputs = case.make_inputs(dtype)
    output = fast(**arguments(inputs))
    assert output.dtype == dtype
    assert output.is_contiguous()
    TOLERANCES[dtype].check(output, reference(**arguments(inputs)))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.int8, torch.uint8], ids=str)
@pytest.mark.parametrize("num_inputs", [100, 700])
def test_row_has_the_same_bits_alone_and_among_others(compiled, num_inputs, kind):
    """The rows of its group, those of others and the threads do not matter."""
    skip_without_products(kind)
    torch.set_num_threads(2)
    case = GroupedLinearCase(
        name="x", counts=COUNTS, num_inputs=num_inputs, num_outputs=150, has_bias=True
    )
    inputs = case.make_inputs(torch.float32)
    weights = panels_of(inputs.weight, kind)
    whole = fast(inputs.x, weights, inputs.ends, inputs.bias)
    TOLERANCES[torch.float32].check(whole, reference(inputs.x, weights, inputs.ends, inputs.bias))
    start = 0
    for group, count in enumerate(COUNTS):
        rows = inputs.x[start : start + count]
        one = PanelWeights(
            weights.panels[group : group + 1],
            weights.num_outputs,
            None if weights.scales is None else weights.scales[group : group + 1],
        )
        for part in (1, 2, count // 2, count):
            ends = torch.tensor([len(rows[:part])], dtype=torch.int32)
            alone = fast(rows[:part], one, ends, inputs.bias[group : group + 1])
            assert torch.equal(alone, whole[start : start + len(rows[:part])])
        start += count
    torch.set_num_threads(1)
    assert torch.equal(fast(inputs.x, weights, inputs.ends, inputs.bias), whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.int8, torch.uint8], ids=str)
def test_row_of_one_group_has_the_same_bits_in_any_company(compiled, kind, dtype):
    """Rows beside it, their number, their order and the threads do not matter."""
    skip_without_products(kind)
    torch.set_num_threads(2)
    case = GroupedLinearCase(
        name="x", counts=(230,), num_inputs=300, num_outputs=150, has_bias=True
    )
    inputs = case.make_inputs(dtype)
    x, bias, weights = inputs.x, inputs.bias.float(), panels_of(inputs.weight, kind)
    whole = fast(x, weights, None, bias)
    assert torch.equal(fast(x, weights, inputs.ends, bias), whole)
    for count in (1, 2, 3, 5, 6, 7, 12, 13, 23, 24, 25, 64, 95, 96, 97, 193):
        assert torch.equal(fast(x[:count], weights, None, bias), whole[:count])
        assert torch.equal(fast(x[-count:], weights, None, bias), whole[-count:])
    assert torch.equal(fast(x.flip(0), weights, None, bias), whole.flip(0))
    torch.set_num_threads(1)
    assert torch.equal(fast(x, weights, None, bias), whole)


def test_rows_with_gaps_and_columns_are_read(compiled):
    inputs = PanelLinearCase(
        name="x", grouped=GroupedLinearCase(name="x", counts=(3, 9))
    ).make_inputs(torch.float32)
    expected = fast(inputs.x, inputs.weights, inputs.ends)
    wide = torch.cat((inputs.x, inputs.x), dim=1)[:, 48:]
    assert torch.equal(fast(wide, inputs.weights, inputs.ends), expected)
    assert torch.equal(fast(inputs.x.T.contiguous().T, inputs.weights, inputs.ends), expected)


def test_leading_dimensions_keep_their_shape(compiled):
    inputs = PanelLinearCase(
        name="x", grouped=GroupedLinearCase(name="x", counts=(6,)), has_ends=False
    ).make_inputs(torch.float32)
    x, weights = inputs.x, inputs.weights
    expected = fast(x, weights)
    wide = torch.cat((x, x), dim=1).view(2, 3, 96)
    assert torch.equal(fast(wide[..., 48:], weights), expected.view(2, 3, 80))
    assert torch.equal(fast(x[0], weights), expected[0])
    assert fast(x[:0].view(0, 4, 48), weights).shape == (0, 4, 80)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.int8, torch.uint8], ids=str)
def test_no_inputs_add_up_to_nothing(compiled, kind):
    skip_without_products(kind)
    scales = None if kind == torch.bfloat16 else torch.ones(1, 70)
    weights = PanelWeights(torch.empty(1, 2, 0, 64, dtype=kind), 70, scales)
    assert torch.equal(fast(torch.empty(3, 0), weights), torch.zeros(3, 70))


@pytest.mark.parametrize("ends", [(3, 11), (3, 13), (13, 12), (-1, 12)])
def test_ends_that_leave_the_rows_are_refused(compiled, ends):
    inputs = PanelLinearCase(
        name="x", grouped=GroupedLinearCase(name="x", counts=(3, 9))
    ).make_inputs(torch.float32)
    with pytest.raises(IndexError, match="panel_linear"):
        fast(inputs.x, inputs.weights, torch.tensor(ends, dtype=torch.int32))


def test_shapes_that_do_not_fit_together_are_refused(compiled):
    inputs = CASES[2].make_inputs(torch.float32)
    x, weights, ends = inputs.x, inputs.weights, inputs.ends
    for wrong in (
        (x[:, 1:], weights, ends, None),
        (x[0], weights, ends, None),
        (torch.ones(()), weights, None, None),
        (x, weights, ends.repeat(2), None),
        (x, weights, ends, torch.ones(1, 79)),
    ):
        with pytest.raises(ValueError, match="do not fit together"):
            fast(*wrong)
    two_groups = CASES[1].make_inputs(torch.float32)
    with pytest.raises(ValueError, match="do not fit together"):
        fast(two_groups.x, two_groups.weights)


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.int8, torch.uint8], ids=str)
def test_a_row_that_is_not_finite_does_not_become_so_nor_do_others(compiled, kind, bad):
    case = GroupedLinearCase(name="x", counts=(9,), num_inputs=300, num_outputs=70)
    inputs = case.make_inputs(torch.float32)
    weights = panels_of(inputs.weight, kind)
    expected = fast(inputs.x, weights)
    inputs.x[4, 140] = bad
    made = fast(inputs.x, weights)
    assert not bool(made[4].isfinite().any())
    others = [row for row in range(9) if row != 4]
    torch.testing.assert_close(made[others], expected[others])


def test_numbers_too_small_for_a_scale_count_as_zeros(compiled):
    case = GroupedLinearCase(name="x", counts=(2,), num_inputs=200, num_outputs=70)
    inputs = case.make_inputs(torch.float32)
    weights = panels_of(inputs.weight, torch.uint8)
    inputs.x[0, 128:] = 1e-40
    zeros = inputs.x.clone()
    zeros[0, 128:] = 0
    assert torch.equal(fast(inputs.x, weights), fast(zeros, weights))
    assert torch.equal(reference(inputs.x, weights), reference(zeros, weights))
