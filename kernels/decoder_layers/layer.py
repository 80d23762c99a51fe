"""What the layers of a decoder are made of, and where the tokens of a step are.

Must not know: how they are computed.
"""

from dataclasses import dataclass

from torch import Tensor

from kernels.panel_linear.weight import PanelWeights

__all__ = ["DecoderLayer", "Norm", "PanelProduct", "StepTables"]


@dataclass(frozen=True, slots=True)
class Norm:
    """An RMS norm whose weight [D] is multiplied in the dtype of its input."""

    weight: Tensor
    eps: float


@dataclass(frozen=True, slots=True)
class PanelProduct:
    """A linear map of one group; bias [1, out] float32, or None."""

    weights: PanelWeights
    bias: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderLayer:
    """`qkv` yields query, key and value heads side by side, `gate_up` gate and up.

    key_cache, value_cache: [num_blocks, block_size, num_kv_heads, head_dim].
    """

    input_norm: Norm
    qkv: PanelProduct
    query_norm: Norm | None
    key_norm: Norm | None
    key_cache: Tensor
    value_cache: Tensor
    scale: float
    sliding_window: int | None
    output: PanelProduct
    post_attention_norm: Norm
    gate_up: PanelProduct
    down: PanelProduct


@dataclass(frozen=True, slots=True)
class StepTables:
    """Where the T tokens of R rows are: as the ops "paged_attention" and "write_kv" take it.

    block_table: [R, blocks] int32. cu_seqlens_q: [R + 1] int32. seq_lens: [R] int32.
    slot_mapping: [T] int64.
    """

    block_table: Tensor
    cu_seqlens_q: Tensor
    seq_lens: Tensor
    slot_mapping: Tensor
