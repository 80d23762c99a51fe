"""The queue's numbers.

Owns: defaults and their limits. Must not know: flags and environment variables.
"""

from dataclasses import dataclass

__all__ = ["QueueSettings"]

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """All processes of one namespace should agree on these.

    lease_ms: a job that is not renewed for so long is taken by another worker.
    max_attempts: starts of a job after which it is given up; after one that took its worker with it
        the last one runs alone.
    first_retry_ms, longest_retry_ms: the pause before a job that failed without being at fault runs
        again; it doubles from the one to the other.
    age_ms: what has had no turn for so long gets one before all others.
    burst, quantum_tokens: the turn of a batch, in jobs and in tokens, before the next one's.
    reap_every_ms: how often expired leases of a batch are looked for.
    max_depth, max_bytes: jobs and body bytes in the whole namespace; ENQUEUE replies FULL beyond.
    max_outbox: rows of one batch that wait for their sink; beyond it the batch gets no workers.
    producer_timeout_ms: silence after which the fan-out of a batch that is over counts as dead.
    retention_ms: how long a final batch and results with sink "redis" are kept.
    """

    lease_ms: int = 60_000
    max_attempts: int = 3
    first_retry_ms: int = 1_000
    longest_retry_ms: int = 60_000
    age_ms: int = 30_000
    burst: int = 32
    quantum_tokens: int = 16_384
    reap_every_ms: int = 5_000
    max_depth: int = 100_000
    max_bytes: int = 256 << 20
    max_outbox: int = 20_000
    producer_timeout_ms: int = 60_000
    retention_ms: int = 30 * 24 * _HOUR_MS

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
