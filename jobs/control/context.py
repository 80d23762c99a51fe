"""What the control plane works with.

Owns: its settings and the bundle of its stores. Must not know: who runs it.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from jobs.blobs import Blobs
from jobs.bodies import INLINE_BYTES
from jobs.control.metrics import ControlMetrics
from jobs.control.workspace import Workspace
from jobs.records.batches import BatchRecords
from jobs.records.files import FileRecords
from jobs.redis_queue import RedisQueue
from jobs.registry import Registry
from jobs.store import PartStore
from jobs.upkeep import Upkeep

__all__ = ["SINK", "Control", "ControlSettings"]

SINK = "endpoint://"
"""The sink of the endpoint's batches: their outboxes are emptied here and by nobody else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSettings:
    """max_requests: lines of one file. is_mixing_models: one file may name several models.
    served_models: names that count as known besides those of workers.
    output_lifetime_s: how long output and error files stay unless the batch says it.
    max_body_bytes: of one request, above which it fails alone.
    ignores_unknown: see `LineSettings`.
    max_checks, max_feeds: files that are checked at a time, and that are put into the queue (most
    of these wait for room in it, each with a window of its lines in memory).
    flush_rows, flush_s: results are stored when so many wait, or for so long.
    """

    max_requests: int = 50_000
    is_mixing_models: bool = False
    served_models: Sequence[str] = ()
    output_lifetime_s: int = 30 * 86_400
    max_body_bytes: int = INLINE_BYTES
    ignores_unknown: bool = False
    max_checks: int = 2
    max_feeds: int = 16
    flush_rows: int = 500
    flush_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """One process's control plane. `thread` does all work with Arrow: its allocator keeps memory
    for each thread that ever worked. `stores` are the parts that are open between two passes, and
    belong to that thread. `checks` and `feeds` bound how many files are read at a time.
    """

    batches: BatchRecords
    files: FileRecords
    queue: RedisQueue
    upkeep: Upkeep
    registry: Registry
    blobs: Blobs
    workspace: Workspace
    metrics: ControlMetrics
    settings: ControlSettings = ControlSettings()
    checks: asyncio.Semaphore = field(init=False)
    feeds: asyncio.Semaphore = field(init=False)
    stores: dict[str, PartStore] = field(default_factory=dict)
    thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=1, thread_name_prefix="results")
    )

    def __post_init__(self) -> None:
        object.__setattr__(self, "checks", asyncio.Semaphore(self.settings.max_checks))
        object.__setattr__(self, "feeds", asyncio.Semaphore(self.settings.max_feeds))
