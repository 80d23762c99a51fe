"""The engine's counters, read when Prometheus asks.

Owns: the names and kinds of the engine's series, and the histograms of requests. Must not know:
jobs, HTTP. Names are vLLM's with the prefix `headrace:` where the meaning is the same.
"""

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from engine.stats import EngineStats

__all__ = ["EngineCollector", "RequestHistogram"]

_GAUGES = (
    ("num_requests_running", "num_running", "Requests in the running set."),
    ("num_requests_waiting", "num_waiting", "Requests waiting for a place in it."),
    ("kv_cache_usage_perc", "kv_cache_usage", "Share of KV cache blocks in use, 0 to 1."),
)
_COUNTERS = (
    (
        "prefix_cache_queries",
        "prefix_cache_queries",
        "Prompt tokens looked up in the prefix cache.",
    ),
    ("prefix_cache_hits", "prefix_cache_hits", "Prompt tokens found there."),
    ("num_preemptions", "num_preemptions", "Requests given up for memory and computed again."),
    ("prompt_tokens", "prompt_tokens", "Prompt tokens computed."),
    ("generation_tokens", "generation_tokens", "Tokens generated."),
    ("engine_steps", "num_steps", "Steps of the engine."),
    ("engine_failed_steps", "num_failed_steps", "Steps that failed and were taken apart."),
)


class EngineCollector(Collector):
    """Turns one `EngineStats` snapshot into gauges and counters at each scrape."""

    def __init__(self, stats: Callable[[], EngineStats], model_name: str) -> None:
        self._stats = stats
        self._labels = [model_name]

    def collect(self) -> Iterator[Metric]:
        stats = self._stats()
        for name, field, text in _GAUGES:
            gauge = GaugeMetricFamily(f"headrace:{name}", text, labels=["model_name"])
            gauge.add_metric(self._labels, float(getattr(stats, field)))
            yield gauge
        for name, field, text in _COUNTERS:
            counter = CounterMetricFamily(f"headrace:{name}", text, labels=["model_name"])
            counter.add_metric(self._labels, float(getattr(stats, field)))
            yield counter


class RequestHistogram(Collector):
    """A histogram with one label and cheap observations, which may count several times: one call
    for a request's many tokens.
    """

    def __init__(
        self,
        name: str,
        text: str,
        *,
        model_name: str,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name, self._text, self._labels = name, text, [model_name]
        self._bounds = tuple(buckets)
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()
        registry.register(self)

    def observe(self, value: float, weight: int = 1) -> None:
        """Count `value` `weight` times."""
        with self._lock:
            self._counts[bisect_left(self._bounds, value)] += weight
            self._sum += value * weight

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            counts, total = list(self._counts), self._sum
        cumulative = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*map(repr, self._bounds), "+Inf"), counts, strict=True):
            cumulative += count
            buckets.append((bound, float(cumulative)))
        family = HistogramMetricFamily(self._name, self._text, labels=["model_name"])
        family.add_metric(self._labels, buckets, sum_value=total)
        yield family
