"""How much each batch still has in the queue, and which errors it has met.

Owns: reading those fields of batches. Must not know: limits, pages.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jobs.queue_client import QueueClient

__all__ = ["BatchLoad", "QueueLoads"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLoad:
    """Jobs that are queued or leased, their estimated tokens, and error rows by their code."""

    num_jobs: int = 0
    num_tokens: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)


class QueueLoads(QueueClient):
    """The batches of one namespace, looked at from outside."""

    async def of(self, batch_ids: Sequence[str]) -> list[BatchLoad]:
        """One load for each batch, in one round trip; empty for a batch that the queue does not
        know.
        """
        if not batch_ids:
            return []
        commands = [("HGETALL", self._keys.batch(batch_id)) for batch_id in batch_ids]
        return [_load(reply) for reply in await self._calls.pipeline(commands)]


def _load(fields: Mapping[bytes, bytes]) -> BatchLoad:
    jobs = tokens = 0
    errors: Counter[str] = Counter()
    for name, value in fields.items():
        kind, _, rest = name.partition(b":")
        if kind == b"jobs":
            jobs += int(value)
        elif kind == b"tokens":
            tokens += int(value)
        elif kind == b"code":
            errors[rest.decode()] += int(value)
    return BatchLoad(num_jobs=jobs, num_tokens=tokens, errors=+errors)  # no zeros
