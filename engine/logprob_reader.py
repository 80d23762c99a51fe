"""From the logits of a step to the log probabilities that its rows ask for.

Owns: which logits are kept for them before the sampler edits them, and sorting the numbers by
request. Must not know: requests, sampling parameters, text. Nothing is computed, copied or kept for
rows that do not ask, and nothing waits for the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.batch import StepInputs
from engine.device import copy_to_device
from engine.logprobs import LogprobRows
from engine.step import StepPlan
from kernels.registry import resolve
from kernels.sampling import TokenLogprobs

__all__ = ["KeptLogits", "LogprobReader", "LogprobsRead"]


@dataclass(frozen=True, slots=True)
class KeptLogits:
    """Unedited logits. sampled: [n, V], those of the S sampled tokens at `sampled_indices` [n].
    scored: [P, V], as in StepInputs.
    """

    sampled: Tensor
    sampled_indices: Tensor
    scored: Tensor


@dataclass(frozen=True, slots=True)
class LogprobsRead:
    """Rows by request, and the requests whose logits were not numbers."""

    rows: dict[str, LogprobRows]
    invalid_request_ids: frozenset[str]


class LogprobReader:
    """Reads log probabilities on one device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._logprobs = resolve("logprobs", device)

    def keep(self, plan: StepPlan, inputs: StepInputs, logits: Tensor) -> KeptLogits | None:
        """Put aside what `read` will need of `logits` [S + P, V]; None if no row asks."""
        if all(row.num_logprobs is None for row in plan.rows):
            return None
        asks = [row.num_logprobs is not None for row in plan.rows]
        indices = copy_to_device(
            np.flatnonzero(np.repeat(asks, inputs.sample_counts)), self._device
        )
        num_sampled = len(inputs.sample_rows)
        return KeptLogits(
            sampled=logits[:num_sampled].index_select(0, indices),
            sampled_indices=indices,
            scored=logits[num_sampled:],
        )

    def measure(
        self, inputs: StepInputs, kept: KeptLogits, sampled_token_ids: Tensor | None, num_top: int
    ) -> list[Tensor]:
        """What `read` takes, for the scored tokens and for what was sampled, [S]; None if nothing
        was. `num_top`: of how many likely tokens at most.
        """
        scored_ids = copy_to_device(inputs.scored_token_ids, self._device)
        if sampled_token_ids is None:
            sampled_ids = kept.sampled_indices
        else:
            sampled_ids = sampled_token_ids.index_select(0, kept.sampled_indices)
        return [
            *_fields(self._logprobs(kept.scored, scored_ids, num_top)),
            *_fields(self._logprobs(kept.sampled, sampled_ids, num_top)),
        ]

    def read(
        self, plan: StepPlan, inputs: StepInputs, arrays: Sequence[npt.NDArray[Any]]
    ) -> LogprobsRead:
        """Sort by request what was measured, on the host by now."""
        scored, sampled = _HostRows(*arrays[:5]), _HostRows(*arrays[5:])
        rows: dict[str, LogprobRows] = {}
        invalid = set()
        scored_ends = accumulate(inputs.scored_counts)
        sampled_end = 0
        for row, scored_end in zip(plan.rows, scored_ends, strict=True):
            if row.num_logprobs is None:
                continue
            num_scored, num_sampled = len(row.scored_positions), len(row.logit_positions)
            sampled_end += num_sampled
            parts = (
                (scored, slice(scored_end - num_scored, scored_end)),
                (sampled, slice(sampled_end - num_sampled, sampled_end)),
            )
            if not all(source.is_valid[part].all() for source, part in parts):
                invalid.add(row.request_id)
            elif num_scored or num_sampled:
                first = (row.scored_positions or row.logit_positions).start + 1
                rows[row.request_id] = _join(first, row.num_logprobs, parts)
        return LogprobsRead(rows, frozenset(invalid))


@dataclass(frozen=True, slots=True)
class _HostRows:
    """The kernel's answer as arrays."""

    logprobs: npt.NDArray[Any]
    ranks: npt.NDArray[Any]
    top_token_ids: npt.NDArray[Any]
    top_logprobs: npt.NDArray[Any]
    is_valid: npt.NDArray[Any]


def _fields(rows: TokenLogprobs) -> tuple[Tensor, ...]:
    return (rows.logprobs, rows.ranks, rows.top_token_ids, rows.top_logprobs, rows.is_valid)


def _join(
    first_token: int, num_top: int, parts: tuple[tuple[_HostRows, slice], ...]
) -> LogprobRows:
    return LogprobRows(
        first_token,
        np.concatenate([rows.logprobs[part] for rows, part in parts]),
        np.concatenate([rows.ranks[part] for rows, part in parts]),
        np.concatenate([rows.top_token_ids[part, :num_top] for rows, part in parts]),
        np.concatenate([rows.top_logprobs[part, :num_top] for rows, part in parts]),
    )
