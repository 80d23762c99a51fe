"""How often a continuation on another worker differs from the answer without an interruption.

    python -m bench.handover [--dtypes float32 bfloat16] [--prompts 48] [--tokens 64]

A worker that is stopped hands its tokens over, and the next one computes their KV as a prompt:
other shapes, so other roundings. Prints one JSON line for each dtype: continuations, how many
differ from the whole answer, and after how many tokens they part at the earliest.

Owns: the comparison. Must not know: queues, workers.
"""

import argparse
import json
import os
import platform
import random
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from bench.greedy_answers import num_common, run_together
from engine.build import EngineParts, build_engine
from engine.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig
from engine.request import Request, SamplingParams, StopRules

_CACHE_BYTES = 64 << 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 always: a difference is a finding, not a failure."""
    options = _parse(arguments)
    for dtype in options.dtypes:
        sys.stdout.write(json.dumps(_measure(dtype, options)) + "\n")
        sys.stdout.flush()
    return 0


def _measure(dtype: str, options: argparse.Namespace) -> dict[str, object]:
    config = EngineConfig(
        model=ModelConfig(model=options.model, dtype=dtype, device="cpu"),
        cache=CacheConfig(kv_cache_memory_bytes=_CACHE_BYTES, enable_prefix_caching=False),
        scheduler=SchedulerConfig(max_num_seqs=16),
    )
    parts = build_engine(config)
    dice = random.Random(options.seed)
    prompts = [
        [dice.randrange(3, parts.info.vocab_size) for _ in range(dice.randint(4, 60))]
        for _ in range(options.prompts)
    ]
    num_checked, parted_after = 0, []
    for temperature in (0.0, 0.8):
        whole = _run(parts, prompts, [[] for _ in prompts], options.tokens, temperature)
        cuts = [dice.randrange(1, options.tokens) for _ in prompts]
        done = [tokens[:cut] for tokens, cut in zip(whole, cuts, strict=True)]
        again = _run(parts, prompts, done, options.tokens, temperature)
        num_checked += len(prompts)
        for first, second, cut in zip(whole, again, cuts, strict=True):
            if first != second:
                parted_after.append(num_common(first, second) - cut)
    parts.core.shutdown()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": round(os.getloadavg()[0], 1),
        "model": options.model,
        "dtype": parts.info.dtype,
        "continuations": num_checked,
        "different": len(parted_after),
        "earliest_difference_after_tokens": min(parted_after, default=None),
    }


def _run(
    parts: EngineParts,
    prompts: Sequence[list[int]],
    done: Sequence[list[int]],
    num_tokens: int,
    temperature: float,
) -> list[list[int]]:
    """The output tokens of all prompts, computed together, from `done` onwards."""
    requests = [
        Request(
            request_id=str(number),
            prompt_token_ids=prompt,
            output_token_ids=list(tokens),
            sampling=SamplingParams(temperature=temperature, seed=number),
            stop=StopRules(max_tokens=num_tokens),
        )
        for number, (prompt, tokens) in enumerate(zip(prompts, done, strict=True))
    ]
    run_together(parts.core, requests)
    return [list(request.output_token_ids) for request in requests]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.handover")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
