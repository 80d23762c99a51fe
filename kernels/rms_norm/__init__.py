"""Root mean square normalisation: the contract of the op "rms_norm".

The weight's dtype says where the result is rounded, since models differ. In the dtype of x: the
normalised x is rounded to it before it is multiplied (Llama and its family). In float32: it is
multiplied in float32 and rounded once (Gemma, whose caller passes `1 + weight.float()`: the
one-plus is the caller's business).

Must not know: layers, models.
"""

from typing import Protocol

from torch import Tensor

from kernels.cpu_library import register_compiled
from kernels.triton_library import register_triton

__all__ = ["RMSNorm"]


class RMSNorm(Protocol):
    """The callable of the op "rms_norm"."""

    def __call__(
        self, x: Tensor, weight: Tensor, eps: float, residual: Tensor | None = None
    ) -> Tensor:
        """Normalise over the last dimension: x / sqrt(mean(x^2) + eps) * weight, in float32.

        x:        [..., D], not modified.
        weight:   [D], in the dtype of x or in float32, see the module.
        residual: [..., D] like x: first becomes x + residual in its own dtype, in place, and that
                  sum is what is normalised.

        Returns [..., D] in the dtype of x. Each vector's result depends on that vector alone.
        """
        ...


register_compiled("rms_norm", "kernels.rms_norm.cpu")
register_triton("rms_norm", "kernels.rms_norm.gpu")
