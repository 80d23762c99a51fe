"""Rotary position embedding: the contract of the op "rope".

The rotate-half form: dimension i of a head turns together with dimension i + rotary_dim / 2. Models
whose pairs are neighbours (2i, 2i + 1) are not served by this op.

Must not know: how angles follow from positions; layers, models.
"""

from typing import Protocol

from torch import Tensor

from kernels.cpu_library import register_compiled
from kernels.triton_library import register_triton

__all__ = ["Rope"]


class Rope(Protocol):
    """The callable of the op "rope"."""

    def __call__(
        self, query: Tensor, key: Tensor, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Turn query and key by the angles of their tokens, in float32.

        query:    [T, Hq, D], key: [T, Hkv, D]; not modified.
        cos, sin: [T, rotary_dim], rotary_dim even and at most D, both halves alike (transformers'
                  layout). The first rotary_dim dimensions of each head turn, the rest passes
                  through (partial rotary).

        Returns both, in their dtypes.
        """
        ...


register_compiled("rope", "kernels.rope.cpu")
register_triton("rope", "kernels.rope.gpu")
