"""The layers of a decoder of the Llama family in one call: the contract of the op "decoder_layers".

Must not know: models, where weights come from. `layer.py` has what a layer is made of.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from kernels.cpu_library import register_compiled
from kernels.decoder_layers.layer import DecoderLayer, StepTables

__all__ = ["DecoderLayers", "MakeDecoderLayers"]


class DecoderLayers(Protocol):
    """Layers, ready to compute steps. `is_compiled`: not by the reference."""

    @property
    def is_compiled(self) -> bool: ...

    def __call__(self, x: Tensor, cos: Tensor, sin: Tensor, tables: StepTables) -> Tensor:
        """What each layer computes of what the one before it left: attention over all that is
        stored of each row, after the keys and values of these tokens are, then the gated products.

        x: [T, width], modified: hidden states. cos, sin: [T, rotary_dim], in the dtype of x or in
        float32. Returns [T, width], what is still to be added to x; it is only good until the next
        call. Rounded wherever the ops of the same names round. Raises IndexError if a row or slot
        leaves the cache; x and the cache are then undefined.
        """
        ...


class MakeDecoderLayers(Protocol):
    """The callable of the op "decoder_layers"."""

    def __call__(self, layers: Sequence[DecoderLayer], *, num_heads: int) -> DecoderLayers:
        """Layers of one shape, with `num_heads` query heads; their tensors stay where they are."""
        ...


register_compiled("decoder_layers", "kernels.decoder_layers.cpu")
