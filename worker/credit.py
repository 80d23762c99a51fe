"""How much work a worker asks for.

Owns: the window of jobs a worker holds, counted in jobs and in estimated tokens. Must not know: the
queue, the engine. The window is larger than what runs at once, so that the engine always finds the
next request prepared, and small enough that other workers find work too.
"""

from dataclasses import dataclass

__all__ = ["Ask", "CreditWindow"]

_JOBS_PER_RUNNING = 2
_KV_SHARES = 4  # a cost is an upper bound (max_tokens); what requests really use is far less
_REFILL_SHARE = 8


@dataclass(frozen=True, slots=True)
class Ask:
    """The size of one TAKE: at most so many jobs of so many estimated tokens in all."""

    num_jobs: int
    cost_tokens: int


class CreditWindow:
    """Counts the jobs a worker holds against its window."""

    def __init__(self, *, max_num_seqs: int, kv_cache_tokens: int) -> None:
        self.max_jobs = max(_JOBS_PER_RUNNING * max_num_seqs, 1)
        self.max_cost_tokens = max(_KV_SHARES * kv_cache_tokens, 1)
        self._num_jobs = 0
        self._cost_tokens = 0

    def ask(self) -> Ask | None:
        """What to take now; None while the window is nearly full.

        A worker that holds nothing always asks, so a job dearer than the window still runs.
        """
        free_jobs = self.max_jobs - self._num_jobs
        free_tokens = self.max_cost_tokens - self._cost_tokens
        if not self._num_jobs:
            return Ask(free_jobs, free_tokens)
        if free_jobs < max(self.max_jobs // _REFILL_SHARE, 1) or free_tokens <= 0:
            return None
        return Ask(free_jobs, free_tokens)

    def ask_beyond(self, num_waiting: int) -> Ask | None:
        """What to take although the window is full, because clients wait for it: no more than a
        share of the window beyond it.
        """
        spare = self.max_jobs + max(self.max_jobs // _REFILL_SHARE, 1) - self._num_jobs
        num_jobs = min(num_waiting, spare)
        return Ask(num_jobs, self.max_cost_tokens) if num_jobs > 0 else None

    def hold(self, cost_tokens: int) -> None:
        """One job came in."""
        self._num_jobs += 1
        self._cost_tokens += cost_tokens

    def drop(self, cost_tokens: int) -> None:
        """One job ended or was given back."""
        self._num_jobs -= 1
        self._cost_tokens -= cost_tokens
        assert self._num_jobs >= 0
        assert self._cost_tokens >= 0
