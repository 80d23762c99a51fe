"""The vocabulary of the job queue: what goes in, what is leased out, what the scripts answer.

Owns: plain data types shared by the queue, the producers, the sinks and the worker. Must not know:
Redis commands, files, engines.
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "Backlog",
    "BatchSpec",
    "BatchState",
    "BatchStatus",
    "Commit",
    "CommitReply",
    "EnqueueReply",
    "Failure",
    "FinishedRow",
    "Lease",
    "LeaseLoss",
    "LostLease",
    "NewJob",
    "OutboxEntry",
    "Outcome",
    "OutcomeCounts",
    "Priority",
    "ReconcileReply",
    "ReconcileResult",
    "Release",
    "SweepReport",
]


class BatchState(StrEnum):
    """OpenAI's batch states; every move is a compare-and-set inside a script."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in (self.FAILED, self.COMPLETED, self.EXPIRED, self.CANCELLED)


class Outcome(StrEnum):
    """How a job ended; each is a counter of the batch."""

    OK = "ok"
    ERR = "err"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Priority(StrEnum):
    """Interactive work always comes first. The others are weights among the batches of a tenant,
    so that low waits longer but is never starved.
    """

    INTERACTIVE = "interactive"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class CommitReply(StrEnum):
    """OK and LAST: recorded (LAST completed its batch). DUP: a result for this idx was there
    already. GONE: the job is no longer pending (after a lost reply this means success).
    FENCED: somebody else holds the lease now. LATER: the job will run again (RETRY). Only OK and
    LAST made a row visible.
    """

    OK = "OK"
    LAST = "LAST"
    DUP = "DUP"
    GONE = "GONE"
    FENCED = "FENCED"
    LATER = "LATER"


class LeaseLoss(StrEnum):
    """Why RENEW says that a lease must be given up."""

    GONE = "gone"
    FENCED = "fenced"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSpec:
    """A batch as its producer announces it.

    `sink` says who empties the outbox: "client" (a waiting producer or `headrace results`),
    "redis" (nobody: rows stay, with an expiry), or the path or URL that maintenance writes to.
    `weight` is the batch's share within its tenant. Times are unix milliseconds.
    """

    batch_id: str
    tenant: str = "default"
    priority: str = "normal"
    weight: int = 1
    endpoint: str = "/v1/chat/completions"
    expires_at_ms: int | None = None
    sink: str = "client"
    metadata_json: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """A snapshot of one batch. `total` is None until the last line was enqueued;
    `num_enqueued` counts positions in the fan-out order, not line numbers. `is_cut_short`: it was
    over while its producer was away, so that `total` is what had been enqueued by then; until it is
    final, it takes the other lines when the producer is back. Times are unix milliseconds.
    """

    batch_id: str
    state: BatchState
    total: int | None
    num_enqueued: int
    num_ok: int
    num_err: int
    num_cancelled: int
    num_expired: int
    num_outbox: int
    tenant: str
    sink: str
    created_at_ms: int
    expires_at_ms: int | None
    metadata_json: str = ""
    is_cut_short: bool = False
    final_at_ms: int | None = None

    @property
    def num_finished(self) -> int:
        return self.num_ok + self.num_err + self.num_cancelled + self.num_expired


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """One line to compute. `body` is the request's JSON as UTF-8 bytes, `cost_tokens` an estimate
    of prompt + output tokens, `model` the served name that routes it.

    `ttl_ms`: the job expires so long after it was enqueued, by the clock of Redis; None: with its
    batch. Jobs of a batch with the same `answer_hash` have the same answer and share one
    computation; None: the job computes its own.
    """

    idx: int
    custom_id: str | None
    model: str
    url: str
    cost_tokens: int
    body: bytes
    ttl_ms: int | None = None
    answer_hash: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRow:
    """A line that needs no computing: refused by the validator, or known from an earlier run.
    `payload` is an encoded ResultRow.
    """

    idx: int
    custom_id: str | None
    outcome: Outcome
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueueReply:
    """`position` is where the fan-out stands: the producer goes on from there, whatever it sent.
    `accepted` False with `is_full` means: wait, then send the same chunk again. `state` is set
    when the batch takes no jobs at all.
    """

    accepted: bool
    position: int
    is_full: bool = False
    state: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Temporary ownership of a job: its `attempt`-th delivery to this consumer.

    `enqueued_ms` is the Redis time of ENQUEUE. `progress` holds what an earlier worker handed back
    (empty if nothing). `is_last_attempt`: the job runs alone, since it may be what kills workers.
    `attempt` counts starts; `fence` counts deliveries and tells this lease from any other.
    `answer_hash` is the job's.
    """

    batch_id: str
    model: str
    entry_id: str
    attempt: int
    idx: int
    custom_id: str | None
    url: str
    cost_tokens: int
    body: bytes
    enqueued_ms: int
    progress: bytes = b""
    is_last_attempt: bool = False
    fence: int = 0
    answer_hash: str | None = None

    @property
    def key(self) -> tuple[str, int]:
        """What names the job for ever: the batch and the line."""
        return (self.batch_id, self.idx)


@dataclass(frozen=True, slots=True, kw_only=True)
class LostLease:
    """A lease that RENEW found to be over, or that is to be ended as cancelled or expired."""

    lease: Lease
    loss: LeaseLoss


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """A recorded result waiting for its sink. `payload` is empty for cancelled and expired lines:
    the sink writes their row from `outcome`. `attempts_json` records earlier starts without a
    result; `deduped_from` is the line whose result `payload` is, if that is another one.
    """

    entry_id: str
    idx: int
    custom_id: str | None
    outcome: Outcome
    worker: str
    attempt: int
    payload: bytes
    attempts_json: str | None = None
    deduped_from: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """The end of a job: `payload` is an encoded ResultRow, empty for cancelled and expired."""

    lease: Lease
    outcome: Outcome
    payload: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A start that ended without a result, though the request is not at fault. `cause` is an error
    code, `message` a sentence, `payload` the row for the case that this was the last attempt.
    """

    lease: Lease
    cause: str
    message: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A lease that is given back unfinished, with what the next worker may continue from."""

    lease: Lease
    progress: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeCounts:
    """Rows by outcome, as counted from the files that hold them."""

    num_ok: int = 0
    num_err: int = 0
    num_cancelled: int = 0
    num_expired: int = 0


class ReconcileResult(StrEnum):
    """DONE: the batch is finalizing. REQUEUED: the missing lines are jobs again. BUSY: jobs or
    rows are still on their way. STATE: the batch is not running, or its fan-out is not over.
    """

    DONE = "DONE"
    REQUEUED = "REQUEUED"
    BUSY = "BUSY"
    STATE = "STATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileReply:
    """`count`: lines requeued, or jobs and rows that keep the batch busy."""

    result: ReconcileResult
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What a sweep found and did in one batch. `state` is None if there is no such batch, or none
    that can be read; `error` is why it could not be swept.
    """

    batch_id: str
    state: BatchState | None
    num_rows_made: int
    num_jobs_left: int
    num_outbox: int
    is_fanned_out: bool
    error: str | None = None

    @property
    def is_quiet(self) -> bool:
        """Nothing is queued or leased, and yet lines have no result."""
        is_running = self.state in (BatchState.IN_PROGRESS, BatchState.CANCELLING)
        return is_running and self.is_fanned_out and self.num_jobs_left == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Work for one model that is queued or leased: lag + pending. `num_tokens` is estimated."""

    num_jobs: int
    num_tokens: int
