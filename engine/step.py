"""What the scheduler tells the ranks to compute, and what they answer.

Owns: the two messages of a step. They hold ids and numbers only and pickle, because an executor
may send them to other processes. Must not know: requests, blocks' meaning, tensors.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from engine.logprobs import LogprobRows
from engine.request import SamplingParams

__all__ = ["NewRequest", "PlanRow", "StepPlan", "StepResult", "TokenMasks"]


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request a rank has not seen, or has forgotten since it was preempted.

    `token_ids` are prompt and output so far; penalties over the output start at
    `num_prompt_tokens`. `choice_index` keys the sampling noise together with the seed.
    """

    request_id: str
    token_ids: list[int]
    num_prompt_tokens: int
    choice_index: int
    sampling: SamplingParams


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One request's share of a step: the tokens at positions
    [num_computed_tokens, num_computed_tokens + num_new_tokens).

    `new_block_ids` has one tuple for each KV group, appended to the row's block tables.
    `logit_positions` are the token positions whose next token is to be sampled: empty while a
    prompt is being chunked, one position afterwards, several with draft tokens.
    `num_logprobs`: with how many of the likeliest tokens log probabilities are told; None: they are
    not. `scored_positions` are those before the sampled ones, without a gap, whose next token is
    known to the ranks and whose log probability is wanted.
    """

    request_id: str
    num_computed_tokens: int
    num_new_tokens: int
    new_block_ids: tuple[tuple[int, ...], ...]
    logit_positions: range
    num_logprobs: int | None = None
    scored_positions: range = range(0)


@dataclass(frozen=True, slots=True)
class TokenMasks:
    """Which tokens some of the sampled ones may be: `bits[i]` holds for number `rows[i]` of the
    plan's sampled tokens.

    rows: [n] int64. bits: [n, ceil(V / 32)] int32; bit t % 32 of word t // 32 stands for token t.
    """

    rows: npt.NDArray[np.int64]
    bits: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One forward pass. Ranks first forget `dropped_request_ids`, then learn `new_requests`."""

    step_id: int
    rows: tuple[PlanRow, ...]
    new_requests: tuple[NewRequest, ...] = ()
    dropped_request_ids: tuple[str, ...] = ()
    masks: TokenMasks | None = None

    @property
    def num_tokens(self) -> int:
        return sum(row.num_new_tokens for row in self.rows)


@dataclass(frozen=True, slots=True)
class StepResult:
    """Sampled tokens by request (rows without logit positions are absent), and requests that
    failed alone on the device (`errors`: request id to message), such as NaN logits. `logprobs`
    are of the scored and the sampled tokens, for rows that ask.
    """

    step_id: int
    token_ids: dict[str, list[int]]
    errors: dict[str, str] = field(default_factory=dict)
    logprobs: dict[str, LogprobRows] = field(default_factory=dict)
