"""`headrace serve`: the HTTP endpoint, and the control plane unless that runs elsewhere.

Owns: the process from its settings to its end. Must not know: routes, steps. Imports no torch.
"""

import asyncio
import logging
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from time import monotonic

import uvicorn
from fastapi import FastAPI
from redis.exceptions import RedisError

from jobs.api.app import create_app
from jobs.api.metrics import ApiMetrics
from jobs.api.services import ApiSettings, Services
from jobs.lifecycle import Kicker
from jobs.queue_loads import QueueLoads
from jobs.records.batches import BatchRecords
from jobs.records.files import FileRecords
from jobs.redis_queue import RedisQueue
from jobs.registry import Registry
from jobs.request_ids import RequestIdFilter
from jobs.retrying import Retrying
from worker.access import batch_limits, online_settings, open_access
from worker.connection import Connection, bodies_in, needed_url, open_connection
from worker.control_plane import blobs_of, open_control_plane
from worker.endpoint_options import HttpOptions, ServeCommand, max_file_bytes, windows_of
from worker.errors import EXIT_OK, SettingsError
from worker.logging import redact_url
from worker.online_endpoint import open_online
from worker.shutdown import Shutdown

__all__ = ["serve_endpoint"]

_log = logging.getLogger(__name__)

_PATIENCE_S = 2.0
_KEEP_ALIVE_S = 65
_BACKLOG = 2048
_SWITCH_S = 0.0005
_MAX_THREADS = 64


def serve_endpoint(command: ServeCommand) -> int:
    """Serve until a signal. Returns 0: whoever is told to stop and stops has succeeded.

    Raises SettingsError, JobsError.
    """
    needed_url(command.queue)
    settings = ApiSettings(
        windows=windows_of(command.http.completion_window),
        max_batch_file_bytes=max_file_bytes(command.http.max_batch_file_size),
        batch_limits=batch_limits(command.access),
        served_models=tuple(command.control.served_model_name or ()),
        ignores_unknown=command.control.on_unknown_parameter == "ignore",
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(RequestIdFilter())
    for name in ("uvicorn", "arq"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Files are read in threads: a request waits so long for the interpreter, several times over.
    sys.setswitchinterval(_SWITCH_S)
    asyncio.run(_serve(command, settings))
    return EXIT_OK


async def _serve(command: ServeCommand, settings: ApiSettings) -> None:
    # Threads for uploads and downloads must be left while others read the files of batches.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_MAX_THREADS))
    shutdown = Shutdown()
    started_s = monotonic()
    with shutdown.handling_signals():
        async with AsyncExitStack() as stack:
            listening = stack.enter_context(_listen(command.http))
            bodies = await asyncio.to_thread(bodies_in, command.control.blobs)
            connection = await stack.enter_async_context(
                open_connection(command.queue, bodies=bodies)
            )
            metrics = ApiMetrics()
            services = await stack.enter_async_context(
                _services(command, connection, settings, metrics, shutdown.stopping.is_set)
            )
            if command.http.in_process_control:
                plane = open_control_plane(connection, command.control, metrics.registry)
                await stack.enter_async_context(plane)
            server = _Server(_config(create_app(services), command.http))
            _log.info(
                "endpoint on http://%s:%d/v1 over %s (started in %.2f s)",
                command.http.host,
                listening.getsockname()[1],
                redact_url(needed_url(command.queue)),
                monotonic() - started_s,
            )
            await _run(server, listening, shutdown)
    _log.info("the endpoint stopped")


@asynccontextmanager
async def _services(
    command: ServeCommand,
    connection: Connection,
    settings: ApiSettings,
    metrics: ApiMetrics,
    is_stopping: Callable[[], bool],
) -> AsyncIterator[Services]:
    """Stores that answer soon or not at all: a client waits for them."""
    redis, keys = connection.redis, connection.keys
    retrying = Retrying(give_up_s=_PATIENCE_S)
    kicker = Kicker(redis, keys)

    async def is_ready() -> str | None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await redis.ping()
        except (RedisError, OSError) as error:
            return f"Redis does not answer: {error or 'no reply'}"
        return None

    try:
        access = await open_access(command.access, command.http.host, connection)
        async with open_online(connection, online_settings(command.access), retrying) as online:
            yield Services(
                files=FileRecords(redis, keys, retrying=retrying),
                batches=BatchRecords(redis, keys, retrying=retrying),
                queue=RedisQueue(redis, keys, connection.settings, retrying=retrying),
                registry=Registry(redis, keys, retrying=retrying),
                blobs=await asyncio.to_thread(blobs_of, command.control),
                kick=kicker.kick,
                is_ready=is_ready,
                metrics=metrics,
                settings=settings,
                online=online,
                access=access,
                is_stopping=is_stopping,
                loads=QueueLoads(redis, keys, connection.settings, retrying=retrying),
            )
    finally:
        await kicker.close()


class _Server(uvicorn.Server):
    """Signals are ours."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(http: HttpOptions) -> socket.socket:
    """A socket that takes connections from now on. Raises SettingsError."""
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    # With its protocol named: asyncio sends without delay only on sockets that say they are TCP.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((http.host, http.port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        reason = error.strerror or str(error)
        raise SettingsError(
            f"--port {http.port}: cannot listen on {http.host}:{http.port} ({reason})"
        ) from error
    return listening


def _config(app: FastAPI, http: HttpOptions) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(http.drain_seconds)),
        lifespan="off",
    )


async def _run(server: uvicorn.Server, listening: socket.socket, shutdown: Shutdown) -> None:
    """Serve until told to stop; then take nothing new and let running requests end."""
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    stopping = asyncio.create_task(shutdown.stopping.wait())
    forcing = asyncio.create_task(shutdown.forced.wait())
    try:
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await asyncio.wait([serving, forcing], return_when=asyncio.FIRST_COMPLETED)
        server.force_exit = forcing.done()
        await serving
    finally:
        stopping.cancel()
        forcing.cancel()
