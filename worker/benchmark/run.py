"""`headrace bench`: how fast a model runs on this machine.

Owns: the order of a measurement, its JSON line and its table. Must not know: flags, queues.
"""

import asyncio
import json
import resource
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from engine.async_engine import AsyncEngine
from engine.build import EngineParts, build_engine
from engine.config import EngineConfig
from worker.benchmark.drive import Measured, drive
from worker.benchmark.workloads import WORKLOADS, Shape, WorkItem, custom_items, workload_items
from worker.errors import EXIT_OK, SettingsError
from worker.names import served_names
from worker.options import ModelOptions

__all__ = ["BenchSettings", "bench"]

_PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchSettings:
    """`workload` is one of `WORKLOADS`, or "custom": `num_requests` of `shape`. `rate` is in
    requests per second, None for all at once; `repeat` runs are made on one engine.
    """

    workload: str
    shape: Shape
    num_requests: int
    rate: float | None
    repeat: int
    as_json: bool
    seed: int


def bench(
    settings: BenchSettings, model: ModelOptions, config: EngineConfig, started_s: float
) -> int:
    """Measure and print, one result per run. Returns the exit code.

    `started_s` is `time.monotonic()` when the command began. Raises SettingsError, EngineError.
    """
    parts = build_engine(config)
    items = _items(settings, parts)
    asyncio.run(_measure(settings, served_names(model)[0], parts, items, started_s))
    return EXIT_OK


def _items(settings: BenchSettings, parts: EngineParts) -> list[WorkItem]:
    vocab_size = parts.info.vocab_size
    if settings.workload == "custom":
        items = custom_items(settings.shape, settings.num_requests, vocab_size, settings.seed)
    elif settings.workload in WORKLOADS:
        items = workload_items(settings.workload, vocab_size)
    else:
        known = ", ".join([*WORKLOADS, "custom"])
        raise SettingsError(f"--workload {settings.workload!r} is none of {known}")
    longest = max(len(item.prompt_token_ids) + item.num_output_tokens for item in items)
    if longest > parts.info.max_model_len:
        raise SettingsError(
            f"--workload {settings.workload}: its longest request has {longest} tokens, but "
            f"{parts.info.model} takes {parts.info.max_model_len}"
        )
    return items


async def _measure(
    settings: BenchSettings,
    name: str,
    parts: EngineParts,
    items: list[WorkItem],
    started_s: float,
) -> None:
    engine = AsyncEngine(parts.core)
    engine.start()
    try:
        await drive(engine, [WorkItem("warm-up", [5, 6, 7, 8], 4)])
        start_s = monotonic() - started_s
        for number in range(settings.repeat):
            if number:
                parts.core.forget_prefixes()
            measured = await drive(engine, items, rate=settings.rate, seed=settings.seed)
            line = _line(settings, name, parts, items, measured, start_s)
            if settings.as_json:
                sys.stdout.write(json.dumps(line) + "\n")
                sys.stdout.flush()
            else:
                _print(line)
    finally:
        await engine.close()


def _line(
    settings: BenchSettings,
    name: str,
    parts: EngineParts,
    items: list[WorkItem],
    measured: Measured,
    start_s: float,
) -> dict[str, Any]:
    """Units are in the names; `ttft`, `itl` and `e2e` are milliseconds by percentile."""
    num_tokens = measured.prompt_tokens + measured.output_tokens
    return {
        "peer": "headrace",
        "model": name,
        "workload": settings.workload,
        "n": len(items),
        "prompt_tokens": measured.prompt_tokens,
        "output_tokens": measured.output_tokens,
        "wall_s": round(measured.wall_s, 3),
        "out_tok_s": round(measured.output_tokens / measured.wall_s, 1),
        "total_tok_s": round(num_tokens / measured.wall_s, 1),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "dtype": parts.info.dtype,
        "quantization": parts.info.quantization,
        "start_s": round(start_s, 2),
        "own_cores": round(measured.own_cores, 2),
        "foreign_cores": round(measured.foreign_cores, 2),
        "notes": f"{parts.info.device}, KV cache {parts.info.kv_cache_bytes >> 20} MiB",
        "rate": settings.rate,
        "cached_tokens": measured.cached_tokens,
        "preemptions": measured.num_preemptions,
        "ttft_ms": _percentiles(measured.first_token_s),
        "itl_ms": _percentiles(measured.between_tokens_s),
        "e2e_ms": _percentiles(measured.end_to_end_s),
    }


def _percentiles(seconds: Sequence[float]) -> dict[str, float] | None:
    if len(seconds) < 2:
        return None
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {f"p{percent}": round(cuts[percent - 1] * 1000, 2) for percent in _PERCENTILES}


def _print(line: dict[str, Any]) -> None:
    from rich import box
    from rich.table import Table

    from worker.console import OutputConsole

    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    table.add_column("what", style="bold")
    table.add_column("value", justify="right")
    rows = [
        ("requests", f"{line['n']:,}"),
        ("prompt tokens", f"{line['prompt_tokens']:,}"),
        ("cached tokens", f"{line['cached_tokens']:,}"),
        ("output tokens", f"{line['output_tokens']:,}"),
        ("output tokens/s", f"{line['out_tok_s']:,}"),
        ("all tokens/s", f"{line['total_tok_s']:,}"),
        ("wall seconds", f"{line['wall_s']:,}"),
        ("start-up seconds", f"{line['start_s']:,}"),
        ("preemptions", f"{line['preemptions']:,}"),
        ("peak memory MiB", f"{line['peak_rss_mb']:,}"),
        ("cores used, by others", f"{line['own_cores']}, {line['foreign_cores']}"),
    ]
    for key, title in (
        ("ttft_ms", "time to first token ms"),
        ("itl_ms", "between tokens ms"),
        ("e2e_ms", "end to end ms"),
    ):
        for percent, value in (line[key] or {}).items():
            rows.append((f"{title} {percent}", f"{value:,}"))
    for title, value in rows:
        table.add_row(title, value)
    OutputConsole().print(table)
