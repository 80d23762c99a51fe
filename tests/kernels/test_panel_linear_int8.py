"""Int8 weights: their scales, their rounding, their order in memory."""

import pytest
import torch

from kernels.panel_linear.int8 import INPUTS_PER_SCALE, quantize, quantize_groups, rounded
from kernels.panel_linear.weight import PANEL_WIDTH, PanelWeights, from_panels
from kernels.tolerance import DTYPES


def drawn(num_outputs: int, num_inputs: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(num_outputs)
    return torch.randn(num_outputs, num_inputs, generator=generator) * 0.1


def scales_of(stored: PanelWeights) -> torch.Tensor:
    assert stored.scales is not None
    return stored.scales[0]


def integers_of(stored: PanelWeights) -> torch.Tensor:
    return from_panels(stored.panels[0], stored.num_outputs)


@pytest.mark.parametrize("shape", [(1, 1), (64, 3), (65, 40), (1100, 7)])
def test_a_scale_is_a_127th_of_its_outputs_largest_weight(shape: tuple[int, int]) -> None:
    weight = drawn(*shape)
    stored = quantize(weight)
    assert torch.equal(scales_of(stored), weight.abs().amax(dim=1) / 127)
    assert bool((integers_of(stored).abs().amax(dim=1) == 127).all())
    expected = (weight / scales_of(stored)[:, None]).round()
    assert torch.equal(integers_of(stored).float(), expected)
    assert bool(((stored.dense() - weight).abs() <= scales_of(stored)[:, None] * 0.5001).all())


def test_weights_that_are_multiples_of_a_scale_come_back_exactly() -> None:
    integers = torch.randint(-127, 128, (200, 33), generator=torch.Generator().manual_seed(1))
    integers[:, 5] = 127
    weight = integers.float() * 2.0 ** -torch.arange(200).remainder(9)[:, None]
    stored = quantize(weight)
    assert torch.equal(integers_of(stored), integers.to(torch.int8))
    assert torch.equal(stored.dense(), weight)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_scales_are_float32_whatever_the_weights_are(dtype: torch.dtype) -> None:
    weight = drawn(70, 20).to(dtype)
    stored = quantize(weight)
    assert torch.equal(scales_of(stored), weight.float().abs().amax(dim=1) / 127)
    assert torch.equal(stored.panels, quantize(weight.float()).panels)


def test_outputs_without_weights_and_tiny_ones_are_zero() -> None:
    weight = torch.zeros(3, 4)
    weight[1, 2] = 1e-45  # a 127th of it is 0
    assert torch.equal(quantize(weight).dense(), torch.zeros(3, 4))


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_an_output_whose_weights_are_not_finite_is_not_finite_alone(bad: float) -> None:
    weight = drawn(3, 4)
    expected = quantize(weight).dense()
    weight[1, 2] = bad
    came_back = quantize(weight).dense()
    assert not bool(came_back[1].isfinite().all())
    assert torch.equal(came_back[0::2], expected[0::2])


def test_an_outputs_weights_lie_in_one_column_of_its_panel() -> None:
    stored = quantize(drawn(130, 5))
    assert stored.panels.shape == (1, 3, 5, PANEL_WIDTH)
    assert torch.equal(stored.panels[0, 2, :, 1], integers_of(stored)[129])
    assert not bool(stored.panels[0, 2, :, 2:].any())
    assert (stored.num_outputs, stored.num_inputs) == (130, 5)
    assert stored.num_bytes == 3 * 5 * PANEL_WIDTH + 130 * 4


def test_groups_are_rounded_as_each_alone() -> None:
    weights = torch.randn(3, 70, 9)
    made = quantize_groups(weights)
    assert made.scales is not None
    assert made.num_bytes == made.panels.nbytes + made.scales.nbytes
    for group in range(3):
        alone = quantize(weights[group])
        assert torch.equal(made.panels[group], alone.panels[0])
        assert torch.equal(made.dense(group), alone.dense())


@pytest.mark.parametrize("shape", [(1, 4), (65, 40), (130, 260)])
def test_weights_for_rounded_rows_stand_for_the_same(shape: tuple[int, int]) -> None:
    weight = drawn(*shape)
    stored, plain = quantize(weight, rounds_rows=True), quantize(weight)
    assert stored.rounds_rows
    assert not plain.rounds_rows
    assert stored.panels.shape == plain.panels.shape
    assert torch.equal(stored.dense(), plain.dense())
    four_of_an_output = stored.panels[0, 0].flatten()[4:8].int() - 128
    if shape[0] > 1:
        assert torch.equal(four_of_an_output, integers_of(plain)[1, :4].int())


def test_an_odd_number_of_inputs_keeps_rows_as_they_are() -> None:
    assert not quantize(drawn(70, 6), rounds_rows=True).rounds_rows


def test_rows_are_rounded_some_inputs_at_a_time() -> None:
    rows = torch.randn(3, 2 * INPUTS_PER_SCALE + 20)
    rows[1, 5] = 1000.0
    rows[2, INPUTS_PER_SCALE:] = 0.0
    made = rounded(rows)
    for first in range(0, rows.shape[1], INPUTS_PER_SCALE):
        part = slice(first, first + INPUTS_PER_SCALE)
        unit = rows[:, part].abs().amax(1, keepdim=True) / 127
        assert bool(((made - rows)[:, part].abs() <= unit * 0.5001).all())
    assert torch.equal(made[2, INPUTS_PER_SCALE:], rows[2, INPUTS_PER_SCALE:])
    rows[0, 200] = float("inf")
    is_kept = rounded(rows).isfinite().all(0)
    assert bool(is_kept[:INPUTS_PER_SCALE].all())
    assert not bool(is_kept[200])
