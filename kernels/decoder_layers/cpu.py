"""The layers of a decoder on the CPU, compiled: `kernels/cpu/decoder.cpp`.

Owns: checking the layers once, the buffers between their products, handing both over. Threads are
woken once for all layers; nothing of Python runs between two ops. Layers that the library does not
serve are the reference's matter.
"""

import ctypes
from collections.abc import Sequence
from ctypes import c_double, c_int64, c_void_p

import torch
from torch import Tensor

from kernels.cpu_library import cpu_library
from kernels.decoder_layers import DecoderLayers, reference
from kernels.decoder_layers.layer import DecoderLayer, Norm, PanelProduct, StepTables
from kernels.float8 import FLOAT8
from kernels.kv_cache.cpu import WriteKVArguments, write_kv_arguments
from kernels.paged_attention.cpu import AttentionArguments, attention_arguments
from kernels.panel_linear.cpu import weight_type

__all__ = ["decoder_layers"]

_DATA_TYPES = {torch.float32: 0, torch.bfloat16: 1}
_BUFFERS = (
    *("normed", "qkv", "normed_heads", "heads", "mixed"),
    *("gate_up", "gated", "update", "wide", "wide_output"),
)


class _Product(ctypes.Structure):
    """Product in `kernels/cpu/decoder.h`."""

    _fields_ = (
        *((name, c_void_p) for name in ("panels", "scales", "bias")),
        *((name, c_int64) for name in ("num_inputs", "num_outputs", "weight_type")),
    )


class _Layer(ctypes.Structure):
    """DecoderLayer in `kernels/cpu/decoder.h`."""

    _fields_ = (
        *((name, _Product) for name in ("qkv", "output", "gate_up", "down")),
        *((name, c_void_p) for name in ("input_norm", "post_attention_norm")),
        *((name, c_void_p) for name in ("query_norm", "key_norm", "key_cache", "value_cache")),
        *((name, c_double) for name in ("input_eps", "post_attention_eps")),
        *((name, c_double) for name in ("query_eps", "key_eps", "scale")),
        ("sliding_window", c_int64),
    )


class _Arguments(ctypes.Structure):
    """DecoderArguments in `kernels/cpu/decoder.h`."""

    _fields_ = (
        *((name, c_void_p) for name in ("layers", "x", *_BUFFERS, "cos", "sin")),
        *((name, c_int64) for name in ("num_layers", "num_tokens", "width", "inner")),
        *((name, c_int64) for name in ("num_heads", "num_kv_heads", "head_dim", "rotary_dim")),
        *((name, c_int64) for name in ("angle_stride", "angle_type", "data_type")),
        *((name, c_int64) for name in ("norm_weight_type", "num_threads")),
        ("attention", AttentionArguments),
        ("write", WriteKVArguments),
    )


_library = cpu_library()
assert _library is not None, "this module is imported only where the library is"
_library.check_size("decoder_layer", _Layer)
_call = _library.function("decoder_layers", _Arguments)


class _CompiledLayers:
    is_compiled = True

    def __init__(self, layers: Sequence[DecoderLayer], num_heads: int) -> None:
        first = layers[0]
        self._layers = tuple(layers)  # the tensors that `_table` points into
        self._table = (_Layer * len(layers))(*(_described(layer) for layer in layers))
        self._num_heads = num_heads
        self._dtype = first.input_norm.weight.dtype
        _, _, self._num_kv_heads, self._head_dim = first.key_cache.shape
        self._width = first.qkv.weights.num_inputs
        self._inner = first.down.weights.num_inputs
        self._buffers: dict[str, Tensor] = {}
        self._num_rows = 0

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor, tables: StepTables) -> Tensor:
        num_tokens, first = len(x), self._layers[0]
        if num_tokens == 0:
            return torch.empty_like(x)
        self._reserve(num_tokens)
        if cos.stride(1) != 1 or sin.stride() != cos.stride():
            cos, sin = cos.contiguous(), sin.contiguous()
        heads = self._buffers["heads"].flatten()
        query_numbers = num_tokens * self._num_heads * self._head_dim
        query = heads[:query_numbers].view(num_tokens, self._num_heads, self._head_dim)
        key_numbers = num_tokens * self._num_kv_heads * self._head_dim
        key = heads[query_numbers : query_numbers + key_numbers]
        key = key.view(num_tokens, self._num_kv_heads, self._head_dim)
        value_from = (self._num_heads + self._num_kv_heads) * self._head_dim
        value = self._buffers["qkv"][:num_tokens, value_from:].view(key.shape)
        _call(
            _Arguments(
                ctypes.addressof(self._table),
                x.data_ptr(),
                *(self._buffers[name].data_ptr() for name in _BUFFERS),
                cos.data_ptr(),
                sin.data_ptr(),
                len(self._layers),
                num_tokens,
                self._width,
                self._inner,
                self._num_heads,
                self._num_kv_heads,
                self._head_dim,
                cos.shape[1],
                cos.stride(0),
                _DATA_TYPES[cos.dtype],
                _DATA_TYPES[self._dtype],
                _DATA_TYPES[self._dtype],
                torch.get_num_threads(),
                attention_arguments(
                    query,
                    first.key_cache,
                    first.value_cache,
                    self._buffers["mixed"],
                    tables.block_table,
                    tables.cu_seqlens_q,
                    tables.seq_lens,
                    None,
                    first.scale,
                    first.sliding_window,
                    None,
                ),
                write_kv_arguments(
                    key, value, first.key_cache, first.value_cache, tables.slot_mapping
                ),
            )
        )
        return self._buffers["update"][:num_tokens]

    def _reserve(self, num_tokens: int) -> None:
        """Have buffers for so many tokens: kept, since fresh pages cost more than what is written
        to them.
        """
        if num_tokens <= self._num_rows:
            return
        first = self._layers[0]
        qkv, gate_up = first.qkv.weights.num_outputs, first.gate_up.weights.num_outputs
        mixed = self._num_heads * self._head_dim
        heads = mixed + self._num_kv_heads * self._head_dim
        is_widened = self._dtype == torch.bfloat16 and not first.qkv.weights.in_tiles
        widths = {
            "normed": self._width,
            "qkv": qkv,
            "normed_heads": heads,
            "heads": heads,
            "mixed": mixed,
            "gate_up": gate_up,
            "gated": self._inner,
            "update": self._width,
        }
        self._buffers.clear()  # before their successors are there
        for name, width in widths.items():
            self._buffers[name] = torch.empty(num_tokens, width, dtype=self._dtype)
        inputs, outputs = max(self._width, mixed, self._inner), max(qkv, gate_up)
        for name, width in (("wide", inputs), ("wide_output", outputs)):
            self._buffers[name] = torch.empty(num_tokens if is_widened else 0, width)
        self._num_rows = num_tokens


