"""Counter-based randomness: a number is a function of what it is for, not of what was drawn before.

Owns: `uniform`, one number for (seed, choice, position, purpose), and `uniforms`, the same bits for
many at once. Nothing is remembered between calls, so batch neighbours, preemption, hand-over to
another worker and arrival order cannot change a request's numbers. Must not know: logits, requests.

The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as
1, 2, 3; SC 2011), keyed by the seed, with (position, choice, purpose, 0) as its counter. Triton has
the same generator, so a device can draw the same numbers.
"""

from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Purpose", "philox", "uniform", "uniforms"]

_LOW_32 = 0xFFFFFFFF
_NUM_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)

# A 32-bit word as a Python int, or one such word for each row in an array of uint64: the arithmetic
# is the same, the types of the operators are not.
_Word: TypeAlias = Any


class Purpose(IntEnum):
    """What a number is drawn for; numbers for different purposes are independent."""

    SAMPLE = 0


def uniform(
    seed: int, choice_index: int, position: int, purpose: Purpose = Purpose.SAMPLE
) -> float:
    """A number in [0, 1), a whole multiple of 2^-53.

    seed: any integer, its low 64 bits count. choice_index: which of the n choices of a chat
    request. position: index of the output token. Raises ValueError unless both are in [0, 2^32).
    """
    for name, value in (("choice_index", choice_index), ("position", position)):
        if not 0 <= value <= _LOW_32:
            raise ValueError(f"{name} must be in [0, 2^32), got {value}")
    counter = (position, choice_index, int(purpose), 0)
    low, high, _, _ = philox(counter, (seed & _LOW_32, seed >> 32 & _LOW_32))
    return float((low | high << 32) >> 11) * 2.0**-53


def uniforms(
    seeds: npt.NDArray[np.int64],
    choice_indices: npt.NDArray[np.int64],
    positions: npt.NDArray[np.int64],
    purpose: Purpose = Purpose.SAMPLE,
) -> npt.NDArray[np.float64]:
    """`uniform` of each row: [R] integers (seeds signed or unsigned, 64 bits) -> [R] float64.

    Indices and positions are the caller's own counters and are not checked against 2^32.
    """
    seed_words = seeds.astype(np.uint64)
    zeros = np.zeros_like(seed_words)
    counter = (
        positions.astype(np.uint64),
        choice_indices.astype(np.uint64),
        zeros + np.uint64(purpose),
        zeros,
    )
    low, high, _, _ = philox(counter, (seed_words & _LOW_32, seed_words >> 32))
    bits: npt.NDArray[np.uint64] = (low | high << 32) >> 11
    return bits.astype(np.float64) * 2.0**-53


def philox(
    counter: tuple[_Word, _Word, _Word, _Word], key: tuple[_Word, _Word]
) -> tuple[_Word, _Word, _Word, _Word]:
    """Philox4x32-10: four random words for a counter of four words under a key of two.

    All words are below 2^32, as Python ints or as arrays of uint64 of one shape.
    """
    x0, x1, x2, x3 = counter
    k0, k1 = key
    for _ in range(_NUM_ROUNDS):
        product_0 = x0 * _MULTIPLIERS[0]
        product_2 = x2 * _MULTIPLIERS[1]
        x0, x1, x2, x3 = (
            product_2 >> 32 ^ x1 ^ k0,
            product_2 & _LOW_32,
            product_0 >> 32 ^ x3 ^ k1,
            product_0 & _LOW_32,
        )
        k0 = k0 + _KEY_STEPS[0] & _LOW_32
        k1 = k1 + _KEY_STEPS[1] & _LOW_32
    return x0, x1, x2, x3
