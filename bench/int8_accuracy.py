"""What int8 weights cost in accuracy: the same greedy requests with and without them.

    python -m bench.int8_accuracy [--model demo] [--dtype float32] [--quantization int8]

The requests are the demo model's held-out suite. Prints one JSON line: how many answers are equal,
after how many tokens the others part (median), and by how much the log probabilities of the
prompts' tokens differ, which are given, so that no difference grows from an earlier one. Whether
answers are right is another question, which `headrace eval` and `eval compare` answer.

Owns: the comparison. Must not know: queues, workers, how weights are rounded.
"""

import argparse
import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from bench.greedy_answers import greedy_answers, num_common, prompt_logprobs
from engine.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig

_CACHE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """The output tokens, and the log probabilities of all prompt tokens but the first."""

    token_ids: list[int]
    prompt_logprobs: npt.NDArray[np.float32]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 always: a difference is a finding, not a failure."""
    options = _parse(arguments)
    plain = _answers(options, None)
    rounded = _answers(options, options.quantization)
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "model": options.model,
        "dtype": options.dtype,
        "quantization": options.quantization,
    }
    sys.stdout.write(json.dumps(about | compare(plain, rounded)) + "\n")
    return 0


def compare(before: Sequence[Answer], after: Sequence[Answer]) -> dict[str, float | int | None]:
    """The figures of the printed line. `logprob_difference` is after minus before, in nats."""
    pairs = list(zip(before, after, strict=True))
    parted = [
        num_common(one.token_ids, other.token_ids)
        for one, other in pairs
        if one.token_ids != other.token_ids
    ]
    first = np.concatenate([one.prompt_logprobs for one, _ in pairs]).astype(np.float64)
    second = np.concatenate([other.prompt_logprobs for _, other in pairs]).astype(np.float64)
    return {
        "requests": len(pairs),
        "equal_answers": len(pairs) - len(parted),
        "equal_share": round(1 - len(parted) / len(pairs), 4),
        "median_tokens_of_answer": statistics.median(len(one.token_ids) for one in before),
        "median_tokens_before_parting": statistics.median(parted) if parted else None,
        "prompt_tokens": len(first),
        "logprob_difference_mean": float(f"{(second - first).mean():.3g}"),
        "logprob_difference_mean_absolute": float(f"{abs(second - first).mean():.3g}"),
        "logprob_difference_largest": float(f"{abs(second - first).max():.3g}"),
        "prompt_perplexity_before": round(math.exp(-first.mean()), 4),
        "prompt_perplexity_after": round(math.exp(-second.mean()), 4),
    }


def _answers(options: argparse.Namespace, quantization: str | None) -> list[Answer]:
    config = EngineConfig(
        model=ModelConfig(
            model=options.model, dtype=options.dtype, device="cpu", quantization=quantization
        ),
        cache=CacheConfig(kv_cache_memory_bytes=_CACHE_BYTES),
        scheduler=SchedulerConfig(max_num_seqs=64),
    )
    requests = greedy_answers(config, per_task=options.per_task, seed=options.seed)
    return [Answer(list(each.output_token_ids), prompt_logprobs(each)) for each in requests]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.int8_accuracy")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--quantization", default="int8", choices=("int8", "w8a8_int8"))
    parser.add_argument("--per-task", type=int, default=30, help="requests of each of nine tasks")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
