"""The layers of a decoder, spelled out in the references of other ops. Owns: the reference."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.activation.reference import silu_mul
from kernels.decoder_layers import DecoderLayers
from kernels.decoder_layers.layer import DecoderLayer, Norm, PanelProduct, StepTables
from kernels.kv_cache.reference import write_kv
from kernels.paged_attention.reference import paged_attention
from kernels.panel_linear.reference import panel_linear
from kernels.rms_norm.reference import rms_norm
from kernels.rope.reference import rope

__all__ = ["decoder_layers"]


@dataclass(frozen=True, slots=True)
class _Layers:
    layers: tuple[DecoderLayer, ...]
    num_heads: int
    is_compiled: bool = False

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor, tables: StepTables) -> Tensor:
        update = None
        for layer in self.layers:
            update = self._compute(layer, x, update, cos, sin, tables)
        assert update is not None, "a decoder without layers"
        return update

    def _compute(
        self,
        layer: DecoderLayer,
        x: Tensor,
        update: Tensor | None,
        cos: Tensor,
        sin: Tensor,
        tables: StepTables,
    ) -> Tensor:
        first = _norm(x, layer.input_norm) if update is None else _norm(update, layer.input_norm, x)
        head_dim = layer.key_cache.shape[-1]
        heads = _multiply(first, layer.qkv).view(len(x), -1, head_dim)
        sizes = [self.num_heads, layer.key_cache.shape[2], layer.value_cache.shape[2]]
        query, key, value = torch.split(heads, sizes, dim=1)
        if layer.query_norm is not None:
            query = _norm(query, layer.query_norm)
        if layer.key_norm is not None:
            key = _norm(key, layer.key_norm)
        query, key = rope(query, key, cos, sin)
        write_kv(key, value, layer.key_cache, layer.value_cache, tables.slot_mapping)
        mixed = paged_attention(
            query,
            layer.key_cache,
            layer.value_cache,
            tables.block_table,
            tables.cu_seqlens_q,
            tables.seq_lens,
            scale=layer.scale,
            sliding_window=layer.sliding_window,
        )
        attended = _multiply(mixed.flatten(1), layer.output)
        second = _norm(attended, layer.post_attention_norm, x)
        gate, up = _multiply(second, layer.gate_up).chunk(2, -1)
        return _multiply(silu_mul(gate, up), layer.down)


def decoder_layers(layers: Sequence[DecoderLayer], *, num_heads: int) -> DecoderLayers:
    """See `kernels.decoder_layers.MakeDecoderLayers`."""
    return _Layers(tuple(layers), num_heads)


def _norm(x: Tensor, norm: Norm, residual: Tensor | None = None) -> Tensor:
    return rms_norm(x, norm.weight, norm.eps, residual)


def _multiply(x: Tensor, product: PanelProduct) -> Tensor:
    return panel_linear(x, product.weights, None, product.bias)
