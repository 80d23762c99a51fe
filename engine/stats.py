"""Counters of a running engine.

Owns: the snapshot that metrics and progress displays read. Must not know: Prometheus.
"""

from dataclasses import dataclass

__all__ = ["EngineStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """A snapshot after a step. `kv_cache_usage` is a share (0..1) of blocks in use by requests;
    everything named in tokens, and `num_steps` and `num_preemptions`, counts since the start.
    """

    num_running: int = 0
    num_waiting: int = 0
    kv_cache_usage: float = 0.0
    prefix_cache_queries: int = 0
    prefix_cache_hits: int = 0
    num_preemptions: int = 0
    prompt_tokens: int = 0
    generation_tokens: int = 0
    num_steps: int = 0
    num_failed_steps: int = 0
