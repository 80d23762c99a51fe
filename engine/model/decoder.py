"""The decoder of the Llama family, with merged projections and our ops between them.

Owns: what its layers compute, from hidden states to hidden states, and their order. Must not know:
which classes of transformers it stands for (`replace.py` does), paged attention. Norms, rotary
embedding and gated activation are the ops of `kernels/`; query, key and value come out of one
product, gate and up out of another, so a step of few tokens makes few and larger calls.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import MoeModelOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from engine.model.layer_parts import GatedMlp, LayerParts, Product, Projection, SparseMlp
from engine.model.layer_program import LayerProgram
from kernels.decoder_layers.layer import Norm
from kernels.registry import resolve

__all__ = ["FusedDecoder", "FusedDecoderLayer"]


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

    @property
    def parts(self) -> LayerParts:
        """What it computes now."""
        return self._parts

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
        self._device = device
        self._program: LayerProgram | None = None

    @property
    def parts(self) -> list[LayerParts]:
        """What its layers compute now."""
        return [layer.parts for layer in self.layers if isinstance(layer, FusedDecoderLayer)]

    def forward(
        self, input_ids: Tensor, position_ids: Tensor, **_: object
    ) -> MoeModelOutputWithPast:
        """input_ids, position_ids: [1, T] int64. Other arguments of base models have no effect."""
        x = self.embed_tokens(input_ids)
        cos, sin = self.rotary_emb(x, position_ids)
        x, cos, sin = x[0], cos[0], sin[0]
        if self._program is None:
            self._program = LayerProgram(self.parts, self._device)
        update = self._program(x, cos, sin)
        if update is None:
            for layer in self.layers:
                x = layer(x, cos, sin)
            normed = self._rms_norm(x, self._norm.weight, self._norm.eps)
        else:
            normed = self._rms_norm(update, self._norm.weight, self._norm.eps, x)
        # The class with the most fields: what mixtures look for has to be there, and is None.
        return MoeModelOutputWithPast(last_hidden_state=normed.unsqueeze(0))
