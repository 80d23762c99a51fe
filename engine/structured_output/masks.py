"""The masks of one step.

Owns: which of a plan's sampled rows are constrained, and the array of their masks. Must not know:
grammars, devices. Masks are computed when a step is planned, on the engine's thread: there every
token before it is known (the scheduler sees to that).
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from engine.request import Request
from engine.step import StepPlan, TokenMasks

__all__ = ["with_masks"]


def with_masks(plan: StepPlan, find: Callable[[str], Request | None]) -> StepPlan:
    """The plan with the masks of its constrained rows; `find` knows the requests."""
    positions: list[int] = []
    masks: list[np.ndarray[tuple[int], np.dtype[np.int32]]] = []
    position = 0
    for row in plan.rows:
        request = find(row.request_id) if row.logit_positions else None
        if request is not None and request.constraint is not None:
            mask = np.empty(request.constraint.num_words, np.int32)
            if request.constraint.fill(mask, _banned(request)):
                positions.append(position)
                masks.append(mask)
        position += len(row.logit_positions)
    if not positions:
        return plan
    return replace(plan, masks=TokenMasks(np.array(positions, np.int64), np.stack(masks)))


def _banned(request: Request) -> tuple[int, ...]:
    """What the sampler bans besides: the ends of an answer before `min_tokens`."""
    is_early = request.num_output_tokens < request.sampling.min_tokens
    return request.sampling.banned_token_ids if is_early else ()
