"""Gated activations: the contracts of the ops "silu_mul" and "gelu_mul".

Must not know: layers, models.
"""

from typing import Literal, Protocol

from torch import Tensor

from kernels.cpu_library import register_compiled
from kernels.triton_library import register_triton

__all__ = ["GeluMul", "SiluMul"]


class SiluMul(Protocol):
    """The callable of the op "silu_mul"."""

    def __call__(self, gate: Tensor, up: Tensor) -> Tensor:
        """silu(gate) * up, in float32, rounded once.

        gate, up: [..., I]; they may be the two halves of one merged projection (last dimension
        contiguous). Returns a contiguous [..., I] in their dtype.
        """
        ...


class GeluMul(Protocol):
    """The callable of the op "gelu_mul"."""

    def __call__(
        self, gate: Tensor, up: Tensor, *, approximate: Literal["none", "tanh"] = "tanh"
    ) -> Tensor:
        """gelu(gate) * up; as `SiluMul`. `approximate` as in torch: "tanh" is what models call
        gelu_pytorch_tanh, "none" the exact form.
        """
        ...


register_compiled("silu_mul", "kernels.activation.cpu")
register_compiled("gelu_mul", "kernels.activation.cpu")
register_triton("silu_mul", "kernels.activation.gpu")
register_triton("gelu_mul", "kernels.activation.gpu")
