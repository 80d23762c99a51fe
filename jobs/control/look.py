"""What is left to do, found out from the state of things alone.

Owns: which step a batch needs now. Must not know: who does it. Whatever was forgotten, lost or
killed is found again by the next look; nothing depends on a message that arrives.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic, time

from jobs.control.context import Control
from jobs.control.steps import StepKind, lock_name
from jobs.queue import BatchState, BatchStatus
from jobs.records.batches import BatchRecord

__all__ = ["Look", "Needed"]

_RUNNING = (BatchState.IN_PROGRESS, BatchState.CANCELLING)
_OVER_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Needed:
    """A step that a batch needs."""

    kind: StepKind
    batch_id: str


@dataclass(slots=True)
class Look:
    """Looks again and again. Remembers since when rows have waited, so that few of them wait for
    more to come.
    """

    control: Control
    waiting_since_s: dict[str, float] = field(default_factory=dict)

    async def steps(self) -> list[Needed]:
        """What all open batches need that nobody is doing."""
        control = self.control
        ids = await control.batches.open_ids()
        control.metrics.batches_open.set(len(ids))
        self._forget_all_but(set(ids))
        if not ids:
            return []
        records = await control.batches.load(ids)
        statuses = await control.queue.statuses(ids)
        wanted = [
            needed
            for batch_id, record, status in zip(ids, records, statuses, strict=True)
            for needed in self._steps_of(batch_id, record, status)
        ]
        return await self._not_under_way(wanted)

    def _forget_all_but(self, open_ids: set[str]) -> None:
        """Other processes end batches too."""
        for gone in self.waiting_since_s.keys() - open_ids:
            del self.waiting_since_s[gone]
        for gone in self.control.stores.keys() - open_ids:
            del self.control.stores[gone]

    async def _not_under_way(self, wanted: Sequence[Needed]) -> list[Needed]:
        names = [lock_name(needed.kind, needed.batch_id) for needed in wanted]
        held = await self.control.batches.held(names)
        return [needed for needed, name in zip(wanted, names, strict=True) if name not in held]

    def _steps_of(
        self, batch_id: str, record: BatchRecord | None, status: BatchStatus | None
    ) -> list[Needed]:
        if record is None or record.status.is_final:
            return [Needed(StepKind.COLLECT, batch_id)]
        if record.store_id not in (None, self.control.workspace.store_id):
            return []  # another control plane's
        if status is None:
            return [Needed(StepKind.FEED, batch_id)]
        steps: list[Needed] = []
        is_fed = status.total is not None or status.state not in _RUNNING
        if not is_fed or record.status is BatchState.VALIDATING:
            steps.append(Needed(StepKind.FEED, batch_id))
        if self._is_to_be_collected(record, status):
            steps.append(Needed(StepKind.COLLECT, batch_id))
        return steps

    def _is_to_be_collected(self, record: BatchRecord, status: BatchStatus) -> bool:
        if status.state not in _RUNNING:
            return True
        now_s, settings = monotonic(), self.control.settings
        since = self.waiting_since_s.setdefault(record.batch.id, now_s)
        is_late = record.batch.expires_at is not None and record.batch.expires_at <= time()
        if record.status is BatchState.CANCELLING or is_late:
            is_due = now_s - since >= _OVER_EVERY_S or status.num_outbox > 0
        elif status.num_outbox == 0:
            self.waiting_since_s[record.batch.id] = now_s
            return False
        else:
            is_due = status.num_outbox >= settings.flush_rows or now_s - since >= settings.flush_s
        if is_due:
            self.waiting_since_s[record.batch.id] = now_s
        return is_due
