"""The HTTP port of a process, if it is to have one.

Owns: opening and closing it around a run. Must not know: what it serves.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from worker.health import HealthServer
from worker.options import ServiceOptions
from worker.vitals import Vitals

__all__ = ["open_health_port"]


@contextmanager
def open_health_port(
    registry: CollectorRegistry, vitals: Vitals, options: ServiceOptions
) -> Iterator[None]:
    """Serve until the end of the block; nothing without --metrics-port. Raises SettingsError."""
    if options.metrics_port is None:
        yield
        return
    server = HealthServer(
        registry,
        health=vitals.health,
        ready=vitals.ready,
        host=options.host,
        port=options.metrics_port,
    )
    try:
        yield
    finally:
        server.close()
