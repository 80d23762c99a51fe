"""What is left of a step while it is being planned.

Owns: the two bounds of a step, and which positions of a request are scored in it. Must not know:
blocks, order, devices. Tokens are what a step computes; scored positions are those whose logits are
wanted besides those that are sampled from. A vocabulary is wide, so a long prompt's logits would
not fit into memory: a prompt that is scored is computed in chunks of its own.
"""

from dataclasses import dataclass

from engine.request import Request

__all__ = ["StepBudget", "has_unscored_tokens", "scored_positions"]


@dataclass(slots=True)
class StepBudget:
    """Tokens to compute and positions to score, each as far as not given away yet."""

    num_tokens: int
    num_scored: int

    def can_begin(self, request: Request) -> bool:
        """Whether a waiting request could get at least one token of it."""
        return self.num_tokens > 0 and (self.num_scored > 0 or not has_unscored_tokens(request))

    def fit(self, request: Request, num_tokens: int) -> int:
        """How many of the request's next `num_tokens` tokens may be computed."""
        num_tokens = min(num_tokens, self.num_tokens)
        scored = scored_positions(request, request.num_computed_tokens + num_tokens)
        if len(scored) > self.num_scored:
            num_tokens = scored.start + self.num_scored - request.num_computed_tokens
        return num_tokens

    def spend(self, num_tokens: int, num_scored: int) -> None:
        """Give them away."""
        self.num_tokens -= num_tokens
        self.num_scored -= num_scored


def scored_positions(request: Request, end: int) -> range:
    """The positions below `end`, of those not computed yet, whose following token is known already
    and whose log probability is wanted.
    """
    if request.logprobs is None:
        return range(0)
    start = max(request.num_computed_tokens, request.logprobs.next_token - 1)
    return range(start, max(start, min(end, request.num_tokens - 1)))


def has_unscored_tokens(request: Request) -> bool:
    """Whether known tokens lack a log probability that is wanted."""
    return request.logprobs is not None and request.logprobs.next_token < request.num_tokens
