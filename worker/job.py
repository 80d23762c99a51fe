"""A job in the hands of this worker.

Owns: what is known about one leased job between TAKE and its end. Must not know: how it is run. One
object for each delivery; the loop, the runner and the lease keeper share it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.request import Request
from jobs.queue import Lease, LeaseLoss
from schemas.chat import ChatCompletionRequest
from schemas.completions import CompletionRequest
from schemas.result import ResultRow

__all__ = ["CompletionPrompt", "HeldJob", "PreparedCompletion", "PreparedJob"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedJob:
    """A parsed request and the engine requests that answer it, choice 0 first.

    Requests that an earlier worker had finished are FINISHED already and must not run again.
    """

    chat: ChatCompletionRequest
    requests: Sequence[Request]
    request_hash: str


@dataclass(frozen=True, slots=True)
class CompletionPrompt:
    """One prompt of a text completion: as text, for echoing it, and as tokens."""

    text: str
    token_ids: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedCompletion:
    """The same for a text completion: choice k of prompt p is request p * n + k."""

    completion: CompletionRequest
    prompts: Sequence[CompletionPrompt]
    requests: Sequence[Request]
    request_hash: str


@dataclass(slots=True, kw_only=True, eq=False)
class HeldJob:
    """One delivery. `leased_s` is `time.monotonic()`, `queue_s` how long the job had waited.

    `prepared` or `refusal` is set once the job is translated; `is_started` when the engine may see
    it; `loss` when the lease is over; `is_given_back` when the worker stops before its end;
    `is_beside` while it waits for a grammar and does not count in the window.
    """

    lease: Lease
    leased_s: float
    queue_s: float
    tenant: str = "default"
    prepared: PreparedJob | PreparedCompletion | None = None
    refusal: ResultRow | None = None
    is_started: bool = False
    loss: LeaseLoss | None = None
    is_given_back: bool = False
    progress: bytes = b""
    is_beside: bool = False

    @property
    def key(self) -> tuple[str, int, int]:
        """Names this delivery of the job."""
        return (*self.lease.key, self.lease.fence)

    @property
    def is_translated(self) -> bool:
        """Whether it is known what becomes of the job."""
        return self.prepared is not None or self.refusal is not None

    @property
    def request_ids(self) -> list[str]:
        """The engine requests that may be running for this job."""
        return [request.request_id for request in self.prepared.requests] if self.prepared else []
