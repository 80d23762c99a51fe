"""Functions of torch whose bits do not depend on how many numbers there are."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import ModelRefusedError
from engine.model.invariant_functions import InvariantFunctions

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": functional.silu,
    "sigmoid": Tensor.sigmoid,
    "gelu": lambda x: functional.gelu(x, approximate="tanh"),
    "softplus": lambda x: functional.softplus(x, beta=2.0),
    "tanh": torch.tanh,
    "module": torch.nn.SiLU(),
}


def _numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return (torch.randn(*shape, generator=generator) * 3).to(dtype)


@pytest.mark.parametrize("name", _FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_a_row_has_the_same_bits_among_any_number(
    name: str, dtype: torch.dtype, num_threads: int
) -> None:
    function = _FUNCTIONS[name]
    x = _numbers(1500, 90, dtype=dtype)  # more than one thread's share, rows end within a vector
    threads = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        with InvariantFunctions("m"):
            whole = function(x)
            for rows in (slice(0, 1), slice(3, 4), slice(7, 300), slice(1499, 1500)):
                assert torch.equal(function(x[rows]), whole[rows])
            assert torch.equal(function(x.view(3, 500, 90)).view(1500, 90), whole)
            assert torch.equal(function(x[0]), whole[0])
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(whole, function(x))


def test_without_it_bits_depend_on_the_number_of_rows() -> None:
    """Else the test above could not fail."""
    x = _numbers(1500, 90)
    whole = functional.silu(x)
    assert not all(torch.equal(functional.silu(x[row]), whole[row]) for row in range(1500))


def test_empty_tensors_and_numbers_alone_keep_their_shape() -> None:
    with InvariantFunctions("m"):
        assert functional.silu(torch.ones(0, 5)).shape == (0, 5)
        assert torch.sigmoid(torch.tensor(0.0)).shape == ()
        assert torch.sigmoid(torch.tensor(0.0)) == 0.5


@pytest.mark.parametrize("form", ["linear", "addmm", "matmul", "operator"])
def test_matrices_are_multiplied_with_the_same_bits_among_any_number_of_rows(form: str) -> None:
    weight, bias = _numbers(48, 160), _numbers(48)

    def product(x: Tensor) -> Tensor:
        if form == "linear":
            return functional.linear(x, weight, bias)
        if form == "addmm":
            return torch.addmm(bias, x, weight.t())
        return (torch.matmul(x, weight.t()) if form == "matmul" else x @ weight.t()) + bias

    x = _numbers(300, 160)
    with InvariantFunctions("m"):
        whole = product(x)
        for count in (1, 2, 31, 257):
            assert torch.equal(product(x[:count]), whole[:count])
    torch.testing.assert_close(whole, product(x))


def test_products_that_add_nothing_up_are_left_alone() -> None:
    frequencies, positions = _numbers(1, 8, 1), _numbers(1, 1, 20)
    with InvariantFunctions("m"):
        assert torch.equal(frequencies @ positions, frequencies * positions)


@pytest.mark.parametrize("name", ["bmm", "einsum", "matmul", "addmm"])
def test_what_has_no_such_form_is_refused_by_name(name: str) -> None:
    x = torch.ones(2, 3, 3)
    calls: dict[str, Callable[[], Tensor]] = {
        "bmm": lambda: torch.bmm(x, x),
        "einsum": lambda: torch.einsum("bij,bjk->bik", x, x),
        "matmul": lambda: x.matmul(x),
        "addmm": lambda: torch.addmm(x[0], x[0], x[0], alpha=2.0),
    }
    wanted = rf"--deterministic cannot run some/m: its layers call torch's {name}, which"
    with InvariantFunctions("some/m"), pytest.raises(ModelRefusedError, match=wanted):
        calls[name]()
