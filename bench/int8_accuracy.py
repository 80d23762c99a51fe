"""What int8 weights cost in accuracy: the same greedy requests with and without them.

    python -m bench.int8_accuracy [--model demo] [--dtype float32] [--per-task 30]

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
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.build import EngineParts, build_engine
from engine.chat_template import ChatOptions
from engine.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig
from engine.logprobs import LogprobRecord
from engine.request import Request, SamplingParams, StopRules
from jobs.evals.demo.suite import held_out_rows

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
    rounded = _answers(options, "int8")
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "model": options.model,
        "dtype": options.dtype,
    }
    sys.stdout.write(json.dumps(about | compare(plain, rounded)) + "\n")
    return 0


def compare(before: Sequence[Answer], after: Sequence[Answer]) -> dict[str, float | int | None]:
    """The figures of the printed line. `logprob_difference` is after minus before, in nats."""
    pairs = list(zip(before, after, strict=True))
    parted = [
        _common(one.token_ids, other.token_ids)
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
    parts = build_engine(
        EngineConfig(
            model=ModelConfig(
                model=options.model, dtype=options.dtype, device="cpu", quantization=quantization
            ),
            cache=CacheConfig(kv_cache_memory_bytes=_CACHE_BYTES),
            scheduler=SchedulerConfig(max_num_seqs=64),
        )
    )
    requests = [
        _request(parts, row.custom_id, row.body)
        for row in held_out_rows(options.per_task, seed=options.seed)
    ]
    for request in requests:
        parts.core.add(request)
    while parts.core.has_work:
        parts.core.step()
    parts.core.shutdown()
    return [_answer(request) for request in requests]


def _request(parts: EngineParts, name: str, body: dict[str, Any]) -> Request:
    chat_options = ChatOptions(kwargs=body.get("chat_template_kwargs", {}))
    text = parts.chat_template.render(body["messages"], body.get("tools"), options=chat_options)
    request = Request(
        request_id=name,
        prompt_token_ids=parts.tokenizer.encode_prompt(text),
        sampling=SamplingParams(temperature=0.0),
        stop=StopRules(max_tokens=body["max_tokens"], eos_token_ids=parts.info.eos_token_ids),
    )
    request.logprobs = LogprobRecord(first_token=1, num_top=0)
    return request


def _answer(request: Request) -> Answer:
    if request.error is not None or request.logprobs is None:
        raise SystemExit(f"{request.request_id} failed: {request.error}")
    scored = request.logprobs.rows().part(1, len(request.prompt_token_ids))
    return Answer(list(request.output_token_ids), scored.logprobs)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """Tokens before the first difference."""
    for position, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return position
    return min(len(first), len(second))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.int8_accuracy")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--per-task", type=int, default=30, help="requests of each of nine tasks")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
