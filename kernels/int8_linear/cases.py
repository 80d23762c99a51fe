"""Shapes for products with int8 weights: for tests and for the benchmark.

Owns: cases, tolerances, inputs. Must not know: implementations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.int8_linear.weight import Int8Weight, quantize
from kernels.tolerance import REDUCTION

__all__ = ["CASES", "TOLERANCES", "Int8LinearCase", "Int8LinearInputs"]

TOLERANCES = REDUCTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8LinearInputs:
    """The arguments of one call."""

    x: Tensor
    weight: Int8Weight
    bias: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Int8LinearCase:
    """`has_gaps`: the rows of x are not adjacent."""

    name: str
    num_rows: int
    num_inputs: int
    num_outputs: int
    has_bias: bool = False
    has_gaps: bool = False

    def make_inputs(
        self, dtype: torch.dtype, device: str = "cpu", seed: int = 0
    ) -> Int8LinearInputs:
        """Random inputs; results have a standard deviation of about one."""
        generator = torch.Generator().manual_seed(seed)
        width = self.num_inputs + 3 * self.has_gaps
        x = torch.randn(self.num_rows, width, generator=generator).to(dtype)
        weight = torch.randn(self.num_outputs, self.num_inputs, generator=generator)
        bias = torch.randn(self.num_outputs, generator=generator) if self.has_bias else None
        return Int8LinearInputs(
            x=x[:, : self.num_inputs].to(device),
            weight=quantize((weight * self.num_inputs**-0.5).to(device)),
            bias=bias if bias is None else bias.to(device),
        )


CASES = (
    Int8LinearCase(name="one_row", num_rows=1, num_inputs=512, num_outputs=192),
    Int8LinearCase(name="no_row", num_rows=0, num_inputs=64, num_outputs=64),
    Int8LinearCase(name="few_rows", num_rows=7, num_inputs=300, num_outputs=128, has_bias=True),
    Int8LinearCase(name="many_rows", num_rows=131, num_inputs=384, num_outputs=256),
    Int8LinearCase(name="odd", num_rows=19, num_inputs=129, num_outputs=77, has_bias=True),
    Int8LinearCase(name="narrow", num_rows=5, num_inputs=1, num_outputs=1),
    Int8LinearCase(name="gaps", num_rows=33, num_inputs=130, num_outputs=65, has_gaps=True),
)
