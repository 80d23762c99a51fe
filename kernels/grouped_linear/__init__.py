"""Linear layers of several groups of rows: the contract of the op "grouped_linear".

Must not know: what the groups are (a mixture's experts), models.
"""

from typing import Protocol

from torch import Tensor

from kernels.triton_library import register_triton

__all__ = ["GroupedLinear"]


class GroupedLinear(Protocol):
    """The callable of the op "grouped_linear"."""

    def __call__(
        self, x: Tensor, weight: Tensor, ends: Tensor, bias: Tensor | None = None
    ) -> Tensor:
        """Rows of group g times weight[g].T, plus bias[g]; summed in float32, rounded once.

        x: [R, in], the rows of a group adjacent, groups in order. weight: [G, out, in] of x's
        dtype; its last or its last but one dimension is contiguous. ends: [G] int32, where each
        group's rows end; the last is R. bias: [G, out] or None. Returns a contiguous [R, out].
        Nothing is read back to the host where a device computes it.
        """
        ...


register_triton("grouped_linear", "kernels.grouped_linear.gpu")
