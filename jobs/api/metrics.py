"""What the endpoint counts.

Owns: the instruments and their names (docs/METRICS.md promises them). Must not know: routes. Labels
are route templates and status codes, never ids.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["ApiMetrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class ApiMetrics:
    """The instruments of one server, in a registry of its own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.requests = Counter(
            "headrace:http_requests",
            "Requests that were answered.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "headrace:http_request_seconds",
            "From a request's head to the end of its answer.",
            ["method", "route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.requests_running = Gauge(
            "headrace:http_requests_running", "Requests being answered.", registry=self.registry
        )
        self.clients_waiting = Gauge(
            "headrace:clients_waiting",
            "Requests for a chat or a text whose answer is not complete.",
            registry=self.registry,
        )
        self.client_start_seconds = Histogram(
            "headrace:client_start_seconds",
            "From such a request until a worker took it or answered.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.clients_refused = Counter(
            "headrace:clients_refused",
            "Such requests above their tenant's limits (429).",
            registry=self.registry,
        )
        self.clients_failed = Counter(
            "headrace:clients_failed",
            "Such requests that no worker took in time, that took too long, or were lost.",
            ["cause"],
            registry=self.registry,
        )
        self.uploaded_bytes = Counter(
            "headrace:uploaded_bytes", "Bytes of files that were stored.", registry=self.registry
        )
        self.downloaded_bytes = Counter(
            "headrace:downloaded_bytes", "Bytes of files that were sent.", registry=self.registry
        )
