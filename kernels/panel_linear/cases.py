"""Shapes for linear layers with weights in panels: for tests and for the benchmark.

Owns: cases, tolerances, inputs. Must not know: implementations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.grouped_linear.cases import CASES as GROUPED_CASES
from kernels.grouped_linear.cases import TOLERANCES, GroupedLinearCase
from kernels.panel_linear.int8 import quantize_groups
from kernels.panel_linear.weight import PanelWeights, to_panels

__all__ = ["CASES", "TOLERANCES", "PanelLinearCase", "PanelLinearInputs", "panels_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelLinearInputs:
    """The arguments of one call, `PanelLinear`'s."""

    x: Tensor
    weights: PanelWeights
    ends: Tensor | None
    bias: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelLinearCase:
    """The inputs of `grouped`, with weights of `weight_dtype` (None: that of the inputs; uint8:
    int8 for rows that are rounded).
    `has_ends`: False for one group that is not told where it ends. `has_gaps`: the rows of x are
    not adjacent.
    """

    name: str
    grouped: GroupedLinearCase
    weight_dtype: torch.dtype | None = None
    has_ends: bool = True
    has_gaps: bool = False

    def make_inputs(
        self, dtype: torch.dtype, device: str = "cpu", seed: int = 0
    ) -> PanelLinearInputs:
        """Random inputs whose outputs have a standard deviation of one."""
        plain = self.grouped.make_inputs(dtype, device, seed)
        x = plain.x
        if self.has_gaps:
            x = torch.cat((x, x[:, :3]), dim=1)[:, : x.shape[1]]
        return PanelLinearInputs(
            x=x,
            weights=panels_of(plain.weight, self.weight_dtype or dtype),
            ends=plain.ends if self.has_ends else None,
            bias=None if plain.bias is None else plain.bias.float(),
        )


def panels_of(weights: Tensor, dtype: torch.dtype) -> PanelWeights:
    """The weights [groups, out, in] in panels of `dtype`, rounded if it is int8 or uint8."""
    if dtype in (torch.int8, torch.uint8):
        return quantize_groups(weights, rounds_rows=dtype == torch.uint8)
    return to_panels(weights, dtype)


_LONG = GroupedLinearCase(
    name="long", counts=(1, 100, 7, 0, 13, 200), num_inputs=300, num_outputs=200, has_bias=True
)
_ONE_GROUP = (
    GroupedLinearCase(name="one_row", counts=(1,), num_inputs=512, num_outputs=192),
    GroupedLinearCase(name="few_rows", counts=(7,), num_inputs=300, num_outputs=128, has_bias=True),
    GroupedLinearCase(
        name="more_rows", counts=(19,), num_inputs=129, num_outputs=77, has_bias=True
    ),
    GroupedLinearCase(name="many_rows", counts=(131,), num_inputs=384, num_outputs=256),
    GroupedLinearCase(name="narrow", counts=(5,), num_inputs=1, num_outputs=1),
    GroupedLinearCase(name="no_row", counts=(0,)),
)
_KINDS = {
    "wide": torch.float32,
    "narrow": torch.bfloat16,
    "int8": torch.int8,
    "rounded": torch.uint8,
}
CASES = (
    *(PanelLinearCase(name=case.name, grouped=case) for case in (*GROUPED_CASES, _LONG)),
    *(
        PanelLinearCase(name=f"{kind}_{case.name}", grouped=case, weight_dtype=weight_dtype)
        for kind, weight_dtype in _KINDS.items()
        for case in (GROUPED_CASES[3], _LONG)
    ),
    *(
        PanelLinearCase(
            name=f"{kind}_{case.name}_without_ends",
            grouped=case,
            weight_dtype=weight_dtype,
            has_ends=False,
            has_gaps=case.name == "more_rows",
        )
        for kind, weight_dtype in _KINDS.items()
        for case in _ONE_GROUP
    ),
)
