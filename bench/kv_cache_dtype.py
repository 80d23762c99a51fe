"""What a KV cache of 8-bit floats costs in accuracy.

    python -m bench.kv_cache_dtype [--model demo] [--dtype float32] [--per-task 20] [--tokens 128]

The same greedy requests, the demo model's held-out ones, with `--kv-cache-dtype auto` and `fp8`.
Prints JSON lines: the machine; how many answers are the same and after how many tokens the others
part; by how much the log probabilities of the prompts' tokens differ (the same tokens come before
each of them in both, so nothing adds up); the error of attention alone for some widths of heads,
beside that of a cache in bfloat16.

Owns: the comparison. Must not know: queues, how numbers are stored.
"""

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from bench.greedy_answers import greedy_answers, num_common, prompt_logprobs
from engine.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig
from engine.request import Request
from kernels.cpu_library import instruction_set
from kernels.float8 import FLOAT8, as_stored
from kernels.paged_attention.cases import PagedAttentionCase, PagedAttentionInputs
from kernels.paged_attention.reference import paged_attention

__all__ = ["compare_answers", "compare_attention", "compare_logprobs", "main"]

_CACHE_BYTES = 128 << 20
_HEAD_DIMS = (32, 48, 64, 128, 256)
Line = dict[str, object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 always: a difference is a finding, not a failure."""
    options = _parse(arguments)
    _print(
        {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {instruction_set()}",
            "load": round(os.getloadavg()[0], 1),
        }
    )
    runs = [_run(name, options) for name in ("auto", "fp8")]
    about: Line = {"model": options.model, "dtype": options.dtype}
    _print(about | compare_answers(*([x.output_token_ids for x in run] for run in runs)))
    _print(about | compare_logprobs(*(_all_logprobs(run) for run in runs)))
    for head_dim in _HEAD_DIMS:
        _print(compare_attention(head_dim))
    return 0


def compare_answers(plain: Sequence[Sequence[int]], stored: Sequence[Sequence[int]]) -> Line:
    """Output tokens of the same requests: the share of equal answers, and how many tokens the
    others have in common at the start.
    """
    common = [
        num_common(first, second)
        for first, second in zip(plain, stored, strict=True)
        if first != second
    ]
    return {
        "what": "answers",
        "requests": len(plain),
        "tokens": sum(map(len, plain)),
        "median_tokens_of_an_answer": statistics.median(map(len, plain)),
        "equal_share": 1 - len(common) / len(plain),
        "median_tokens_before_the_first_difference": statistics.median(common) if common else None,
    }


def compare_logprobs(plain: Sequence[float], stored: Sequence[float]) -> Line:
    """Natural logarithms of the same tokens; `mean_change` below 0: tokens became less likely."""
    before, change = np.array(plain), np.array(stored) - np.array(plain)
    return {
        "what": "log probabilities of prompt tokens",
        "tokens": len(before),
        "mean": float(before.mean()),
        "mean_change": float(change.mean()),
        "mean_difference": float(abs(change).mean()),
        "p99_difference": float(np.quantile(abs(change), 0.99)),
        "largest_difference": float(abs(change).max()),
    }


def compare_attention(head_dim: int) -> Line:
    """Relative errors (of norms) over 512 normally distributed keys and values, in float32
    otherwise.
    """
    case = PagedAttentionCase(
        name="error", rows=((64, 512),) * 4, key_dim=head_dim, value_dim=head_dim
    )
    exact = case.make_inputs(torch.float32)
    expected = _attend(exact)
    line: Line = {"what": "attention", "head_dim": head_dim}
    for name, dtype in (("fp8", FLOAT8), ("bfloat16", torch.bfloat16)):
        rounded = replace(
            exact,
            key_cache=as_stored(exact.key_cache, dtype).float(),
            value_cache=as_stored(exact.value_cache, dtype).float(),
        )
        error = _attend(rounded) - expected
        line[f"{name}_error"] = float(error.norm() / expected.norm())
    return line


def _attend(inputs: PagedAttentionInputs) -> Tensor:
    return paged_attention(**{each.name: getattr(inputs, each.name) for each in fields(inputs)})


def _run(kv_cache_dtype: str, options: argparse.Namespace) -> list[Request]:
    """All requests, finished, computed together."""
    config = EngineConfig(
        model=ModelConfig(model=options.model, dtype=options.dtype, device="cpu"),
        cache=CacheConfig(
            kv_cache_memory_bytes=_CACHE_BYTES,
            kv_cache_dtype=kv_cache_dtype,
            enable_prefix_caching=False,
        ),
        scheduler=SchedulerConfig(max_num_seqs=32),
    )
    return greedy_answers(
        config, per_task=options.per_task, seed=options.seed, max_tokens=options.tokens
    )


def _all_logprobs(requests: Sequence[Request]) -> list[float]:
    return list(chain.from_iterable(prompt_logprobs(each).tolist() for each in requests))


def _print(line: Line) -> None:
    rounded = {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in line.items()}
    sys.stdout.write(json.dumps(rounded) + "\n")
    sys.stdout.flush()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.kv_cache_dtype")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--per-task", type=int, default=20, help="requests of each of nine tasks")
    parser.add_argument("--tokens", type=int, default=128, help="of an answer, at most")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
