"""A request: one prompt, one continuation.

Owns: what is asked for, what has been computed, how it ended. Must not know: jobs, chat messages,
text (other than through a `StopMatcher`), devices. A chat request with n > 1 becomes n requests
that share prompt blocks (`fork_of`). Giving `output_token_ids` up front resumes a request:
preemption, hand-over to another worker and failover all use that one path.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from engine.logprobs import LogprobRecord

__all__ = [
    "FinishReason",
    "Request",
    "RequestStatus",
    "SamplingParams",
    "StopMatcher",
    "StopRules",
    "TokenConstraint",
]


class FinishReason(StrEnum):
    """Why a request ended. STOP and LENGTH are OpenAI's; the others never reach a 200 row."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"
    ERROR = "error"


class RequestStatus(StrEnum):
    """Where a request is: not admitted, in the running set, given up for memory, ended."""

    WAITING = "waiting"
    RUNNING = "running"
    PREEMPTED = "preempted"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the next token is drawn; everything the device needs, nothing else.

    temperature 0 is greedy. top_k 0, top_p 1, min_p 0, repetition_penalty 1 switch those steps
    off. `seed` is resolved before the engine sees it (never None). `min_tokens` bans
    `banned_token_ids` (EOS and stop ids) until that many tokens are out. `logit_bias` maps token
    id to an additive bias.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    min_tokens: int = 0
    banned_token_ids: tuple[int, ...] = ()
    seed: int = 0


class StopMatcher(Protocol):
    """Finds stop strings in the text of a request, token by token."""

    def append(self, token_id: int) -> bool:
        """Take one more output token; True when a stop string is complete."""
        ...

    @property
    def text(self) -> str:
        """The text so far, cut before the stop string unless it was asked to be kept."""
        ...

    @property
    def stop_string(self) -> str | None:
        """The stop string that matched, None before one did."""
        ...


class TokenConstraint(Protocol):
    """Which tokens may come next, as far as the output goes that it was given."""

    @property
    def error(self) -> str | None:
        """Why nothing can come next any more; the request then fails alone."""
        ...

    @property
    def num_words(self) -> int:
        """How many words a mask has, of 32 tokens each."""
        ...

    def append(self, token_id: int) -> bool:
        """Take one more output token; True when the output is complete: nothing may follow."""
        ...

    def fill(self, row: npt.NDArray[np.int32], banned: Collection[int]) -> bool:
        """Write the mask of the next token, a bit for each token of the vocabulary, without the
        `banned` ones. False: any token may come, and `row` is not to be used.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRules:
    """When a request ends. `eos_token_ids` are the model's; `ignore_eos` disables only those.

    With `max_tokens` 0 nothing is sampled: the request ends when its prompt is scored.
    """

    max_tokens: int
    min_tokens: int = 0
    eos_token_ids: frozenset[int] = frozenset()
    stop_token_ids: frozenset[int] = frozenset()
    ignore_eos: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Request:
    """One prompt and its continuation.

    Written by the caller: the first group. Written by the scheduler only: the second. The caller
    must not touch a request between handing it in and getting it back finished.
    Times are `time.monotonic()` seconds.
    """

    request_id: str
    prompt_token_ids: Sequence[int]
    sampling: SamplingParams
    stop: StopRules
    output_token_ids: list[int] = field(default_factory=list)
    stop_matcher: StopMatcher | None = None
    constraint: TokenConstraint | None = None  # stands where the output stands
    logprobs: LogprobRecord | None = None  # asks for log probabilities; the scheduler fills it
    choice_index: int = 0
    fork_of: str | None = None
    cache_salt: str = ""
    adapter: str = ""
    priority: int = 0
    arrival_s: float = 0.0

    status: RequestStatus = RequestStatus.WAITING
    num_computed_tokens: int = 0
    num_pending_tokens: int = 0  # tokens sampled on the device, not yet known here
    num_cached_tokens: int | None = None  # prompt tokens found in the prefix cache at admission
    num_preemptions: int = 0
    first_scheduled_s: float | None = None
    first_token_s: float | None = None
    finished_s: float | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None  # the stop token id or stop string, None for EOS
    error: str | None = None
    is_refused: bool = False  # the error is the request's own fault, not the engine's

    @property
    def num_prompt_tokens(self) -> int:
        return len(self.prompt_token_ids)

    @property
    def num_output_tokens(self) -> int:
        return len(self.output_token_ids)

    @property
    def num_tokens(self) -> int:
        """Tokens known so far: prompt and output."""
        return len(self.prompt_token_ids) + len(self.output_token_ids)

    @property
    def is_finished(self) -> bool:
        return self.status is RequestStatus.FINISHED

    @property
    def ends_with_stop_token(self) -> bool:
        """Whether the last token only ended the output: an EOS or stop token, not content."""
        if self.finish_reason is not FinishReason.STOP or not self.output_token_ids:
            return False
        ends = self.stop.stop_token_ids
        if not self.stop.ignore_eos:
            ends = ends | self.stop.eos_token_ids
        return self.output_token_ids[-1] in ends

    def token_ids(self, start: int, stop: int) -> list[int]:
        """The tokens at positions [start, stop) of prompt + output."""
        num_prompt = len(self.prompt_token_ids)
        if stop <= num_prompt:
            return list(self.prompt_token_ids[start:stop])
        if start >= num_prompt:
            return self.output_token_ids[start - num_prompt : stop - num_prompt]
        return [*self.prompt_token_ids[start:], *self.output_token_ids[: stop - num_prompt]]
