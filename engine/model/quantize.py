"""Linear layers and experts with int8 weights in place of those that were loaded.

"int8" rounds weights alone, "w8a8_int8" the rows too that they are multiplied with.

Owns: which layers of a model take part, and that a layer's float weights are gone before the next
one's turn comes. Must not know: how weights are rounded or multiplied (`kernels/panel_linear`),
requests. It comes before the decoder is replaced, so that what a model is checked against at
start-up, transformers' own layers, has the same weights.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from engine.errors import ModelRefusedError
from engine.memory import format_bytes
from engine.model.experts import replace_experts
from engine.model.panels import W8A8_INT8, PanelLayer
from kernels.cpu_library import multiplies_int8
from kernels.panel_linear.int8 import quantize

__all__ = ["check_quantization", "quantize_linears"]

_log = logging.getLogger(__name__)

_METHODS = ("int8", W8A8_INT8)
# They choose experts: a small error there is another expert, and they are too small to matter.
_ROUTERS = frozenset({"gate", "router", "shared_expert_gate"})


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
    if method == W8A8_INT8 and not multiplies_int8():
        raise ModelRefusedError(
            f"cannot run {name} with --quantization {method}: that takes AVX-512 VNNI and the "
            "compiled CPU kernels; use --quantization int8"
        )


def quantize_linears(model: Any, name: str, method: str) -> int:
    """Give the linear layers and experts of `model` int8 weights, in place, routers excepted;
    embeddings and all else keep theirs. Returns by how many bytes its weights became smaller, which
    is negative if there are more: a LM head that shares the embedding's weights gets its own.

    Raises ModelRefusedError, with `name` for the model, if its decoder has no linear layer.
    """
    places = list(_places(model))
    if not any(place.is_in_decoder for place in places):
        others = _other_kinds(model)
        raise ModelRefusedError(
            f"cannot run {name} with --quantization {method}: the decoder of "
            f"{type(model).__name__} has no linear layers (its weights are in "
            f"{', '.join(others)}); leave it out"
        )
    rounds_rows = method == W8A8_INT8
    embeddings = {id(each.weight) for each in model.modules() if isinstance(each, nn.Embedding)}
    before = after = 0
    for place in places:
        linear = getattr(place.parent, place.name)
        before += 0 if id(linear.weight) in embeddings else linear.weight.nbytes
        quantized = PanelLayer(quantize(linear.weight, rounds_rows=rounds_rows), linear.bias)
        after += quantized.panel_weights.num_bytes
        setattr(place.parent, place.name, quantized)
    with_experts = _parameter_bytes(model)
    mixtures = replace_experts(model, quantization=method)
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
