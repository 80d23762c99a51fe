"""What a forward pass takes, on the device.

Owns: which of a step's arrays the model needs, and their order when they travel together. Must not
know: models, requests, sampling.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from engine.batch import StepInputs
from kernels.decoder_layers.layer import StepTables

__all__ = ["ForwardInputs", "forward_arrays"]


@dataclass(frozen=True, slots=True)
class ForwardInputs:
    """T tokens of a step, and which of their logits are wanted.

    input_ids, positions: [T] int64. logit_indices: [S + P] int64.
    """

    input_ids: Tensor
    positions: Tensor
    logit_indices: Tensor
    attention: StepTables

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> "ForwardInputs":
        """From the tensors of `forward_arrays`, in its order."""
        input_ids, positions, logit_indices, slot_mapping, cu_seqlens_q, seq_lens, table = tensors
        attention = StepTables(
            block_table=table,
            cu_seqlens_q=cu_seqlens_q,
            seq_lens=seq_lens,
            slot_mapping=slot_mapping,
        )
        return cls(input_ids, positions, logit_indices, attention)


def forward_arrays(inputs: StepInputs) -> list[npt.NDArray[np.integer[Any]]]:
    """The arrays of a step that the forward pass takes."""
    return [
        inputs.input_ids,
        inputs.positions,
        inputs.logit_indices,
        inputs.slot_mapping,
        inputs.cu_seqlens_q,
        inputs.seq_lens,
        inputs.block_table,
    ]
