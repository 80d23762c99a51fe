"""What the routes work with.

Owns: the bundle of stores and settings that an app is built on. Must not know: routes, processes.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import Request

from jobs.api.access import Access
from jobs.api.metrics import ApiMetrics
from jobs.blobs import Blobs
from jobs.online.calls import OnlineCalls
from jobs.queue_loads import QueueLoads
from jobs.records.batches import BatchRecords
from jobs.records.files import FileRecords
from jobs.redis_queue import RedisQueue
from jobs.registry import Registry

__all__ = ["ApiSettings", "BatchLimits", "Services", "services_of"]

Kick = Callable[[str], Awaitable[None]]
"""batch id -> tell the control plane to look at it now; it would find it later anyway."""

Probe = Callable[[], Awaitable[str | None]]
"""None for "fine", else the reason why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """Unfinished batches of one tenant, and the jobs and tokens of them that are in the queue, when
    it orders another; 0: any number.
    """

    max_batches: int = 0
    max_requests: int = 0
    max_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiSettings:
    """Limits in bytes and seconds. `windows`: completion windows on offer, in seconds by name.
    `served_models` count as known besides those of workers. `ignores_unknown`: see `LineSettings`.
    """

    max_file_bytes: int = 512 << 20
    max_batch_file_bytes: int = 200 << 20
    max_body_bytes: int = 1 << 20
    batch_file_lifetime_s: int = 30 * 86_400
    windows: Mapping[str, int] = field(default_factory=lambda: {"24h": 86_400})
    batch_limits: BatchLimits = BatchLimits()
    served_models: Sequence[str] = ()
    ignores_unknown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """One app's stores. `is_ready` is what /ready asks; `online` is for clients that wait.
    Without `access`, every caller is the same tenant; without `loads`, batches have no limits.
    `is_stopping` ends answers that would go on for ever.
    """

    files: FileRecords
    batches: BatchRecords
    queue: RedisQueue
    registry: Registry
    blobs: Blobs
    kick: Kick
    is_ready: Probe
    metrics: ApiMetrics
    settings: ApiSettings = ApiSettings()
    online: OnlineCalls | None = None
    access: Access | None = None
    loads: QueueLoads | None = None
    is_stopping: Callable[[], bool] = lambda: False


def services_of(request: Request) -> Services:
    """The services of the app that got `request` (a FastAPI dependency)."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services
