"""Products whose rows do not depend on their number: sizes, results, refusals."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import ModelRefusedError
from engine.model.invariant_product import InvariantProduct
from engine.model.packed import pack, packed_product

_WIDE, _NARROW = 1024, 160
_linear = functional.linear


def _weight(rows: int, columns: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(rows)
    made: Tensor = torch.randn(rows, columns, generator=generator) * columns**-0.5
    return made.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("is_packed", [True, False])
def test_a_row_has_the_same_bits_among_any_number(
    dtype: torch.dtype, has_bias: bool, is_packed: bool
) -> None:
    product = InvariantProduct(packed_product if is_packed else _linear)
    plain = _weight(576, _WIDE, dtype)
    weight = pack(plain) if is_packed else plain
    bias = _weight(576, 1, dtype)[:, 0] if has_bias else None
    x = _weight(700, _WIDE, dtype)
    whole = product(x, weight, bias)
    torch.testing.assert_close(whole, _linear(x, plain, bias))
    for count in (1, 2, 7, 63, 64, 65, 130, 257, 699):
        assert torch.equal(product(x[:count], weight, bias), whole[:count])
        assert torch.equal(product(x[-count:], weight, bias), whole[-count:])


def test_leading_dimensions_and_no_rows_at_all_keep_their_shape() -> None:
    product = InvariantProduct()
    weight = _weight(48, _NARROW)
    assert product(torch.ones(2, 3, _NARROW), weight).shape == (2, 3, 48)
    assert product(torch.ones(1, 0, _NARROW), weight).shape == (1, 0, 48)


def test_only_sizes_that_agree_are_used() -> None:
    """A library whose products of 256 rows and more, and of 32, have other last bits."""
    used: list[int] = []

    def fickle(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        used.append(len(x))
        return (x[:, :32] * weight[0, :32]) * (1 + 1e-6 * (len(x) >= 256 or len(x) == 32))

    product = InvariantProduct(fickle)
    weight, x = _weight(32, _NARROW), _weight(1000, _NARROW)
    sizes = {
        count: product.size(count, weight) for count in (1, 20, 31, 64, 65, 200, 250, 1000, 4000)
    }
    assert sizes == {1: 2, 20: 20, 31: 64, 64: 64, 65: 72, 200: 200, 250: 128, 1000: 128, 4000: 128}
    product(x, weight)
    used.clear()
    product(x, weight)
    assert used == [128] * 6 + [232]


def test_products_that_depend_on_the_order_of_rows_are_refused() -> None:
    def by_place(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return _linear(x, weight, bias) + torch.arange(len(x))[:, None]

    with pytest.raises(ModelRefusedError, match="--deterministic cannot be kept here"):
        InvariantProduct(by_place)(torch.ones(3, _NARROW), _weight(32, _NARROW))


def test_sizes_are_measured_once_for_each_shape() -> None:
    calls: list[int] = []

    def counted(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        calls.append(len(x))
        return _linear(x, weight, bias)

    product = InvariantProduct(counted)
    product(torch.ones(64, _NARROW), _weight(32, _NARROW))
    calls.clear()
    product(torch.ones(64, _NARROW), _weight(32, _NARROW) * 2)
    assert calls == [64]
