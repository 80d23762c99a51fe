"""Products with int8 weights: the contract of the op "int8_linear".

Must not know: layers, models. `weight.py` has the weights themselves.
"""

from typing import Protocol

from torch import Tensor

from kernels.cpu_library import register_compiled
from kernels.int8_linear.weight import Int8Weight

__all__ = ["Int8Linear"]


class Int8Linear(Protocol):
    """The callable of the op "int8_linear"."""

    def __call__(self, x: Tensor, weight: Int8Weight, bias: Tensor | None = None) -> Tensor:
        """Returns x weight^T + bias, with sums, scales and bias in float32, rounded once.

        x: [..., in], float32, bfloat16 or float16: it stays as it is, only weights are integers.
        bias: [out], float32, or None. Returns a contiguous [..., out] in the dtype of x. What is
        compiled gives a row the same bits among any number of rows.
        """
        ...


register_compiled("int8_linear", "kernels.int8_linear.cpu")
