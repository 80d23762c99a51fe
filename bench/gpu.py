"""Everything about a GPU that can be measured within eight minutes, in one go.

    python -m bench.gpu [--json build/bench_gpu.json] [--table bench/RESULTS_GPU.md] [--seconds 460]

First every kernel is compared with its reference; a red one is named and not timed. Then kernels
are timed beside the copy bandwidth and the GEMM rates of the same run, then the engine runs the
workloads W1 to W4 of up to 1,024 requests on random weights in the shapes of Qwen3-0.6B and
Qwen3-8B, then transformers' continuous batching runs the first of them. Results are written after
each part, so an interrupted run keeps what it has; what does not fit into the time is left out and
shows as not measured. The exit status is 1 without a GPU, or if a kernel is red.

`--device cpu --trial` runs the same code on tiny shapes, to try it out; its figures mean nothing.
"""

import argparse
import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import transformers

from bench import gpu_kernels
from bench.gpu_checks import check_kernels
from bench.gpu_engine import bench_decode, bench_engine, bench_transformers, make_model, running
from bench.gpu_table import write_table
from bench.gpu_timing import measure_limits
from worker.benchmark.workloads import WorkItem, workload_items

__all__ = ["main"]

# How many rounds of each workload make up to 1,024 requests.
_ROUNDS = {"W1": 4, "W2": 4, "W3": 16, "W4": 5}
_MAX_PROCESSES = 8
_TRANSFORMERS_REQUESTS = {"Qwen3-0.6B": 1024, "Qwen3-8B": 256}
_TRIAL_SIZES = {"num_blocks": 8, "max_batch_tokens": 64}
_RESERVE_S = 15.0  # for what runs over its estimate


