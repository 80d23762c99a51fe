"""Linear layers and experts with int8 weights in place of those that were loaded.

Owns: which layers of a model take part, and that a layer's float weights are gone before the next
one's turn comes. Must not know: how weights are rounded or multiplied (`kernels/int8_linear`),
requests. It comes before the decoder is replaced, so that what a model is checked against at
start-up, transformers' own layers, has the same weights.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import ModelRefusedError
from engine.memory import format_bytes
from engine.model.experts import replace_experts
from kernels.int8_linear import reference
from kernels.int8_linear.weight import Int8Weight, merge, quantize
from kernels.registry import resolve

__all__ = ["QuantizedLinear", "check_quantization", "merge_linears", "quantize_linears"]

_log = logging.getLogger(__name__)

_METHODS = ("int8",)
# They choose experts: a small error there is another expert, and they are too small to matter.
_ROUTERS = frozenset({"gate", "router", "shared_expert_gate"})


class QuantizedLinear(nn.Module):
    """A linear layer with int8 weights [out, in] and a bias [out] in float32, or None."""

    def __init__(self, weight: Int8Weight, bias: Tensor | None) -> None:
        super().__init__()
        self.int8_weight = weight
        self.bias = None if bias is None else bias.float()
        self._multiply = resolve("int8_linear", weight.panels.device)

    @property
    def is_invariant(self) -> bool:
        """Whether a row has the same bits among any number of rows."""
        return self._multiply is not reference.int8_linear

    def forward(self, x: Tensor) -> Tensor:
        """x: [..., in]. Returns [..., out] in its dtype."""
        return self._multiply(x, self.int8_weight, self.bias)


@dataclass(frozen=True, slots=True)
class _Place:
    """A linear layer in its parent, which lies inside of the decoder or above it."""

    parent: nn.Module
    name: str
    is_in_decoder: bool


def check_quantization(method: str | None, device: torch.device, name: str) -> None:
    """Raises ModelRefusedError, with `name` for the model, if weights cannot be quantized so."""
    if method is None:
        return
    if method not in _METHODS:
        raise ModelRefusedError(
            f"cannot run {name}: --quantization {method!r} is not known; use "
            f"{' or '.join(_METHODS)}, or leave it out"
        )
    if device.type != "cpu":
        raise ModelRefusedError(
            f"cannot run {name} with --quantization {method} on {device.type}: only the CPU has "
            "products with such weights; use --device cpu or leave it out"
        )


def quantize_linears(model: Any, name: str) -> int:
    """Give the linear layers and experts of `model` int8 weights, in place, routers excepted;
    embeddings and all else keep theirs. Returns by how many bytes its weights became smaller, which
    is negative if there are more: a LM head that shares the embedding's weights gets its own.

    Raises ModelRefusedError, with `name` for the model, if its decoder has no linear layer.
    """
    places = list(_places(model))
    if not any(place.is_in_decoder for place in places):
        others = _other_kinds(model)
        raise ModelRefusedError(
            f"cannot run {name} with --quantization int8: the decoder of {type(model).__name__} "
            f"has no linear layers (its weights are in {', '.join(others)}); leave it out"
        )
    embeddings = {id(each.weight) for each in model.modules() if isinstance(each, nn.Embedding)}
    before = after = 0
    for place in places:
        linear = getattr(place.parent, place.name)
        before += 0 if id(linear.weight) in embeddings else linear.weight.nbytes
        quantized = QuantizedLinear(quantize(linear.weight), linear.bias)
        after += quantized.int8_weight.num_bytes
        setattr(place.parent, place.name, quantized)
    with_experts = _parameter_bytes(model)
    mixtures = replace_experts(model, is_int8=True)
    before += with_experts - _parameter_bytes(model)
    after += sum(experts.num_bytes for experts in mixtures)
    num_experts = sum(experts.num_experts for experts in mixtures)
    others = _other_kinds(model)
    _log.info(
        "%s: %d linear layers%s have int8 weights, %s instead of %s%s",
        *(name, len(places), f" and {num_experts} experts" if num_experts else ""),
        *(format_bytes(after), format_bytes(before)),
        f"; as they were: {', '.join(others)}" if others else "",
    )
    return before - after


def _parameter_bytes(model: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in model.parameters())


def merge_linears(linears: Sequence[QuantizedLinear]) -> QuantizedLinear:
    """Several layers of one input as one, outputs in that order; a missing bias counts as zero."""
    weight = merge([linear.int8_weight for linear in linears])
    if all(linear.bias is None for linear in linears):
        return QuantizedLinear(weight, None)
    biases = [
        torch.zeros_like(linear.int8_weight.scales) if linear.bias is None else linear.bias
        for linear in linears
    ]
    return QuantizedLinear(weight, torch.cat(biases))


def _places(model: Any) -> Iterator[_Place]:
    inside = set(getattr(model, model.base_model_prefix).modules())
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear) and name not in _ROUTERS:
                yield _Place(parent, name, child in inside)


def _other_kinds(model: nn.Module) -> list[str]:
    """The kinds of modules, embeddings excepted, whose matrices stay as they are."""
    kinds = {
        "routers" if name.rpartition(".")[2] in _ROUTERS else type(module).__name__
        for name, module in model.named_modules()
        if any(parameter.ndim > 1 for parameter in module.parameters(recurse=False))
        and not isinstance(module, nn.Embedding)
    }
    return sorted(kinds - {nn.Linear.__name__})
