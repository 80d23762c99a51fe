"""`headrace worker`: takes jobs from a queue until it is told to stop.

Owns: the process from its settings to its end. Must not know: flags, how jobs are run.
"""

import asyncio
import logging
from dataclasses import replace

from worker.body_sweeper import sweep_bodies_for_ever
from worker.connection import bodies_in, needed_url, open_connection, queue_settings
from worker.errors import EXIT_OK
from worker.health_port import open_health_port
from worker.loading import load_in_background
from worker.logging import redact_url
from worker.maintain import build_maintenance
from worker.metrics import WorkerMetrics
from worker.names import served_names
from worker.options import engine_config
from worker.path_sinks import PathSinks
from worker.settings import ServiceSettings
from worker.shutdown import Shutdown
from worker.vitals import Vitals
from worker.work import WorkSettings, work

__all__ = ["serve"]

_log = logging.getLogger(__name__)

_DRAIN_S = 30.0


def serve(settings: ServiceSettings) -> int:
    """Serve until a signal. Returns 0: whoever is told to stop and stops has succeeded.

    Raises SettingsError, JobsError (no server), EngineError (no model).
    """
    needed_url(settings.queue)
    asyncio.run(_serve(settings))
    return EXIT_OK


async def _serve(settings: ServiceSettings) -> None:
    config = engine_config(settings.model, settings.engine)
    names = served_names(settings.model)
    service = settings.service
    metrics, shutdown = WorkerMetrics(names[0]), Shutdown()
    port = 0 if service.metrics_port is None else service.metrics_port
    with shutdown.handling_signals():
        async with open_connection(
            settings.queue,
            settings=queue_settings(lease_s=service.lease_seconds),
            bodies=await asyncio.to_thread(bodies_in, settings.blobs),
        ) as connection:
            vitals = Vitals(connection.retrying, shutdown, stall_s=service.lease_seconds)
            with open_health_port(metrics.registry, vitals, replace(service, metrics_port=port)):
                machine = await load_in_background(config, names, shutdown)
                if machine is None:
                    return
                vitals.loaded(machine.engine)
                _log.info(
                    "worker %s serves %s from %s",
                    machine.consumer,
                    ", ".join(names),
                    redact_url(needed_url(settings.queue)),
                )
                sinks = PathSinks(connection, metrics)
                async with asyncio.TaskGroup() as group:
                    upkeeper = build_maintenance(connection, metrics, drain=sinks.drain)
                    maintaining = group.create_task(upkeeper.run())
                    sweeping = group.create_task(sweep_bodies_for_ever(connection))
                    drain_s = service.drain_seconds
                    await work(
                        machine,
                        connection,
                        metrics,
                        shutdown,
                        WorkSettings(
                            lease_s=service.lease_seconds,
                            drain_s=_DRAIN_S if drain_s is None else drain_s,
                        ),
                    )
                    maintaining.cancel()
                    sweeping.cancel()
                _log.info("worker %s stopped", machine.consumer)