@dataclass(slots=True)
class Run:
    """One run: what it found so far, where that goes, and how much time is left."""

    device: torch.device
    is_trial: bool
    json_path: Path
    table_path: Path | None
    limit_s: float
    begun_s: float = field(default_factory=time.monotonic)
    results: dict[str, Any] = field(default_factory=dict)

    @property
    def left_s(self) -> float:
        return self.limit_s - (time.monotonic() - self.begun_s) - _RESERVE_S

    def save(self) -> None:
        self.results["seconds"] = round(time.monotonic() - self.begun_s, 1)
        self.json_path.parent.mkdir(parents=True, exist_ok=True)
        self.json_path.write_text(json.dumps(self.results, indent=1) + "\n", encoding="utf-8")
        if self.table_path is not None:
            write_table(self.results, self.table_path)

    def part(self, name: str, needed_s: float, measure: Callable[[], object]) -> None:
        """Run one part if there is time for it. If it fails that is told, and the rest goes on."""
        skipped = self.results.setdefault("skipped", {})
        if self.left_s < needed_s:
            skipped[name] = f"{self.left_s:.0f} s were left"
        else:
            print(f"{name} ({self.left_s:.0f} s left)", file=sys.stderr, flush=True)
            try:
                measure()
            except Exception as error:  # noqa: BLE001 - one part must not cost the others
                skipped[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        if name in skipped:
            print(f"{name}: {skipped[name]}", file=sys.stderr, flush=True)
        self.save()


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit status."""
    options = _parse(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("bench-gpu needs a CUDA device, and torch finds none here.", file=sys.stderr)
        return 1
    run = Run(
        device=torch.device(options.device),
        is_trial=options.trial,
        json_path=options.json,
        table_path=options.table,
        limit_s=options.seconds,
    )
    run.results["date"] = datetime.now(UTC).date().isoformat()
    run.results["machine"] = _machine(run.device)
    with torch.inference_mode():
        run.part("limits", 0, lambda: _limits(run))
        run.part("checks", 0, lambda: _checks(run))
        run.part("kernels", 30, lambda: _kernels(run))
    for name in ("tiny",) if run.is_trial else ("Qwen3-0.6B", "Qwen3-8B"):
        _engine(run, name)
    red = [each for each in run.results.get("checks", []) if each["wrong"]]
    for each in red:
        print(f"{each['op']} is red in {each['dtype']}: {each['wrong']}", file=sys.stderr)
    return 1 if red else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure kernels and engine on a GPU.")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--json", type=Path, default=Path("build/bench_gpu.json"))
    parser.add_argument("--table", type=Path, default=None)
    parser.add_argument("--seconds", type=float, default=460.0, help="for everything")
    parser.add_argument("--trial", action="store_true", help="tiny shapes")
    return parser.parse_args(arguments)


def _machine(device: torch.device) -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        triton_version = version("triton")
    except PackageNotFoundError:
        triton_version = "none"
    is_cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if is_cuda else platform.processor() or "CPU",
        "torch": torch.__version__,
        "triton": triton_version,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def _limits(run: Run) -> None:
    run.results["limits"] = measure_limits(run.device, scale=0.001 if run.is_trial else 1.0)


def _checks(run: Run) -> None:
    num_processes = 1 if run.is_trial else min(_MAX_PROCESSES, os.cpu_count() or 1)
    verdicts = check_kernels(
        run.device, max_cases=2 if run.is_trial else None, num_processes=num_processes
    )
    run.results["checks"] = [asdict(verdict) for verdict in verdicts]


def _kernels(run: Run) -> None:
    sizes = gpu_kernels.TINY if run.is_trial else gpu_kernels.FULL
    red = {each["op"] for each in run.results["checks"] if each["wrong"]}
    lines = run.results.setdefault("kernels", [])
    for line in gpu_kernels.time_kernels(run.device, run.results["limits"], sizes, red):
        lines.append(line)


def _engine(run: Run, name: str) -> None:
    is_large = name == "Qwen3-8B"
    run.part(f"engine {name}", 100 if is_large else 80, lambda: _ours(run, name))
    _free(run)
    run.part(f"transformers {name}", 40 if is_large else 30, lambda: _theirs(run, name))
    _free(run)


def _ours(run: Run, name: str) -> None:
    """Decoding alone, W1 as transformers will get it, then W1 to W4 as far as time goes."""
    loaded = make_model(name, run.device, torch.float32 if run.is_trial else torch.bfloat16)
    engine = run.results.setdefault("engine", {}).setdefault(name, {})
    max_num_seqs = 8 if run.is_trial else 1024
    num_blocks = 512 if run.is_trial else None
    with running(loaded, max_num_seqs=max_num_seqs, num_blocks=num_blocks) as (core, executor):
        decode = {"batch": 4, "prompt_tokens": 20, "output_tokens": 8}
        if not run.is_trial:
            decode = {"batch": 256, "prompt_tokens": 512, "output_tokens": 96}
        run.results.setdefault("decode", {})[name] = bench_decode(
            core, executor, loaded, run.results["limits"], **decode
        )
        run.save()
        beside = _beside_transformers(name, loaded.vocab_size)
        bench_engine(core, executor, beside, run.device)
        run.results.setdefault("beside_transformers", {})[name] = bench_engine(
            core, executor, beside, run.device
        )
        for workload in _ROUNDS:
            if run.left_s < 60:  # what comes after must have its turn too
                run.results["skipped"][f"{workload} {name}"] = f"{run.left_s:.0f} s were left"
                continue
            items = _items(workload, loaded.vocab_size, run.is_trial)
            bench_engine(core, executor, items, run.device)  # records what it needs
            engine[workload] = bench_engine(core, executor, items, run.device)
            run.save()


def _theirs(run: Run, name: str) -> None:
    loaded = make_model(name, run.device, torch.float32 if run.is_trial else torch.bfloat16)
    items = _beside_transformers(name, loaded.vocab_size)
    run.results.setdefault("transformers", {})[name] = bench_transformers(
        loaded,
        items,
        timeout_s=min(120.0, run.left_s),
        sizes=_TRIAL_SIZES if run.is_trial else None,
    )


def _beside_transformers(name: str, vocab_size: int) -> list[WorkItem]:
    if name not in _TRANSFORMERS_REQUESTS:
        return _trial_items("W1")
    return _items("W1", vocab_size, False)[: _TRANSFORMERS_REQUESTS[name]]


def _items(workload: str, vocab_size: int, is_trial: bool) -> list[WorkItem]:
    if is_trial:
        return _trial_items(workload)
    return workload_items(workload, vocab_size, times=_ROUNDS[workload])


def _trial_items(workload: str) -> list[WorkItem]:
    return [WorkItem(f"{workload} {row}", list(range(3, 20 + row)), 4) for row in range(3)]


def _free(run: Run) -> None:
    gc.collect()
    if run.device.type == "cuda":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    sys.exit(main())
