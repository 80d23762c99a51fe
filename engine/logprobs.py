"""Log probabilities of a request's tokens, as they come in.

Owns: the rows a step brings and the record a request keeps of them. Must not know: devices, text,
why somebody wants them. Numbers are natural logarithms of the model's own distribution: before
biases, bans, penalties and temperature, as in vLLM.

A record begins at some token of prompt + output and has no gaps, so what is still missing is always
"everything from `next_token` on". Preemption and resuming need nothing more: tokens that are known
but not in the record are scored when their positions are computed (again).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["LogprobRecord", "LogprobRows"]


@dataclass(frozen=True, slots=True, eq=False)
class LogprobRows:
    """N consecutive tokens of one request, the first at index `first_token` of prompt + output.

    logprobs: [N] float32. ranks: [N] int64, 1 for the likeliest. top_token_ids: [N, K] int64, best
    first. top_logprobs: [N, K] float32.
    """

    first_token: int
    logprobs: npt.NDArray[np.float32]
    ranks: npt.NDArray[np.int64]
    top_token_ids: npt.NDArray[np.int64]
    top_logprobs: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.logprobs)

    @property
    def num_top(self) -> int:
        return int(self.top_token_ids.shape[1])

    def part(self, start: int, stop: int) -> "LogprobRows":
        """The rows of the tokens at indices [start, stop) of prompt + output, as far as they are
        here.
        """
        first = max(start, self.first_token)
        chosen = slice(first - self.first_token, max(0, stop - self.first_token))
        return LogprobRows(
            first,
            self.logprobs[chosen],
            self.ranks[chosen],
            self.top_token_ids[chosen],
            self.top_logprobs[chosen],
        )

    def copy(self, num_top: int) -> "LogprobRows":
        """The same with the `num_top` likeliest tokens only, in memory of its own."""
        return LogprobRows(
            self.first_token,
            self.logprobs.copy(),
            self.ranks.copy(),
            self.top_token_ids[:, :num_top].copy(),
            self.top_logprobs[:, :num_top].copy(),
        )


class LogprobRecord:
    """What one request wants and has: every token from index `first_token` of prompt + output on,
    each with the `num_top` likeliest ones.

    The first token of a prompt follows nothing and has no probability. Raises ValueError for it.
    """

    def __init__(self, *, first_token: int, num_top: int) -> None:
        if first_token < 1:
            raise ValueError("the first token of a prompt has no log probability")
        self.first_token = first_token
        self.num_top = num_top
        self._parts: list[LogprobRows] = []
        self._next_token = first_token

    @property
    def next_token(self) -> int:
        """The first token that is not recorded yet; the logits of the position before it are
        wanted next.
        """
        return self._next_token

    def extend(self, rows: LogprobRows) -> None:
        """Take what a step brought. Tokens that are recorded already are left as they are: a
        request that was preempted may be told of a token twice.
        """
        stop = rows.first_token + len(rows)
        if stop <= self._next_token:
            return
        assert rows.first_token <= self._next_token, "log probabilities of some tokens are missing"
        self._parts.append(rows.part(self._next_token, stop))
        self._next_token = stop

    def rows(self) -> LogprobRows:
        """All that is recorded, in one piece."""
        if len(self._parts) != 1:
            self._parts = [_join(self._parts, self.first_token, self.num_top)]
        return self._parts[0]


def _join(parts: list[LogprobRows], first_token: int, num_top: int) -> LogprobRows:
    if not parts:
        return LogprobRows(
            first_token,
            np.zeros(0, np.float32),
            np.zeros(0, np.int64),
            np.zeros((0, num_top), np.int64),
            np.zeros((0, num_top), np.float32),
        )
    return LogprobRows(
        first_token,
        np.concatenate([part.logprobs for part in parts]),
        np.concatenate([part.ranks for part in parts]),
        np.concatenate([part.top_token_ids for part in parts]),
        np.concatenate([part.top_logprobs for part in parts]),
    )
