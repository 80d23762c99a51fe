"""What a layer of the Llama family is made of.

Owns: names for its parts. Must not know: which classes of transformers they come from, who computes
them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from kernels.decoder_layers.layer import Norm

__all__ = [
    "GatedMlp",
    "LayerParts",
    "Multiply",
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

    @property
    def products(self) -> tuple[Product, ...] | None:
        """All four, in the order of their turns; None where the last two are a mixture's."""
        if isinstance(self.mlp, SparseMlp):
            return None
        return (self.qkv, self.output, self.mlp.gate_up, self.mlp.down)
