"""Shapes for grouped linear layers: for tests and for the benchmark.

Owns: cases, tolerances, inputs. Must not know: implementations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.tolerance import Tolerance

__all__ = ["CASES", "TOLERANCES", "GroupedLinearCase", "GroupedLinearInputs"]

# Outputs are of size one; those near zero are what large products cancel to.
TOLERANCES = {
    torch.float32: Tolerance(1e-5, 1e-5),
    torch.bfloat16: Tolerance(1e-3, 2**-7),
    torch.float16: Tolerance(1e-4, 2**-10),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedLinearInputs:
    """The arguments of one call, `GroupedLinear`'s."""

    x: Tensor
    weight: Tensor
    ends: Tensor
    bias: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupedLinearCase:
    """`counts`: the rows of each group. `is_transposed`: the weights lie [in, out] in memory."""

    name: str
    counts: tuple[int, ...]
    num_inputs: int = 48
    num_outputs: int = 80
    has_bias: bool = False
    is_transposed: bool = False

    def make_inputs(
        self, dtype: torch.dtype, device: str = "cpu", seed: int = 0
    ) -> GroupedLinearInputs:
        """Random inputs whose outputs have a standard deviation of one."""
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        num_groups, inputs, outputs = len(self.counts), self.num_inputs, self.num_outputs
        shape = (inputs, outputs) if self.is_transposed else (outputs, inputs)
        weight = (draw(num_groups, *shape) * inputs**-0.5).to(dtype).to(device)
        bias = draw(num_groups, outputs).to(dtype).to(device) if self.has_bias else None
        return GroupedLinearInputs(
            x=draw(sum(self.counts), inputs).to(dtype).to(device),
            weight=weight.transpose(1, 2) if self.is_transposed else weight,
            ends=torch.tensor(self.counts).cumsum(0).to(torch.int32).to(device),
            bias=bias,
        )


CASES = (
    GroupedLinearCase(name="one_row", counts=(0, 0, 1, 0)),
    GroupedLinearCase(name="no_row", counts=(0, 0)),
    GroupedLinearCase(name="one_group", counts=(21,)),
    GroupedLinearCase(name="few_rows_each", counts=(1, 0, 2, 3, 0, 1, 1)),
    GroupedLinearCase(name="first_and_last_empty", counts=(0, 17, 16, 0, 33, 0)),
    GroupedLinearCase(name="one_has_most", counts=(1, 130, 2), num_inputs=64),
    GroupedLinearCase(name="odd_sizes", counts=(5, 9, 40), num_inputs=37, num_outputs=131),
    GroupedLinearCase(name="bias", counts=(3, 0, 20), has_bias=True),
    GroupedLinearCase(name="transposed", counts=(3, 18), is_transposed=True, has_bias=True),
    GroupedLinearCase(name="many_groups", counts=(1, 0, 3) * 43, num_inputs=16, num_outputs=16),
)
