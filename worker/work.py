"""Running jobs until told to stop: the composition of everything a worker consists of.

Owns: which parts exist and in which order they start and end. Must not know: how the model was
loaded, which command this is.
"""

import asyncio
import gc
import logging
import os
import socket
from dataclasses import dataclass, replace
from time import time

from redis.exceptions import RedisError

from engine.async_engine import AsyncEngine
from jobs.errors import JobsError
from jobs.online.publisher import TokenPublisher
from jobs.registry import Registry, WorkerInfo
from worker.committer import Committer
from worker.connection import Connection
from worker.credit import CreditWindow
from worker.engine_collector import EngineCollector
from worker.job_runner import JobRunner
from worker.leases import LeaseKeeper
from worker.loop import LoopParts, LoopSettings, WorkerLoop
from worker.machine import Machine
from worker.metrics import WorkerMetrics
from worker.pulse import Pulse
from worker.shutdown import Shutdown

__all__ = ["WorkSettings", "work"]

_log = logging.getLogger(__name__)

_HEARTBEAT_S = 15.0
_FAREWELL_S = 2.0
_CLOSE_S = 15.0
_MIN_SPARE_JOBS = 8
_SPARE_SHARE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkSettings:
    """Seconds: how long a lease lasts, and how long running jobs may finish after a stop."""

    lease_s: float
    drain_s: float


async def work(
    machine: Machine,
    connection: Connection,
    metrics: WorkerMetrics,
    shutdown: Shutdown,
    settings: WorkSettings,
) -> None:
    """Run the jobs of `machine`'s models until `shutdown.stopping`, then drain.

    Raises EngineError if the engine dies, and what the queue fails with. The engine is closed
    afterwards in any case.
    """
    engine = machine.engine
    metrics.registry.register(EngineCollector(engine.stats, machine.names[0]))
    # What was imported and loaded stays for good; looking through it for garbage again and again
    # would cost a sixth of the time between steps.
    gc.collect()
    gc.freeze()
    engine.start()
    try:
        publisher = TokenPublisher(connection.redis, connection.keys)
        async with asyncio.TaskGroup() as group:
            heartbeat = group.create_task(_heartbeat(machine, connection))
            publishing = group.create_task(publisher.run())
            await _loop(machine, connection, metrics, settings, publisher).run(shutdown)
            heartbeat.cancel()
            publishing.cancel()
    finally:
        gc.unfreeze()
        await _close(engine, shutdown)


def _loop(
    machine: Machine,
    connection: Connection,
    metrics: WorkerMetrics,
    settings: WorkSettings,
    publisher: TokenPublisher,
) -> WorkerLoop:
    pulse = Pulse(machine.engine)
    translator = replace(machine.translator, bodies=connection.bodies)
    committer = Committer(connection.queue, consumer=machine.consumer, metrics=metrics)
    keeper = LeaseKeeper(
        connection.beside,
        pulse,
        consumer=machine.consumer,
        lease_s=settings.lease_s,
        on_lost=lambda lost: loop.lose(lost),
    )
    loop = WorkerLoop(
        LoopParts(
            queue=connection.queue,
            translator=translator,
            runner=JobRunner(machine.engine, translator, committer, metrics, publisher.publish),
            committer=committer,
            pulse=pulse,
            metrics=metrics,
        ),
        keeper,
        CreditWindow(max_num_seqs=machine.max_num_seqs, kv_cache_tokens=machine.kv_cache_tokens),
        LoopSettings(
            consumer=machine.consumer,
            models=machine.names,
            max_started_jobs=machine.max_num_seqs
            + max(_MIN_SPARE_JOBS, machine.max_num_seqs // _SPARE_SHARE),
            stall_s=settings.lease_s / 2,
            drain_s=settings.drain_s,
        ),
    )
    return loop


async def _heartbeat(machine: Machine, connection: Connection) -> None:
    """Keep the worker and its models in the registry; take the worker out at the end."""
    registry = Registry(connection.redis, connection.keys, retrying=connection.retrying)
    info = WorkerInfo(
        consumer=machine.consumer,
        models=machine.names,
        max_model_len=machine.max_model_len,
        host=socket.gethostname(),
        pid=os.getpid(),
        device=machine.device,
        fingerprint=machine.fingerprint,
        started_at_ms=int(time() * 1000),
    )
    try:
        while True:
            await registry.register(info)
            await asyncio.sleep(_HEARTBEAT_S)
    finally:
        try:
            async with asyncio.timeout(_FAREWELL_S):
                await registry.deregister(machine.consumer)
        except (TimeoutError, RedisError, OSError, JobsError) as error:
            _log.debug("the heartbeat will lapse by itself: %s", error)


async def _close(engine: AsyncEngine, shutdown: Shutdown) -> None:
    try:
        async with asyncio.timeout(_CLOSE_S):
            await engine.close()
    except TimeoutError:
        _log.error("the engine hangs in a step; ending the process without it")
        shutdown.exit_now()
