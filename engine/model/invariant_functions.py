"""What transformers' own layers compute, with the same bits in any company.

Owns: the functions of torch whose bits depend on how many numbers there are, in a form in which
they do not; refusing those that have none. Must not know: models, requests.

Matrices are multiplied by `InvariantProduct`. Functions of single numbers are computed in vectors,
and what is left at the end of a tensor, or of a thread's share, one by one by another formula: a
sigmoid differs in its last bit then. So each number is computed where only its place in its row
decides whether it stands in a vector: rows of whole vectors, few enough for one thread.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from engine.errors import ModelRefusedError
from engine.model.invariant_product import InvariantProduct

__all__ = ["InvariantFunctions"]

_Function = Callable[..., Any]

_ELEMENTWISE: frozenset[_Function] = frozenset(
    {
        *(functional.silu, functional.gelu, functional.softplus, functional.mish, functional.elu),
        *(functional.hardswish, functional.selu, functional.logsigmoid, functional.hardsigmoid),
        *(torch.sigmoid, Tensor.sigmoid, torch.tanh, Tensor.tanh, torch.exp, Tensor.exp),
        *(torch.rsqrt, Tensor.rsqrt, torch.erf, Tensor.erf, torch.pow, Tensor.pow),
        *(torch.cos, Tensor.cos, torch.sin, Tensor.sin, torch.log, Tensor.log),
        *(torch.log1p, Tensor.log1p, torch.expm1, Tensor.expm1, torch.sqrt, Tensor.sqrt),
    }
)
_MATMULS: frozenset[_Function] = frozenset(
    {torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.mm, Tensor.mm}
)
_REFUSED: frozenset[_Function] = frozenset(
    {
        *(torch.bmm, Tensor.bmm, torch.baddbmm, Tensor.baddbmm, torch.einsum, torch.tensordot),
        *(functional.conv1d, functional.conv2d, functional.bilinear, functional.grouped_mm),
        *(functional.scaled_dot_product_attention, torch.addbmm, torch.mv, torch.addmv),
    }
)
# Numbers in the widest vectors that torch's loops take at a time, and one more than what a thread
# computes alone.
_VECTOR, _SHARE = 64, 32_768
_NUM_TRIED, _PIECE = 4096, 7


class InvariantFunctions(TorchFunctionMode):
    """While it is entered, functions of torch keep the deterministic mode or are refused.

    Raises ModelRefusedError, with `name` for the model, where one is called that cannot.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._product = InvariantProduct()
        self._depends: dict[tuple[_Function, torch.dtype, str], bool] = {}

    def __torch_function__(
        self,
        func: _Function,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Called by torch instead of `func`."""
        kwargs = kwargs or {}
        if func is functional.linear:
            return self._product(*args, **kwargs)
        if func in _ELEMENTWISE:
            return self._elementwise(func, args, kwargs)
        if func in _MATMULS:
            return self._matmul(func, *args)
        if func is torch.addmm and not kwargs:  # transformers' Conv1D
            bias, x, weight = args
            return self._product(x, weight.t(), bias)
        if func in _REFUSED or func is torch.addmm:
            raise self._refusal(func)
        return func(*args, **kwargs)

    def _matmul(self, func: _Function, left: Tensor, right: Tensor) -> Tensor:
        if left.shape[-1] == 1:  # nothing is added up: rotary embeddings
            made: Tensor = func(left, right)
            return made
        if right.dim() != 2 or left.dim() < 2:
            raise self._refusal(func)
        return self._product(left, right.t())

    def _elementwise(self, func: _Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        x, *others = args

        def call(numbers: Tensor) -> Any:
            return func(numbers, *others, **kwargs)

        if not isinstance(x, Tensor) or any(isinstance(other, Tensor) for other in others):
            return func(*args, **kwargs)
        key = (func, x.dtype, repr((others, kwargs)))
        if key not in self._depends:
            self._depends[key] = _depends_on_place(call, x.dtype)
        return _in_fixed_places(call, x) if self._depends[key] else call(x)

    def _refusal(self, func: _Function) -> ModelRefusedError:
        return ModelRefusedError(
            f"--deterministic cannot run {self._name}: its layers call torch's {func.__name__}, "
            "which depends on the batch; leave the flag out"
        )


def _depends_on_place(call: _Function, dtype: torch.dtype) -> bool:
    """Whether numbers at the end of a tensor come out differently."""
    generator = torch.Generator().manual_seed(_NUM_TRIED)
    numbers = (torch.randn(_NUM_TRIED, generator=generator) * 3).to(dtype)
    pieces = torch.cat([call(piece) for piece in torch.split(numbers, _PIECE)])
    return not torch.equal(call(numbers).nan_to_num(0.0), pieces.nan_to_num(0.0))


def _in_fixed_places(call: _Function, x: Tensor) -> Tensor:
    width = x.shape[-1] if x.dim() else 1
    rows = functional.pad(x.reshape(-1, width), (0, -width % _VECTOR)).contiguous()
    pieces = torch.split(rows, max(1, (_SHARE - 1) // rows.shape[1]))
    return torch.cat([call(piece) for piece in pieces])[:, :width].reshape(x.shape)
