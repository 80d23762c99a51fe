"""The Redis server of a scenario, and what can happen to it.

Owns: the server's process and data folder, its violent ends. Must not know: the queue.
"""

import os
import signal
import time
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from jobs.embedded_server import EmbeddedServer
from jobs.server_address import ServerAddress

__all__ = ["ChaosServer", "kill_server_of"]


def kill_server_of(state_folder: Path) -> bool:
    """kill -9 the embedded server that is noted in this state folder; False if none runs."""
    address = ServerAddress.read(state_folder)
    return address is not None and address.signal_process(signal.SIGKILL)


class ChaosServer:
    """A real server on a free TCP port, with its data in `folder` (AOF, everysec)."""

    def __init__(self, folder: Path, binary: Path) -> None:
        self._data = folder / "redis"
        self._server = EmbeddedServer.start(folder, binary=binary, with_tcp=True)

    @property
    def url(self) -> str:
        return self._server.url

    def client(self) -> Redis:
        """A client for looking from outside."""
        return Redis.from_url(self.url, socket_timeout=5.0, socket_connect_timeout=2.0)

    def kill(self) -> None:
        """kill -9, then a restart on the same address and data."""
        self._die()
        self._server.restart()

    def kill_and_cut(self, num_bytes: int) -> int:
        """kill -9, the last bytes of the log gone, restart; how many bytes that were."""
        self._die()
        cut = 0
        logs = sorted(self._data.glob("appendonlydir/*.incr.aof")) or sorted(
            self._data.glob("appendonly.aof")
        )
        for log in reversed(logs):
            size = log.stat().st_size
            part = min(size, num_bytes - cut)
            os.truncate(log, size - part)
            cut += part
        self._server.restart()
        return cut

    def kill_and_wipe(self) -> None:
        """kill -9 of a server that had no persistence: it comes back empty."""
        self._die()
        for path in self._data.rglob("*"):
            if path.is_file():
                path.unlink()
        self._server.restart()

    def flush(self) -> None:
        """Somebody else's FLUSHALL."""
        try:
            with self.client() as client:
                client.flushall()
        except RedisError:
            return

    def close(self) -> None:
        self._server.close()

    def _die(self) -> None:
        os.kill(self._server.pid, signal.SIGKILL)
        while self._server.is_running():
            time.sleep(0.005)
