"""How a batch's lines become jobs, as its producer's flags say.

Owns: the way from flags to the producer's settings. Must not know: files, queues.
"""

from jobs.producers.classify import LineSettings
from jobs.producers.jsonl import ProducerSettings
from worker.options import BatchOptions

__all__ = ["producer_settings"]


def producer_settings(batch: BatchOptions) -> ProducerSettings:
    """The settings of a batch with these options."""
    deadline_s = batch.job_deadline_seconds
    lines = LineSettings(
        job_ttl_ms=None if deadline_s is None else max(1, round(deadline_s * 1000)),
        shares_answers=batch.dedupe,
    )
    return ProducerSettings(lines=lines)
