"""How far an implementation may be from the expected values, for each dtype.

Owns: the type and the default bounds. Shared by tests and benchmarks. Must not know: ops.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch

__all__ = ["DTYPES", "ELEMENTWISE", "REDUCTION", "Tolerance"]

DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """|actual - expected| <= absolute + relative * |expected|."""

    absolute: float
    relative: float

    def check(self, actual: torch.Tensor, expected: torch.Tensor) -> None:
        """Compare in float64. Raises AssertionError with the worst element; NaN never passes."""
        torch.testing.assert_close(
            actual.double(), expected.double(), atol=self.absolute, rtol=self.relative
        )


def _per_dtype(
    float32: Tolerance, bfloat16: Tolerance, float16: Tolerance
) -> Mapping[torch.dtype, Tolerance]:
    return MappingProxyType(
        {torch.float32: float32, torch.bfloat16: bfloat16, torch.float16: float16}
    )


# One rounding of the result to its dtype: half a unit in the last place, doubled.
ELEMENTWISE = _per_dtype(Tolerance(1e-6, 1.3e-6), Tolerance(1e-6, 2**-7), Tolerance(1e-6, 2**-10))
# Sums of up to some thousand products in float32, then one rounding.
REDUCTION = _per_dtype(Tolerance(2e-6, 1e-5), Tolerance(1e-5, 2**-7), Tolerance(1e-5, 2**-10))
