"""8-bit floats (e4m3fn) in the KV cache: what is stored of a number, without any scale.

Owns: the dtype, the rounding on the way in, the detour for operations that torch does not have for
it. Must not know: ops, models.

Three bits of mantissa: a relative error of 1/16 at most between 2^-6 and 448, an absolute one of
2^-10 below. There is no infinity. A key that is a little too large should not end its request, so
what is beyond the largest number becomes that; torch's own conversion does so in 2.13, and made NaN
of it in older versions. NaN stays NaN.
"""

import torch
from torch import Tensor

__all__ = ["FLOAT8", "LARGEST", "as_stored", "movable"]

FLOAT8 = torch.float8_e4m3fn
LARGEST = torch.finfo(FLOAT8).max


def as_stored(values: Tensor, dtype: torch.dtype) -> Tensor:
    """`values` in the dtype of a cache: rounded to nearest, ties to even; as FLOAT8, infinities and
    what is too large become +-448.
    """
    if dtype == FLOAT8:
        values = values.float().clamp(-LARGEST, LARGEST)
    return values.to(dtype)


def movable(tensor: Tensor) -> Tensor:
    """The same memory in a dtype that torch can index, gather and compare on every device."""
    return tensor.view(torch.uint8) if tensor.dtype == FLOAT8 else tensor
