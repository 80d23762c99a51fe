"""Rows for log probabilities: for tests and for the benchmark.

Owns: cases, inputs, tolerances. Ids and ranks are compared exactly. Must not know: implementations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.tolerance import Tolerance

__all__ = ["CASES", "TOLERANCE", "LogprobsCase", "LogprobsInputs"]

TOLERANCE = Tolerance(4e-6, 1e-6)
"""Against float64, whatever the dtype of the logits: the rounding of a sum over 2^18 tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogprobsInputs:
    """The arguments of one call, `Logprobs`'s."""

    logits: Tensor
    token_ids: Tensor
    num_top: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogprobsCase:
    """`scale`: standard deviation of the logits; with `step` they are whole multiples of it, so
    that many are equal; with `num_impossible` that many tokens of each row are at -inf.
    """

    name: str
    num_rows: int = 40
    vocab_size: int = 997
    num_top: int = 5
    scale: float = 3.0
    step: float | None = None
    num_impossible: int = 0

    def make_inputs(self, dtype: torch.dtype, device: str = "cpu", seed: int = 0) -> LogprobsInputs:
        """Random logits and tokens."""
        generator = torch.Generator().manual_seed(seed)
        shape = (self.num_rows, self.vocab_size)
        logits = torch.randn(shape, generator=generator) * self.scale
        if self.step is not None:
            logits = (logits / self.step).round() * self.step
        logits[:, : self.num_impossible] = float("-inf")
        token_ids = torch.randint(self.vocab_size, (self.num_rows,), generator=generator)
        return LogprobsInputs(
            logits=logits.to(dtype).to(device),
            token_ids=token_ids.to(device),
            num_top=self.num_top,
        )


CASES = (
    LogprobsCase(name="usual"),
    LogprobsCase(name="none", num_top=0),
    LogprobsCase(name="one_row", num_rows=1, num_top=1),
    LogprobsCase(name="no_row", num_rows=0),
    LogprobsCase(name="one_token", vocab_size=1, num_top=20),
    LogprobsCase(name="more_than_there_are", vocab_size=7, num_top=20),
    LogprobsCase(name="equal_logits", step=2.0, num_top=20),
    LogprobsCase(name="all_equal", scale=0.0, num_top=20),
    LogprobsCase(name="impossible", num_impossible=990, num_top=20),
    LogprobsCase(name="peaked", scale=30.0),
    LogprobsCase(name="many_rows", num_rows=131, vocab_size=61),
    LogprobsCase(name="large_vocabulary", num_rows=9, vocab_size=151_937, num_top=20, scale=0.5),
)
