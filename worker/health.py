"""The worker's HTTP port: /metrics, /health, /ready.

Owns: a small WSGI server on a thread of its own, so that it answers while the event loop is busy.
Must not know: what is measured, or what makes the process healthy; it asks two functions.
"""

import logging
import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from worker.errors import SettingsError

__all__ = ["HealthServer"]

_log = logging.getLogger(__name__)

Probe = Callable[[], str | None]


class HealthServer:
    """Serves until `close`. A probe returns None for "fine", else the reason why not."""

    def __init__(
        self, registry: CollectorRegistry, *, health: Probe, ready: Probe, host: str, port: int
    ) -> None:
        self._metrics: Callable[..., Iterable[bytes]] = make_wsgi_app(registry)
        self._probes = {"/health": health, "/ready": ready}
        try:
            self._server = _Server(host, port)
        except OSError as error:
            raise SettingsError(
                f"--metrics-port {port}: cannot listen on {host}:{port} ({error.strerror or error})"
            ) from error
        self._server.set_app(self._answer)
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="headrace-http", daemon=True
        )
        self._thread.start()
        _log.info("metrics on http://%s:%d/metrics", host, self.port)

    @property
    def port(self) -> int:
        """The port it listens on, also when 0 was asked for."""
        return self._server.server_port

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return self._metrics(environ, start)
        probe = self._probes.get(path)
        if probe is None:
            return _reply(start, "404 Not Found", "try /metrics, /health or /ready")
        trouble = probe()
        if trouble is not None:
            return _reply(start, "503 Service Unavailable", trouble)
        return _reply(start, "200 OK", "ok")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _QuietHandler)

    def server_bind(self) -> None:
        """Bind without the reverse name lookup of the base class, which can take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        _log.debug(format, *args)


def _reply(start: StartResponse, status: str, text: str) -> list[bytes]:
    body = (text + "\n").encode()
    start(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
