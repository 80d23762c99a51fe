"""What the scheduler tells the ranks to compute, and what they answer.

Owns: the two messages of a step. They hold ids and numbers only and pickle, because an executor
may send them to other processes. Must not know: requests, blocks' meaning, tensors.
"""

from dataclasses import dataclass, field

from engine.request import SamplingParams

__all__ = ["NewRequest", "PlanRow", "StepPlan", "StepResult"]


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
    """

    request_id: str
    num_computed_tokens: int
    num_new_tokens: int
    new_block_ids: tuple[tuple[int, ...], ...]
    logit_positions: range


@dataclass(frozen=True, slots=True)
class StepPlan:
    """One forward pass. Ranks first forget `dropped_request_ids`, then learn `new_requests`."""

    step_id: int
    rows: tuple[PlanRow, ...]
    new_requests: tuple[NewRequest, ...] = ()
    dropped_request_ids: tuple[str, ...] = ()

    @property
    def num_tokens(self) -> int:
        return sum(row.num_new_tokens for row in self.rows)


@dataclass(frozen=True, slots=True)
class StepResult:
    """Sampled tokens by request (rows without logit positions are absent), and requests that
    failed alone on the device (`errors`: request id to message), such as NaN logits.
    """

    step_id: int
    token_ids: dict[str, list[int]]
    errors: dict[str, str] = field(default_factory=dict)
