"""Linear layers with weights in panels on the CPU: the contract of the op "panel_linear".

Must not know: what the groups are (a mixture's experts), models. `weight.py` has the weights, whose
order is that in which the compiled kernel reads them, `int8.py` those that are rounded to int8.
"""

from typing import Protocol

from torch import Tensor

from kernels.cpu_library import register_compiled
from kernels.panel_linear.weight import PanelWeights

__all__ = ["PanelLinear"]


class PanelLinear(Protocol):
    """The callable of the op "panel_linear"."""

    def __call__(
        self,
        x: Tensor,
        weights: PanelWeights,
        ends: Tensor | None = None,
        bias: Tensor | None = None,
    ) -> Tensor:
        """Rows of group g times its weights, plus bias[g]; summed in float32, rounded once. Rows
        are rounded to int8 before, some inputs at a time, where `weights.rounds_rows`.

        x: [..., in], float32, bfloat16 or float16; with `ends` [R, in], the rows of a group
        adjacent, groups in order. ends: [G] int32, where each group's rows end, the last at R; None
        if there is one group. bias: [G, out] float32, or None. Returns a contiguous [..., out] in
        the dtype of x. What is compiled gives a row the same bits among any number of rows.
        """
        ...


register_compiled("panel_linear", "kernels.panel_linear.cpu")