def decoder_layers(layers: Sequence[DecoderLayer], *, num_heads: int) -> DecoderLayers:
    """See `kernels.decoder_layers.MakeDecoderLayers`."""
    if not layers or not all(_is_served(layer) for layer in layers) or not _are_alike(layers):
        return reference.decoder_layers(layers, num_heads=num_heads)
    return _CompiledLayers(layers, num_heads)


def _is_served(layer: DecoderLayer) -> bool:
    dtype = layer.input_norm.weight.dtype
    products = (layer.qkv, layer.output, layer.gate_up, layer.down)
    norms = (layer.input_norm, layer.post_attention_norm, layer.query_norm, layer.key_norm)
    weights = [norm.weight for norm in norms if norm is not None]
    return (
        dtype in _DATA_TYPES
        and all(w.dtype == dtype and w.is_contiguous() for w in weights)
        and layer.key_cache.shape == layer.value_cache.shape
        and layer.key_cache.dtype == layer.value_cache.dtype
        and layer.key_cache.dtype in (dtype, FLOAT8)
        and all(weight_type(p.weights, dtype) is not None for p in products)
        and len({p.weights.in_tiles for p in products}) == 1
    )


def _are_alike(layers: Sequence[DecoderLayer]) -> bool:
    """Whether they have one shape and caches of one layout, as the arguments say it once."""

    def form(layer: DecoderLayer) -> tuple[object, ...]:
        caches = (layer.key_cache, layer.value_cache)
        products = (layer.qkv, layer.output, layer.gate_up, layer.down)
        return (
            layer.input_norm.weight.dtype,
            *((cache.dtype, cache.shape, cache.stride()) for cache in caches),
            *((p.weights.num_inputs, p.weights.num_outputs, p.weights.in_tiles) for p in products),
        )

    return len({form(layer) for layer in layers}) == 1


def _described(layer: DecoderLayer) -> _Layer:
    dtype = layer.input_norm.weight.dtype
    query_norm, key_norm = layer.query_norm, layer.key_norm
    return _Layer(
        *(_product(p, dtype) for p in (layer.qkv, layer.output, layer.gate_up, layer.down)),
        layer.input_norm.weight.data_ptr(),
        layer.post_attention_norm.weight.data_ptr(),
        _address(query_norm),
        _address(key_norm),
        layer.key_cache.data_ptr(),
        layer.value_cache.data_ptr(),
        layer.input_norm.eps,
        layer.post_attention_norm.eps,
        0.0 if query_norm is None else query_norm.eps,
        0.0 if key_norm is None else key_norm.eps,
        layer.scale,
        layer.sliding_window or 0,
    )


def _product(product: PanelProduct, dtype: torch.dtype) -> _Product:
    weights, bias = product.weights, product.bias
    assert bias is None or (bias.dtype == torch.float32 and bias.is_contiguous())
    return _Product(
        weights.panels.data_ptr(),
        None if weights.scales is None else weights.scales.data_ptr(),
        None if bias is None else bias.data_ptr(),
        weights.num_inputs,
        weights.num_outputs,
        weight_type(weights, dtype),
    )


def _address(norm: Norm | None) -> int | None:
    return None if norm is None else norm.weight.data_ptr()
