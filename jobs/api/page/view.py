"""What the page shows.

Owns: gathering it for one tenant, and the words for it. Must not know: HTML, sessions. Numbers are
of this moment; a batch that has ended shows what its record says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from time import time

from jobs.api.live import live_batches
from jobs.api.page.rates import Pace, Rates
from jobs.api.services import Services
from jobs.queue_loads import BatchLoad
from jobs.records.page import PageRequest
from jobs.registry import WorkerInfo
from schemas.batch_object import Batch

__all__ = ["BatchRow", "PageView", "WorkerRow", "gather", "show_count", "show_seconds"]

_MAX_BATCHES = 50
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_ENDING = ("validating", "in_progress", "finalizing")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchRow:
    """One batch. `errors` are rows by code while it is in the queue's memory, or what its
    validation found.
    """

    batch: Batch
    load: BatchLoad
    pace: Pace | None
    age_s: float
    errors: Mapping[str, int]

    @property
    def num_done(self) -> int:
        return self.batch.request_counts.completed + self.batch.request_counts.failed

    @property
    def percent(self) -> int:
        total = self.batch.request_counts.total
        return min(100, self.num_done * 100 // total) if total else 0

    @property
    def can_cancel(self) -> bool:
        return self.batch.status in _ENDING

    @property
    def status_words(self) -> str:
        return self.batch.status.replace("_", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """One live worker."""

    info: WorkerInfo
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PageView:
    """Everything on the page. The queue's numbers are the tenant's own."""

    batches: list[BatchRow]
    workers: list[WorkerRow]
    num_queued: int
    num_queued_tokens: int
    num_waiting_clients: int
    has_more: bool

    @property
    def num_running(self) -> int:
        return sum(row.can_cancel for row in self.batches)

    @property
    def rows_per_s(self) -> float:
        return sum(row.pace.rows_per_s for row in self.batches if row.pace is not None)


async def gather(services: Services, tenant: str, rates: Rates) -> PageView:
    """The view of one tenant. Raises JobsError and redis' errors."""
    now_s = time()
    page = await services.batches.page(tenant, PageRequest(limit=_MAX_BATCHES, after=None))
    assert page is not None, "a page without a cursor"
    batches = await live_batches(page.items, services.queue)
    loads = await _loads(services, batches)
    rows = [_row(batch, load, rates, now_s) for batch, load in zip(batches, loads, strict=True)]
    online = services.online
    workers = await services.registry.live_workers()
    return PageView(
        batches=rows,
        workers=[
            WorkerRow(info=info, age_s=max(0.0, now_s - info.started_at_ms / 1000))
            for info in workers
        ],
        num_queued=sum(load.num_jobs for load in loads),
        num_queued_tokens=sum(load.num_tokens for load in loads),
        num_waiting_clients=await online.jobs.num_waiting(tenant) if online is not None else 0,
        has_more=page.has_more,
    )


async def _loads(services: Services, batches: list[Batch]) -> list[BatchLoad]:
    if services.loads is None:
        return [BatchLoad() for _ in batches]
    return await services.loads.of([batch.id for batch in batches])


def _row(batch: Batch, load: BatchLoad, rates: Rates, now_s: float) -> BatchRow:
    counts = batch.request_counts
    pace = None
    if batch.status == "in_progress":
        pace = rates.pace(
            batch.id,
            now_s=now_s,
            num_done=counts.completed + counts.failed,
            total=counts.total,
            started_s=batch.in_progress_at,
        )
    return BatchRow(
        batch=batch,
        load=load,
        pace=pace,
        age_s=max(0.0, now_s - batch.created_at),
        errors=_errors(batch, load),
    )


def _errors(batch: Batch, load: BatchLoad) -> Mapping[str, int]:
    if batch.errors is None:
        return dict(sorted(load.errors.items(), key=lambda item: (-item[1], item[0])))
    found: dict[str, int] = {}
    for error in batch.errors.data:
        found[error.code or "unknown"] = found.get(error.code or "unknown", 0) + 1
    return found


def show_count(number: float) -> str:
    """A number with thin spaces between thousands."""
    return f"{number:,.0f}".replace(",", "\u202f")


def show_seconds(seconds: float) -> str:
    """A duration in its largest unit or two: 45 s, 3 min 5 s, 2 h 10 min."""
    left = round(seconds)
    parts: list[str] = []
    for size, unit in _UNITS:
        if left >= size or (unit == "s" and not parts):
            number, left = divmod(left, size)
            parts.append(f"{number} {unit}")
        elif parts:
            break
    return " ".join(parts[:2])
