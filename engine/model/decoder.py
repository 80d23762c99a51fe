"""The decoder of the Llama family, with merged projections and our ops between them.

Owns: what its layers compute, from hidden states to hidden states, and their order. Must not know:
which classes of transformers it stands for (`replace.py` does), paged attention. Norms, rotary
embedding and gated activation are the ops of `kernels/`; query, key and value come out of one
product, gate and up out of another, so a step of few tokens makes few and larger calls.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_outputs import MoeModelOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from kernels.registry import resolve

__all__ = [
    "FusedDecoder",
    "FusedDecoderLayer",
    "GatedMlp",
    "LayerParts",
    "Multiply",
    "Norm",
    "Product",
    "Projection",
    "SparseMlp",
]

Multiply = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Projection:
    """A linear map: weight [out, in], bias [out] or None; `multiply` computes it."""

    weight: Tensor
    bias: Tensor | None = None
    multiply: Multiply = functional.linear

    def __call__(self, x: Tensor) -> Tensor:
        return self.multiply(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Norm:
    """An RMS norm whose weight [D] is multiplied in the dtype of its input."""

    weight: Tensor
    eps: float


@dataclass(frozen=True, slots=True)
class GatedMlp:
    """`gate_up` yields gate and up side by side."""

    gate_up: Product
    down: Product


class SparseMlp(nn.Module):
    """A mixture's block of transformers: router, experts and what else it has."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """x: [T, width]. Returns [T, width]."""
        output: Tensor = self.block(x.unsqueeze(0))
        return output[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerParts:
    """What a layer is made of. `qkv` yields query, key and value heads of `head_dim` side by side;
    a product is a `Projection`, or one whose weights are its own matter. `attention` is the module
    that attention functions know the layer by.
    """

    attention: Any
    num_heads: int
    num_kv_heads: int
    head_dim: int
    sliding_window: int | None
    qkv: Product
    output: Product
    mlp: GatedMlp | SparseMlp
    input_norm: Norm
    post_attention_norm: Norm
    query_norm: Norm | None = None
    key_norm: Norm | None = None


class FusedDecoderLayer(nn.Module):
    """Computes what the layer that `parts` were taken from computes; inference only."""

    def __init__(self, parts: LayerParts, device: torch.device) -> None:
        super().__init__()
        self.self_attn = parts.attention
        if isinstance(parts.mlp, SparseMlp):
            self.mlp = parts.mlp
        self._parts = parts
        self._rms_norm = resolve("rms_norm", device)
        self._rope = resolve("rope", device)
        self._silu_mul = resolve("silu_mul", device)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """x: [T, width], modified. cos, sin: [T, rotary_dim]. Returns [T, width]."""
        parts = self._parts
        normed = self._rms_norm(x, parts.input_norm.weight, parts.input_norm.eps)
        mixed = self._attend(normed, cos, sin)
        norm = parts.post_attention_norm
        normed = self._rms_norm(parts.output(mixed), norm.weight, norm.eps, x)
        if isinstance(parts.mlp, SparseMlp):
            return x.add_(parts.mlp(normed))
        gate, up = parts.mlp.gate_up(normed).chunk(2, -1)
        return x.add_(parts.mlp.down(self._silu_mul(gate, up)))

    def change_projections(self, change: Callable[[Projection], Product]) -> None:
        """Compute what `change` makes of each projection from now on; those of a mixture's block
        are not among them.
        """

        def changed(product: Product) -> Product:
            return change(product) if isinstance(product, Projection) else product

        parts, mlp = self._parts, self._parts.mlp
        if isinstance(mlp, GatedMlp):
            mlp = GatedMlp(changed(mlp.gate_up), changed(mlp.down))
        self._parts = replace(parts, qkv=changed(parts.qkv), output=changed(parts.output), mlp=mlp)

    def _attend(self, normed: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """The heads' outputs side by side, [T, num_heads * value_dim]."""
        parts = self._parts
        num_tokens = normed.shape[0]
        heads = parts.qkv(normed).view(num_tokens, -1, parts.head_dim)
        value_from = parts.num_heads + parts.num_kv_heads
        query, key = heads[:, : parts.num_heads], heads[:, parts.num_heads : value_from]
        value = heads[:, value_from:]
        if parts.query_norm is not None:
            query = self._rms_norm(query, parts.query_norm.weight, parts.query_norm.eps)
        if parts.key_norm is not None:
            key = self._rms_norm(key, parts.key_norm.weight, parts.key_norm.eps)
        query, key = self._rope(query, key, cos, sin)
        attend = ALL_ATTENTION_FUNCTIONS[self.self_attn.config._attn_implementation]
        mixed, _ = attend(
            self.self_attn,
            query.transpose(0, 1).unsqueeze(0),
            key.transpose(0, 1).unsqueeze(0),
            value.transpose(0, 1).unsqueeze(0),
            None,
            scaling=self.self_attn.scaling,
            sliding_window=parts.sliding_window,
        )
        flat: Tensor = mixed.reshape(num_tokens, -1)
        return flat


class FusedDecoder(nn.Module):
    """Stands for a base model of transformers: token ids to the last hidden states.

    It makes no masks and keeps no KV of its own, so an attention function that does both must be
    registered. `embed` and `rotate` are transformers' modules.
    """

    def __init__(
        self,
        *,
        embed: nn.Module,
        rotate: nn.Module,
        layers: Sequence[FusedDecoderLayer],
        norm: Norm,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.embed_tokens = embed
        self.rotary_emb = rotate
        self.layers = nn.ModuleList(layers)
        self._norm = norm
        self._rms_norm = resolve("rms_norm", device)

    def forward(
        self, input_ids: Tensor, position_ids: Tensor, **_: object
    ) -> MoeModelOutputWithPast:
        """input_ids, position_ids: [1, T] int64. Other arguments of base models have no effect."""
        x = self.embed_tokens(input_ids)
        cos, sin = self.rotary_emb(x, position_ids)
        x, cos, sin = x[0], cos[0], sin[0]
        for layer in self.layers:
            x = layer(x, cos, sin)
        normed = self._rms_norm(x, self._norm.weight, self._norm.eps)
        # The class with the most fields: what mixtures look for has to be there, and is None.
        return MoeModelOutputWithPast(last_hidden_state=normed.unsqueeze(0))
