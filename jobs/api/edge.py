"""The outermost layer of the app: every answer passes here.

Owns: request ids, security headers, the log line and the metrics of a request, and the answer to a
failure that nothing else caught. Must not know: routes, bodies. A log line names the route and the
status, never a query, a header or a body.
"""

import logging
import secrets
from collections.abc import Mapping
from time import monotonic

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobs.api.errors import unexpected
from jobs.api.metrics import ApiMetrics
from jobs.request_ids import request_id

__all__ = ["Edge"]

_log = logging.getLogger("headrace.http")

_SECURITY_HEADERS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
"""Set unless the route said something else itself."""

_QUIET_ROUTES = ("/health", "/ready", "/metrics")


class Edge:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send, f"req_{secrets.token_hex(16)}")
        with self._metrics.requests_running.track_inprogress():
            token = request_id.set(exchange.request_id)
            try:
                await self._answer(scope, receive, exchange)
            finally:
                request_id.reset(token)
                exchange.note(self._metrics)

    async def _answer(self, scope: Scope, receive: Receive, exchange: "_Exchange") -> None:
        try:
            await self._app(scope, receive, exchange.send)
        except ClientDisconnect:
            exchange.status = 499
        except Exception as error:
            if exchange.status is not None:
                _log.error("%s broke off", exchange.request_id, exc_info=error)
                raise  # the client sees that the answer is cut off
            await unexpected(error)(scope, receive, exchange.send)


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self.request_id = request_id
        self.status: int | None = None
        self._scope = scope
        self._send = send
        self._started_s = monotonic()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.request_id
            for name, value in _SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)

    def note(self, metrics: ApiMetrics) -> None:
        """Count and log the request, by its route's template."""
        found = self._scope.get("route")
        route = str(getattr(found, "path", None) or "unknown")
        method = self._scope["method"] if found is not None else "any"
        seconds = monotonic() - self._started_s
        status = self.status or 499
        metrics.requests.labels(method, route, str(status)).inc()
        metrics.request_seconds.labels(method, route).observe(seconds)
        level = logging.DEBUG if route in _QUIET_ROUTES else logging.INFO
        _log.log(
            level, "%s %s %d %.1f ms %s", method, route, status, seconds * 1e3, self.request_id
        )
