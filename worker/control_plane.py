"""The control plane of one process, put together.

Owns: how its parts are made from options. Must not know: the endpoint, signals.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from jobs.blobs import Blobs, open_blobs
from jobs.bodies import INLINE_BYTES, LARGEST_BYTES
from jobs.control.context import Control, ControlSettings
from jobs.control.metrics import ControlMetrics
from jobs.control.steps import Steps
from jobs.control.workspace import Workspace
from jobs.lifecycle import Lifecycle
from jobs.maintenance import Maintenance
from jobs.records.batches import BatchRecords
from jobs.records.files import FileRecords
from jobs.registry import Registry
from jobs.upkeep import Upkeep
from worker.body_sweeper import sweep_bodies_for_ever
from worker.connection import Connection
from worker.endpoint_options import ControlOptions

__all__ = ["ControlPlane", "blobs_of", "open_control_plane"]


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A control plane that runs until `stop`, or until the block that opened it ends."""

    control: Control
    _running: asyncio.Task[None]
    _steps: Steps

    async def stop(self) -> None:
        """End it. Steps that are under way leave what another process goes on from."""
        self._running.cancel()
        await asyncio.wait([self._running])
        await self._steps.stop()


def blobs_of(options: ControlOptions) -> Blobs:
    """Where files lie. Blocks. Raises BlobError."""
    return open_blobs(options.blobs or str(options.data / "blobs"))


@asynccontextmanager
async def open_control_plane(
    connection: Connection, options: ControlOptions, registry: CollectorRegistry
) -> AsyncIterator[ControlPlane]:
    """Run the control plane while the block runs. Raises BlobError, StoreWriteError."""
    workspace = await asyncio.to_thread(Workspace, options.data)
    blobs = await asyncio.to_thread(blobs_of, options)
    redis, keys, retrying = connection.redis, connection.keys, connection.retrying
    upkeep = Upkeep(redis, keys, connection.settings, retrying=retrying)
    control = Control(
        batches=BatchRecords(redis, keys, retrying=retrying),
        files=FileRecords(redis, keys, retrying=retrying),
        queue=connection.queue,
        upkeep=upkeep,
        registry=Registry(redis, keys, retrying=retrying),
        blobs=blobs,
        workspace=workspace,
        metrics=ControlMetrics(registry),
        settings=ControlSettings(
            max_requests=options.max_batch_requests,
            is_mixing_models=options.allow_mixed_models,
            served_models=tuple(options.served_model_name or ()),
            max_body_bytes=INLINE_BYTES if connection.bodies is None else LARGEST_BYTES,
            ignores_unknown=options.on_unknown_parameter == "ignore",
        ),
    )
    maintenance = Maintenance(connection.queue, upkeep)
    async with asyncio.TaskGroup() as group:
        steps = Steps(control, redis, keys, group)
        lifecycle = Lifecycle(steps, maintenance, redis, keys)
        sweeping = group.create_task(sweep_bodies_for_ever(connection))
        plane = ControlPlane(control, group.create_task(lifecycle.run()), steps)
        try:
            yield plane
        finally:
            sweeping.cancel()
            await plane.stop()
            control.thread.shutdown()
