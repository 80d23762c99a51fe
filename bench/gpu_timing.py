"""Times on a device, and what the device can do at most.

Owns: medians of repeated runs, the two ceilings. Runs on "cuda" with events, on "cpu" with the
clock, where it serves to try the rest out.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Limits", "measure_limits", "median_ms", "synchronize"]

_REPEAT_MS = 60
_CPU_RUNS = 3

Limits = dict[str, float]


def synchronize(device: torch.device) -> None:
    """Wait for everything the device was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_ms(run: Callable[[], object], device: torch.device, *, is_small: bool = False) -> float:
    """The median time of a call. A small one is recorded into a graph of many calls, so that the
    time to launch it does not count; its inputs then stay in the device's cache, as they do in a
    model where the operation before has just written them. Otherwise the cache is emptied between
    calls.
    """
    if device.type == "cpu":
        times = []
        for _ in range(_CPU_RUNS):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        return statistics.median(times)
    from triton.testing import do_bench, do_bench_cudagraph

    if is_small:
        with torch.cuda.stream(torch.cuda.Stream()):
            return float(do_bench_cudagraph(run, rep=_REPEAT_MS, return_mode="median"))
    return float(do_bench(run, warmup=_REPEAT_MS // 3, rep=_REPEAT_MS, return_mode="median"))


def measure_limits(device: torch.device, *, scale: float = 1.0) -> Limits:
    """Copy bandwidth (bytes read and written) and the rates of square matrix products, on random
    data. `scale` below 1 shrinks them for a trial.
    """
    source = torch.randn(int(2**30 * scale), device=device)
    target = torch.empty_like(source)
    copy_ms = median_ms(lambda: target.copy_(source), device)
    limits = {"copy_gbs": 2 * source.nbytes / copy_ms / 1e6}
    size = max(64, int(8192 * scale) // 64 * 64)
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        product_ms = median_ms(lambda a=left, b=right: _product(a, b), device)  # type: ignore[misc]
        limits[f"gemm_{str(dtype).removeprefix('torch.')}_tflops"] = 2 * size**3 / product_ms / 1e9
    return limits


def _product(left: Tensor, right: Tensor) -> Tensor:
    return left @ right
