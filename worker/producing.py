"""How a batch's lines become jobs, as its producer's flags say.

Owns: the way from flags to the producer's settings. Must not know: files, queues.
"""

from jobs.bodies import INLINE_BYTES, LARGEST_BYTES
from jobs.producers.classify import LineSettings
from jobs.producers.windows import ProducerSettings
from worker.options import BatchOptions

__all__ = ["producer_settings"]


def producer_settings(batch: BatchOptions, *, takes_large: bool = False) -> ProducerSettings:
    """The settings of a batch with these options; `takes_large`: there is a place for requests that
    are too large for the queue.
    """
    deadline_s = batch.job_deadline_seconds
    lines = LineSettings(
        job_ttl_ms=None if deadline_s is None else max(1, round(deadline_s * 1000)),
        shares_answers=batch.dedupe,
        ignores_unknown=batch.on_unknown_parameter == "ignore",
        max_body_bytes=LARGEST_BYTES if takes_large else INLINE_BYTES,
    )
    return ProducerSettings(lines=lines)
