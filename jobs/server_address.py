"""Where an embedded server listens, and how a later process finds it again.

Owns: the socket's folder, the note about it in the state folder, telling a live server from a
stale note. Must not know: how servers are started.
"""

import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Self
from urllib.parse import quote

from redis import Redis
from redis.exceptions import BusyLoadingError, RedisError

__all__ = ["ServerAddress"]

_PREFIX = "headrace-"
_NOTE = "server.json"
_MAX_SOCKET_PATH_BYTES = 100  # the system's limit is 104 on macOS, 108 on Linux
_LOAD_S = 600.0
_BIRTH_S = 2.0
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """`tcp_port` 0: none. `pid` 0: not known (yet)."""

    socket_path: str
    tcp_port: int = 0
    pid: int = 0

    @classmethod
    def new(cls, *, tcp_port: int = 0) -> Self:
        """A socket path in a new folder that only this user may enter."""
        folder = tempfile.mkdtemp(prefix=_PREFIX)
        if len(os.fsencode(folder)) + len("/s") > _MAX_SOCKET_PATH_BYTES:
            Path(folder).rmdir()
            folder = tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp")
        return cls(f"{folder}/s", tcp_port)

    @classmethod
    def read(cls, state_dir: Path) -> Self | None:
        """The address that was noted; None if there is none that can be read."""
        try:
            note = json.loads((state_dir / _NOTE).read_text("utf-8"))
            return cls(str(note["socket_path"]), int(note["tcp_port"]), int(note["pid"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, state_dir: Path) -> None:
        temporary = state_dir / f"{_NOTE}.tmp"
        temporary.write_text(json.dumps(asdict(self)), "utf-8")
        temporary.replace(state_dir / _NOTE)

    def forget(self, state_dir: Path) -> None:
        """Remove the note and the socket's folder; the server must be down.

        The path may come from a file, so only what is ours by name, owner and mode is removed.
        """
        (state_dir / _NOTE).unlink(missing_ok=True)
        folder = Path(self.socket_path).parent
        try:
            status = folder.lstat()
        except OSError:
            return
        is_own_folder = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
        if folder.name.startswith(_PREFIX) and is_own_folder and status.st_mode & 0o77 == 0:
            shutil.rmtree(folder, ignore_errors=True)

    @property
    def url(self) -> str:
        if self.tcp_port:
            return f"redis://127.0.0.1:{self.tcp_port}/0"
        return f"unix://{quote(self.socket_path)}?db=0"

    def connect(self) -> Redis:
        """A client for one or two commands; close it."""
        return Redis(unix_socket_path=self.socket_path, socket_timeout=5.0)

    def is_up(self) -> bool:
        """Whether a server answers here. Raises BusyLoadingError while it loads its data."""
        try:
            with self.connect() as client:
                return bool(client.ping())
        except BusyLoadingError:
            raise
        except (RedisError, OSError):
            return False

    def wait_for_survivor(self) -> bool:
        """Whether a server that was left behind answers, once it has loaded its data. One without
        a pid may have been born when its parent died, so it gets a moment.
        """
        limit_s = monotonic() + (0.0 if self.pid else _BIRTH_S)
        while True:
            try:
                if self.is_up():
                    return True
            except BusyLoadingError:
                limit_s = max(limit_s, monotonic() + _LOAD_S)
            if monotonic() >= limit_s:
                return False
            sleep(_POLL_S)

    def signal_process(self, signal_number: signal.Signals) -> bool:
        """Send a signal to the server; False if the process is gone or is not it any more."""
        if not self.pid or not self._names(_command_line_of(self.pid)):
            return False
        try:
            os.kill(self.pid, signal_number)
        except OSError:
            return False
        return True

    def is_running(self) -> bool:
        """Whether the noted process is still this server."""
        return bool(self.pid) and self._names(_command_line_of(self.pid))

    def _names(self, command_line: str) -> bool:
        """Servers show their socket, or else their port, in their process title."""
        return self.socket_path in command_line or (
            self.tcp_port != 0 and f":{self.tcp_port}" in command_line
        )


def _command_line_of(pid: int) -> str:
    ps = shutil.which("ps")
    if ps is None:
        return _from_proc(pid)
    found = subprocess.run(  # noqa: S603 - our own arguments
        [ps, "-ww", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return found.stdout


def _from_proc(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
