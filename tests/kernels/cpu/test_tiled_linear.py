"""Products of bfloat16 rows with weights in the order of AMX's tiles."""

import pytest
import torch

from kernels.cpu_library import multiplies_tiles
from kernels.grouped_linear.cases import GroupedLinearCase
from kernels.panel_linear.cases import TOLERANCES
from kernels.panel_linear.reference import panel_linear as reference
from kernels.panel_linear.weight import PanelWeights, from_panels, merge, to_tiles
from kernels.registry import resolve

COUNTS = (0, 1, 16, 97, 31, 0, 33, 600, 15, 64, 17)


def fast(*args):
    return resolve("panel_linear", "cpu")(*args)


def make(counts: tuple[int, ...], num_inputs: int, num_outputs: int):
    case = GroupedLinearCase(
        name="x", counts=counts, num_inputs=num_inputs, num_outputs=num_outputs, has_bias=True
    )
    return case.make_inputs(torch.bfloat16)


@pytest.mark.parametrize("shape", [(1, 64, 32), (2, 70, 96), (1, 1, 64), (3, 1100, 64)])
def test_weights_come_back(shape: tuple[int, int, int]) -> None:
    weight = torch.randn(shape).bfloat16()
    made = to_tiles(weight)
    assert made.num_outputs == shape[1]
    for group in range(shape[0]):
        assert torch.equal(made.dense(group), weight[group].float())
        assert torch.equal(from_panels(made.in_order(made.panels[group]), shape[1]), weight[group])


@pytest.mark.parametrize("sizes", [(64, 128), (70, 50)])
def test_merged_layers_are_those_of_all_outputs(sizes: tuple[int, int]) -> None:
    weights = [torch.randn(1, size, 96).bfloat16() for size in sizes]
    merged = merge([to_tiles(weight) for weight in weights])
    together = to_tiles(torch.cat(weights, dim=1))
    assert merged.in_tiles
    assert merged.num_outputs == sum(sizes)
    assert torch.equal(merged.panels, together.panels)


@pytest.mark.parametrize(
    ("num_inputs", "num_outputs"), [(32, 64), (96, 70), (352, 33), (1120, 150)]
)
def test_it_agrees_with_the_reference_and_with_itself(
    compiled: str, num_inputs: int, num_outputs: int
) -> None:
    """A row has the same bits in any company: other rows, other groups, other threads."""
    inputs = make(COUNTS, num_inputs, num_outputs)
    weights, bias = to_tiles(inputs.weight), inputs.bias.float()
    torch.set_num_threads(2)
    whole = fast(inputs.x, weights, inputs.ends, bias)
    assert whole.dtype == torch.bfloat16
    expected = reference(inputs.x, weights, inputs.ends, bias)
    TOLERANCES[torch.bfloat16].check(whole, expected)
    if not multiplies_tiles():
        return
    torch.set_num_threads(1)
    assert torch.equal(fast(inputs.x, weights, inputs.ends, bias), whole)
    start = 0
    for group, count in enumerate(COUNTS):
        one = PanelWeights(weights.panels[group : group + 1], num_outputs, in_tiles=True)
        for part in {1, 2, 16, 17, 32, 33, 48, count // 2, count}:
            rows = inputs.x[start : start + min(part, count)]
            made = fast(rows, one, None, bias[group : group + 1])
            assert torch.equal(made, whole[start : start + len(rows)])
        start += count


def test_rows_with_gaps_and_no_bias(compiled: str) -> None:
    inputs = make((41,), 64, 130)
    weights = to_tiles(inputs.weight)
    expected = fast(inputs.x, weights)
    wide = torch.cat((inputs.x, inputs.x), dim=1)[:, 64:]
    assert torch.equal(fast(wide, weights), expected)
    assert torch.equal(fast(inputs.x.view(41, 1, 64), weights), expected.view(41, 1, 130))
    assert fast(inputs.x[:0], weights).shape == (0, 130)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_rows_of_another_dtype_are_the_references_matter(compiled: str, dtype) -> None:
    inputs = make((3,), 64, 70)
    weights = to_tiles(inputs.weight)
    made = fast(inputs.x.to(dtype), weights)
    assert made.dtype == dtype
    assert torch.equal(made, reference(inputs.x.to(dtype), weights))


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_a_row_that_is_not_finite_spoils_no_other(compiled: str, bad: float) -> None:
    inputs = make((40,), 64, 70)
    weights = to_tiles(inputs.weight)
    expected = fast(inputs.x, weights)
    inputs.x[4, 13] = bad
    made = fast(inputs.x, weights)
    assert not bool(made[4].isfinite().any())
    others = [row for row in range(40) if row != 4]
    torch.testing.assert_close(made[others], expected[others])
