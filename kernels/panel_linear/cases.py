"""Shapes for linear layers with weights in panels: for tests and for the benchmark.

Owns: cases, tolerances, inputs. Must not know: implementations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.grouped_linear.cases import CASES as GROUPED_CASES
from kernels.grouped_linear.cases import TOLERANCES, GroupedLinearCase
from kernels.panel_linear.weight import PanelWeights, to_panels

__all__ = ["CASES", "TOLERANCES", "PanelLinearCase", "PanelLinearInputs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelLinearInputs:
    """The arguments of one call, `PanelLinear`'s."""

    x: Tensor
    weights: PanelWeights
    ends: Tensor
    bias: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelLinearCase:
    """The inputs of `grouped`, with weights of `weight_dtype` (None: that of the inputs)."""

    name: str
    grouped: GroupedLinearCase
    weight_dtype: torch.dtype | None = None

    def make_inputs(
        self, dtype: torch.dtype, device: str = "cpu", seed: int = 0
    ) -> PanelLinearInputs:
        """Random inputs whose outputs have a standard deviation of one."""
        plain = self.grouped.make_inputs(dtype, device, seed)
        weight = plain.weight.to(self.weight_dtype or dtype)
        return PanelLinearInputs(
            x=plain.x,
            weights=to_panels(weight),
            ends=plain.ends,
            bias=None if plain.bias is None else plain.bias.float(),
        )


_LONG = GroupedLinearCase(
    name="long", counts=(1, 100, 7, 0, 13, 200), num_inputs=300, num_outputs=200, has_bias=True
)
CASES = (
    *(PanelLinearCase(name=case.name, grouped=case) for case in (*GROUPED_CASES, _LONG)),
    *(
        PanelLinearCase(name=f"{kind}_{case.name}", grouped=case, weight_dtype=weight_dtype)
        for kind, weight_dtype in (("wide", torch.float32), ("narrow", torch.bfloat16))
        for case in (GROUPED_CASES[3], _LONG)
    ),
)
