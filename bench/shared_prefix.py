"""Times decode attention over a prefix that rows share, on the CPU, with the heads of Qwen3-0.6B.

    python -m bench.shared_prefix [--threads N] [--seconds S] [--other LIBRARY] > lines.jsonl

Each line is one JSON object: `shared_ms` for rows whose block tables name the same blocks for the
prefix, `copies_ms` for the same rows with copies of the same keys, `ratio` of both. They take turns
and medians are given, so that ratios hold on a machine that others use too; with one thread it is
that thread's processor time. What is timed has the same bits in both ways, else the exit status is
1. With --other, the kernels of another build (libheadrace_cpu.so) compute the copies in turns with
ours, on one thread: `other_ratio` is their time to ours, for rows that share nothing.
"""

import argparse
import ctypes
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kernels.cpu_library import cpu_library, instruction_set, supported_instruction_sets
from kernels.paged_attention.cases import (
    PagedAttentionCase,
    PagedAttentionInputs,
    SharedText,
    share_blocks,
    unshare_blocks,
)

Attend = Callable[..., Tensor]


@dataclass(frozen=True, slots=True)
class Shape:
    """Rows that share a prefix and have tokens of their own."""

    num_rows: int
    prefix: int
    own: int


SHAPES = (
    Shape(32, 1024, 128),
    Shape(32, 2048, 128),
    Shape(64, 560, 96),
    Shape(16, 560, 96),
    Shape(16, 300, 96),
    Shape(8, 1024, 128),
    Shape(2, 2048, 128),
    Shape(32, 0, 1024),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for. Returns the exit status."""
    options = _parse(arguments)
    if cpu_library() is None:
        print("the CPU kernels are not built: install headrace again", file=sys.stderr)
        return 1
    from kernels.paged_attention import cpu  # importable where the library is

    torch.set_num_threads(1 if options.other else options.threads)
    other = _other_build(options.other) if options.other else None
    for dtype in (torch.float32, torch.bfloat16):
        for shape in SHAPES:
            shared = _inputs(shape, dtype)
            line = _measure(shared, options.seconds, cpu.paged_attention, other)
            if line is None:
                print(f"{shape}, {dtype}: sharing changes bits", file=sys.stderr)
                return 1
            copies = unshare_blocks(shared)
            tiles = {
                "tiles": cpu.num_fetched_tiles(**_arguments(shared)),
                "copies_tiles": cpu.num_fetched_tiles(**_arguments(copies)),
            }
            where = {"dtype": str(dtype), "instruction_set": instruction_set()}
            values = {field.name: getattr(shape, field.name) for field in fields(shape)}
            print(json.dumps(values | where | tiles | line), flush=True)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=2.0, help="for each line")
    parser.add_argument("--other", type=Path, metavar="LIBRARY", help="another libheadrace_cpu.so")
    return parser.parse_args(arguments)


def _inputs(shape: Shape, dtype: torch.dtype) -> PagedAttentionInputs:
    case = PagedAttentionCase(
        name="shared",
        rows=((1, shape.prefix + shape.own),) * shape.num_rows,
        num_heads=16,
        num_kv_heads=8,
        key_dim=128,
        value_dim=128,
    )
    text = SharedText((*range(shape.num_rows),), 0, shape.prefix)
    return share_blocks(case.make_inputs(dtype), [text])


def _arguments(inputs: PagedAttentionInputs) -> dict[str, Any]:
    return {field.name: getattr(inputs, field.name) for field in fields(inputs)}


def _measure(
    inputs: PagedAttentionInputs, seconds: float, attend: Attend, other: Attend | None
) -> dict[str, float] | None:
    """Times and ratios; None if rows have other bits with copies of their keys."""
    shared, copies = _arguments(inputs), _arguments(unshare_blocks(inputs))
    if not torch.equal(attend(**shared), attend(**copies)):
        return None
    variants = {"shared": lambda: attend(**shared), "copies": lambda: attend(**copies)}
    line = _compare(variants, seconds)
    line["ratio"] = line["copies_ms"] / line["shared_ms"]
    if other is not None:
        variants = {"ours": lambda: attend(**copies), "other": lambda: other(**copies)}
        times = _compare(variants, seconds)
        line["other_ratio"] = times["other_ms"] / times["ours_ms"]
    return {name: float(f"{value:.4g}") for name, value in line.items()}


def _compare(variants: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median milliseconds of variants that take turns, three at least; each in turn goes first."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in variants}
    for run in variants.values():
        run()
    stop = time.perf_counter() + seconds
    order = list(variants)
    while time.perf_counter() < stop or min(map(len, times.values())) < 3:
        order.reverse()
        for name in order:
            began = clock()
            variants[name]()
            times[name].append(clock() - began)
    return {f"{name}_ms": 1e3 * statistics.median(values) for name, values in times.items()}


def _other_build(file: Path) -> Attend:
    """paged_attention of another build whose arguments are the same; it computes on one thread."""
    from kernels.paged_attention import cpu

    library = ctypes.CDLL(str(file))
    library.headrace_select.argtypes = [ctypes.c_int64]
    library.headrace_select(supported_instruction_sets().index(instruction_set()))
    function = library.headrace_paged_attention
    function.argtypes = [ctypes.c_void_p]

    def call(values: ctypes.Structure) -> None:
        if function(ctypes.byref(values)) != 0:
            raise RuntimeError(f"{file} refuses what this build computes")

    def attend(**arguments: Any) -> Tensor:
        ours = cpu._call
        cpu._call = call
        try:
            return cpu.paged_attention(**arguments)
        finally:
            cpu._call = ours

    return attend


if __name__ == "__main__":
    sys.exit(main())
