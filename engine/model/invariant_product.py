"""Matrix products whose rows do not depend on how many rows there are.

Owns: which numbers of rows give the same bits, and products with those. Must not know: models,
requests.

A library of matrix products chooses its algorithm by the shapes, so the same row gets other last
bits among 3 rows than among 300. Which numbers of rows give the same bits depends on processor,
library, dtype and threads, so it is measured: a number that comes up for the first time is tried on
rows of our own, beside products of 64 rows each. Rows are filled up to one that agrees, or cut.
With packed weights nearly all agree, with plain ones few.
(He et al., "Defeating Nondeterminism in LLM Inference", 2025, describe the cause.)
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import ModelRefusedError
from engine.model.layer_parts import Multiply

__all__ = ["InvariantProduct"]

# What all others are compared with, and what serves where nothing else agrees. With half as many
# rows, a long prompt would take twice the time where no larger number agrees.
_BASE = 64
_MOST = 2048
# Numbers are rounded up to multiples of these, so that not all have to be tried: (up to, multiple).
# A single row becomes two: it is multiplied as a vector, in another order.
_ROUNDING = ((_BASE, 2), (256, 8), (_MOST, 128))
_POWERS = (4, 8, 16, 32, _BASE)
_PIECES = (_MOST, 1024, 512, 256, 128, _BASE)
# In bfloat16 another order of summation shows in one number of ten thousand.
_ROWS_TRIED = 256
_LARGEST_PROBE = 1 << 24  # numbers in a product; a vocabulary is never asked for so many rows
_PROBE_SEED = 20


@dataclass(frozen=True, slots=True)
class _Key:
    """What the choice of an algorithm may depend on, besides the number of rows."""

    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    has_bias: bool


@dataclass(slots=True)
class _Measured:
    """Rows to try with and their products, 64 at a time; which numbers of rows agree with those."""

    rows: Tensor
    products: Tensor
    agrees: dict[int, bool] = field(default_factory=dict)


class InvariantProduct:
    """A product such as `functional.linear` whose rows do not depend on each other, bit by bit.

    Raises ModelRefusedError, with the flag's name, if even products of one size depend on the
    order of their rows.
    """

    def __init__(self, multiply: Multiply = functional.linear) -> None:
        self._multiply = multiply
        self._measured: dict[_Key, _Measured] = {}

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """x: [..., in], weight: [out, in], bias: [out] or None. Returns [..., out]."""
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        outputs: list[Tensor] = []
        start, stop = 0, rows.shape[0]
        while start < stop:
            size = self.size(stop - start, weight, bias)
            piece = rows[start : start + size]
            outputs.append(self._multiply(_filled(piece, size), weight, bias)[: stop - start])
            start += size
        if len(outputs) == 1:
            flat = outputs[0]
        else:
            flat = torch.cat(outputs) if outputs else self._multiply(rows, weight, bias)
        return flat.view(*x.shape[:-1], weight.shape[0])

    def size(self, num_rows: int, weight: Tensor, bias: Tensor | None = None) -> int:
        """With how many rows the first piece of `num_rows` is multiplied: more are filled up."""
        stride = () if weight.is_mkldnn else weight.stride()
        key = _Key(weight.shape, stride, weight.dtype, bias is not None)
        measured = self._measured.get(key)
        if measured is None:
            measured = self._measured[key] = self._measure(weight, bias)
        return next(
            size for size in _candidates(num_rows) if self._agrees(size, measured, weight, bias)
        )

    def _measure(self, weight: Tensor, bias: Tensor | None) -> _Measured:
        generator = torch.Generator().manual_seed(_PROBE_SEED)
        most = max(_BASE, min(_MOST, _LARGEST_PROBE // weight.shape[0] // _BASE * _BASE))
        rows = torch.randn(most, weight.shape[1], generator=generator).to(weight.dtype)
        pieces = [self._multiply(piece, weight, bias) for piece in torch.split(rows, _BASE)]
        order = torch.randperm(_BASE, generator=generator)
        if not torch.equal(self._multiply(rows[:_BASE][order], weight, bias), pieces[0][order]):
            raise ModelRefusedError(
                "--deterministic cannot be kept here: this machine's matrix products depend on the "
                f"order of rows, for a weight of shape {tuple(weight.shape)}; leave the flag out"
            )
        return _Measured(rows, torch.cat(pieces), {_BASE: True})

    def _agrees(self, size: int, measured: _Measured, weight: Tensor, bias: Tensor | None) -> bool:
        if size > len(measured.rows):
            return False
        agrees = measured.agrees.get(size)
        if agrees is None:
            count = max(1, min(_ROWS_TRIED, len(measured.rows)) // size) * size
            pieces = torch.split(measured.rows[:count], size)
            products = torch.cat([self._multiply(piece, weight, bias) for piece in pieces])
            agrees = measured.agrees[size] = torch.equal(products, measured.products[:count])
        return agrees


def _filled(piece: Tensor, size: int) -> Tensor:
    missing = size - piece.shape[0]
    return functional.pad(piece, (0, 0, 0, missing)) if missing else piece


def _candidates(num_rows: int) -> Iterator[int]:
    """Numbers of rows for a product of `num_rows`, the best first; 64 is always among them."""
    for most, multiple in _ROUNDING:
        if num_rows <= most:
            yield -(-num_rows // multiple) * multiple
            break
    if num_rows <= _BASE:
        yield from (size for size in _POWERS if size > num_rows)
    yield from (size for size in _PIECES if size <= num_rows)
