"""`headrace control`: the control plane alone, beside endpoints that only answer.

Owns: the process from its settings to its end. Must not know: steps, routes. Imports no torch.
"""

import asyncio
import logging

from prometheus_client import CollectorRegistry

from worker.connection import bodies_in, needed_url, open_connection
from worker.control_plane import open_control_plane
from worker.endpoint_options import ControlCommand
from worker.errors import EXIT_OK
from worker.health import HealthServer
from worker.logging import redact_url
from worker.shutdown import Shutdown

__all__ = ["run_control"]

_log = logging.getLogger(__name__)


def run_control(command: ControlCommand) -> int:
    """Run until a signal. Returns 0. Raises SettingsError, JobsError."""
    needed_url(command.queue)
    logging.getLogger("arq").setLevel(logging.WARNING)
    asyncio.run(_run(command))
    return EXIT_OK


async def _run(command: ControlCommand) -> None:
    shutdown, registry = Shutdown(), CollectorRegistry()
    with shutdown.handling_signals():
        bodies = await asyncio.to_thread(bodies_in, command.control.blobs)
        async with (
            open_connection(command.queue, bodies=bodies) as connection,
            open_control_plane(connection, command.control, registry),
        ):

            def trouble() -> str | None:
                return "Redis does not answer" if connection.retrying.is_waiting else None

            health = None
            if command.metrics_port is not None:
                health = HealthServer(
                    registry,
                    health=lambda: None,
                    ready=trouble,
                    host=command.host,
                    port=command.metrics_port,
                )
            _log.info("control plane over %s", redact_url(needed_url(command.queue)))
            await shutdown.stopping.wait()
            if health is not None:
                await asyncio.to_thread(health.close)
    _log.info("the control plane stopped")
