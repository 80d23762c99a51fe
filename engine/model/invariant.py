"""Matrix products whose rows do not depend on how many rows there are.

Owns: the deterministic form of a loaded model's linear layers, and the proof, once at start-up,
that it holds here. Must not know: requests, attention, sampling (their kernels are invariant
anyway).

A library of matrix products chooses its algorithm by the shapes, so the same row gets other last
bits among 3 rows than among 300. Here products have only a few numbers of rows: what is missing is
filled up, what is more is cut. Which numbers give the same bits depends on processor, library,
dtype and threads, so it is measured for each shape of weight: the smallest number counts, and the
larger ones that agree with it are used because they are faster.
(He et al., "Defeating Nondeterminism in LLM Inference", 2025, describe the cause.)
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.errors import ModelRefusedError
from engine.model.decoder import FusedDecoderLayer
from engine.model.quantize import QuantizedLinear

__all__ = ["InvariantLinear", "InvariantProduct", "make_invariant"]

# The smallest number of rows: a decoding step of fewer pays for so many. With half as many, a long
# prompt would take twice the time where no larger number agrees.
_SMALLEST = 64
_LARGER = (128, 256, 512, 1024)
_LARGEST_PROBE = 1 << 25  # numbers in a product; a vocabulary is never asked for so many rows
_PROBE_SEED = 20


@dataclass(frozen=True, slots=True)
class _Key:
    """What the choice of an algorithm may depend on, besides the number of rows."""

    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    has_bias: bool


class InvariantProduct:
    """`functional.linear` with rows that do not depend on each other, bit by bit.

    Raises ModelRefusedError, with the flag's name, if even products of one size depend on the
    order of their rows.
    """

    def __init__(self) -> None:
        self._sizes: dict[_Key, tuple[int, ...]] = {}

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """x: [..., in], weight: [out, in], bias: [out] or None. Returns [..., out]."""
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        sizes = self.sizes(weight, bias)
        outputs: list[Tensor] = []
        start = 0
        while start < len(rows):
            size = next((s for s in sizes if s <= len(rows) - start), sizes[-1])
            piece = rows[start : start + size]
            outputs.append(functional.linear(_filled(piece, size), weight, bias)[: len(piece)])
            start += size
        if len(outputs) == 1:
            flat = outputs[0]
        else:
            flat = torch.cat(outputs) if outputs else functional.linear(rows, weight, bias)
        return flat.view(*x.shape[:-1], weight.shape[0])

    def sizes(self, weight: Tensor, bias: Tensor | None = None) -> tuple[int, ...]:
        """The numbers of rows that products with this weight have, largest first."""
        key = _Key(weight.shape, weight.stride(), weight.dtype, bias is not None)
        sizes = self._sizes.get(key)
        if sizes is None:
            sizes = self._sizes[key] = _agreeing_sizes(weight, bias)
        return sizes


class InvariantLinear(nn.Module):
    """Stands for an `nn.Linear`, whose weights it shares."""

    def __init__(self, linear: nn.Linear, product: InvariantProduct) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._product = product

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., in]. Returns [..., out]."""
        return self._product(x, self.weight, self.bias)


def make_invariant(model: Any, name: str) -> None:
    """Give all matrix products of `model` their deterministic form, in place.

    Layers with int8 weights have that form already, or are refused. Raises ModelRefusedError, with
    `name` for the model, for them, on a device where no such form exists, and if it multiplies
    matrices outside of linear layers.
    """
    weights = list(model.parameters())
    if any(weight.device.type != "cpu" for weight in weights):
        raise ModelRefusedError(
            f"--deterministic cannot run {name} on {weights[0].device.type}: only the CPU has "
            "matrix products that do not depend on the batch; use --device cpu or leave it out"
        )
    if any(isinstance(m, QuantizedLinear) and not m.is_invariant for m in model.modules()):
        raise ModelRefusedError(
            f"--deterministic cannot run {name} with --quantization int8 here: only the compiled "
            "CPU kernels have products with int8 weights that do not depend on the batch; install "
            "a C++ compiler and headrace again, or leave one of the two out"
        )
    product = InvariantProduct()
    known: set[int] = set()
    for module in list(model.modules()):
        if isinstance(module, FusedDecoderLayer):
            module.multiply_with(product)
        if isinstance(module, nn.Embedding):
            known.add(id(module.weight))
        for child_name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                setattr(module, child_name, InvariantLinear(child, product))
                known.add(id(child.weight))
    others = [
        parameter_name
        for parameter_name, parameter in model.named_parameters()
        if parameter.ndim > 1 and id(parameter) not in known
    ]
    if others:
        raise ModelRefusedError(
            f"--deterministic cannot run {name}: {type(model).__name__} multiplies matrices "
            f"outside of linear layers ({others[0]}), which depend on the batch; leave the flag out"
        )


def _filled(piece: Tensor, size: int) -> Tensor:
    missing = size - len(piece)
    return functional.pad(piece, (0, 0, 0, missing)) if missing else piece


def _agreeing_sizes(weight: Tensor, bias: Tensor | None) -> tuple[int, ...]:
    """The smallest number of rows and those larger ones that give each row the same bits."""
    generator = torch.Generator().manual_seed(_PROBE_SEED)
    larger = [size for size in _LARGER if size * len(weight) <= _LARGEST_PROBE]
    num_rows = max([_SMALLEST, *larger])
    largest = torch.randn(num_rows, weight.shape[1], generator=generator).to(weight.dtype)
    pieces = torch.split(largest, _SMALLEST)
    expected = torch.cat([functional.linear(piece, weight, bias) for piece in pieces])
    order = torch.randperm(_SMALLEST, generator=generator)
    shuffled = functional.linear(largest[:_SMALLEST][order], weight, bias)
    if not torch.equal(shuffled, expected[:_SMALLEST][order]):
        raise ModelRefusedError(
            "--deterministic cannot be kept here: this machine's matrix products depend on the "
            f"order of rows, for a weight of shape {tuple(weight.shape)}; leave the flag out"
        )
    agreeing = [
        size
        for size in larger
        if torch.equal(functional.linear(largest[:size], weight, bias), expected[:size])
    ]
    return (*reversed(agreeing), _SMALLEST)
