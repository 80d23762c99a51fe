"""What the control plane counts.

Owns: the instruments and their names (docs/METRICS.md promises them). Must not know: batches.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

__all__ = ["ControlMetrics"]

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


class ControlMetrics:
    """The instruments of one control plane."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.batches_ended = Counter(
            "headrace:batches_ended",
            "Batches that ended here, by their last status.",
            ["status"],
            registry=self.registry,
        )
        self.batches_open = Gauge(
            "headrace:batches_open", "Batches that have not ended.", registry=self.registry
        )
        self.steps_running = Gauge(
            "headrace:control_steps_running",
            "Steps under way: feed (check and enqueue), collect (store and finish).",
            ["kind"],
            registry=self.registry,
        )
        self.steps_failed = Counter(
            "headrace:control_steps_failed",
            "Steps that failed and are tried again.",
            ["kind"],
            registry=self.registry,
        )
        self.validation_seconds = Histogram(
            "headrace:batch_validation_seconds",
            "Time to check an input file.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.finalize_seconds = Histogram(
            "headrace:batch_finalize_seconds",
            "Time to write a batch's files.",
            buckets=_SECONDS,
            registry=self.registry,
        )
