"""All layers of a decoder as one call of the op "decoder_layers".

Owns: when that call stands for the layers, and what it is told of them. Must not know: how they are
computed, requests. A step of few tokens is over sooner than Python has called some ten ops for each
layer and each has woken its threads; the call does both once. It takes weights in panels, and
attention that keeps keys and values in a paged cache.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from engine.model.layer_parts import LayerParts, Product
from engine.model.panels import PanelLayer
from kernels.cpu_library import instruction_set
from kernels.decoder_layers import DecoderLayers
from kernels.decoder_layers.layer import DecoderLayer, PanelProduct, StepTables
from kernels.registry import resolve

__all__ = ["LayerProgram", "is_possible"]


class _PagedAttention(Protocol):
    """An attention function that can say where it stores what, and which step it serves."""

    step: StepTables | None

    def caches(self, module: nn.Module) -> tuple[Tensor, Tensor]: ...


class LayerProgram:
    """The layers made of `parts`; inference only."""

    def __init__(self, parts: Sequence[LayerParts], device: torch.device) -> None:
        self._parts = tuple(parts)
        self._make = resolve("decoder_layers", device)
        self._attend: object = None
        self._layers: DecoderLayers | None = None

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor | None:
        """x: [T, width], modified. cos, sin: [T, rotary_dim]. Returns [T, width], what is still to
        be added to x; None, and nothing was computed, where the call does not stand for the layers.
        """
        config = self._parts[0].attention.config
        attend: Any = ALL_ATTENTION_FUNCTIONS[config._attn_implementation]
        if attend is not self._attend:
            self._attend, self._layers = attend, self._made(attend)
        if self._layers is None:
            return None
        return self._layers(x, cos.to(x.dtype), sin.to(x.dtype), attend.step)

    def _made(self, attend: _PagedAttention) -> DecoderLayers | None:
        if not hasattr(attend, "caches") or not is_possible(self._parts):
            return None
        layers = [_described(parts, attend) for parts in self._parts]
        made = self._make(layers, num_heads=self._parts[0].num_heads)
        # Layer by layer, more is compiled than in the reference of the whole.
        return made if made.is_compiled else None


def is_possible(parts: Sequence[LayerParts]) -> bool:
    """Whether these layers can be computed by the call, and it is compiled."""
    return instruction_set() != "reference" and all(
        isinstance(product, PanelLayer) for each in parts for product in each.products or [None]
    )


def _described(parts: LayerParts, attend: _PagedAttention) -> DecoderLayer:
    assert parts.products is not None, "a mixture"
    qkv, output, gate_up, down = map(_product, parts.products)
    key_cache, value_cache = attend.caches(parts.attention)
    return DecoderLayer(
        input_norm=parts.input_norm,
        qkv=qkv,
        query_norm=parts.query_norm,
        key_norm=parts.key_norm,
        key_cache=key_cache,
        value_cache=value_cache,
        scale=parts.attention.scaling,
        sliding_window=parts.sliding_window,
        output=output,
        post_attention_norm=parts.post_attention_norm,
        gate_up=gate_up,
        down=down,
    )


def _product(product: Product) -> PanelProduct:
    assert isinstance(product, PanelLayer)
    return PanelProduct(product.panel_weights, product.bias)
