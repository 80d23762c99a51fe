"""Int8 weights: their scales, their rounding, their order in memory; the product's reference."""

import pytest
import torch

from kernels.int8_linear.cases import CASES, TOLERANCES
from kernels.int8_linear.reference import int8_linear
from kernels.int8_linear.weight import Int8Weight, merge, quantize
from kernels.panel_linear.weight import PANEL_WIDTH
from kernels.tolerance import DTYPES
from tests.kernels.arguments import arguments


def drawn(num_outputs: int, num_inputs: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(num_outputs)
    return torch.randn(num_outputs, num_inputs, generator=generator) * 0.1


@pytest.mark.parametrize("shape", [(1, 1), (64, 3), (65, 40), (1100, 7)])
def test_a_scale_is_a_127th_of_its_outputs_largest_weight(shape: tuple[int, int]) -> None:
    weight = drawn(*shape)
    stored = quantize(weight)
    assert torch.equal(stored.scales, weight.abs().amax(dim=1) / 127)
    assert bool((stored.integers().abs().amax(dim=1) == 127).all())
    expected = (weight / stored.scales[:, None]).round()
    assert torch.equal(stored.integers().float(), expected)
    assert bool(((stored.dequantized() - weight).abs() <= stored.scales[:, None] * 0.5001).all())


def test_weights_that_are_multiples_of_a_scale_come_back_exactly() -> None:
    integers = torch.randint(-127, 128, (200, 33), generator=torch.Generator().manual_seed(1))
    integers[:, 5] = 127
    weight = integers.float() * 2.0 ** -torch.arange(200).remainder(9)[:, None]
    stored = quantize(weight)
    assert torch.equal(stored.integers(), integers.to(torch.int8))
    assert torch.equal(stored.dequantized(), weight)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_scales_are_float32_whatever_the_weights_are(dtype: torch.dtype) -> None:
    weight = drawn(70, 20).to(dtype)
    stored = quantize(weight)
    assert torch.equal(stored.scales, weight.float().abs().amax(dim=1) / 127)
    assert torch.equal(stored.panels, quantize(weight.float()).panels)


def test_outputs_without_weights_and_tiny_ones_are_zero() -> None:
    weight = torch.zeros(3, 4)
    weight[1, 2] = 1e-45  # a 127th of it is 0
    assert torch.equal(quantize(weight).dequantized(), torch.zeros(3, 4))


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_an_output_whose_weights_are_not_finite_is_not_finite_alone(bad: float) -> None:
    weight = drawn(3, 4)
    expected = quantize(weight).dequantized()
    weight[1, 2] = bad
    came_back = quantize(weight).dequantized()
    assert not bool(came_back[1].isfinite().all())
    assert torch.equal(came_back[0::2], expected[0::2])


def test_an_outputs_weights_lie_in_one_column_of_its_panel() -> None:
    stored = quantize(drawn(130, 5))
    assert stored.panels.shape == (3, 5, PANEL_WIDTH)
    assert torch.equal(stored.panels[2, :, 1], stored.integers()[129])
    assert not bool(stored.panels[2, :, 2:].any())
    assert (stored.num_outputs, stored.num_inputs) == (130, 5)
    assert stored.num_bytes == 3 * 5 * PANEL_WIDTH + 130 * 4


@pytest.mark.parametrize("sizes", [(64, 128), (3, 64, 100), (1,)])
def test_layers_merge_as_their_weights_do(sizes: tuple[int, ...]) -> None:
    weights = [drawn(size, 9) for size in sizes]
    merged, together = merge([quantize(each) for each in weights]), quantize(torch.cat(weights))
    assert torch.equal(merged.panels, together.panels)
    assert torch.equal(merged.scales, together.scales)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reference_multiplies_with_what_the_weights_stand_for(case, dtype):
    inputs = case.make_inputs(dtype)
    output = int8_linear(**arguments(inputs))
    assert output.dtype == dtype
    assert output.is_contiguous()
    exact = inputs.weight.integers().double() * inputs.weight.scales.double()[:, None]
    expected = inputs.x.double() @ exact.T
    if inputs.bias is not None:
        expected += inputs.bias.double()
    TOLERANCES[dtype].check(output, expected)


def test_leading_dimensions_keep_their_shape() -> None:
    weight: Int8Weight = quantize(drawn(70, 20))
    assert int8_linear(torch.ones(2, 3, 20), weight).shape == (2, 3, 70)
