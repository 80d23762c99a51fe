"""A mixture's experts beside transformers' grouped product.

    python -m bench.experts [--dtype bfloat16] [--threads 2] [--experts 32] [--width 2048] ...

One JSON line for each number of rows: milliseconds of one layer in the shape of Qwen3-30B-A3B
(width 2,048, inner 768, 8 choices), but with 32 experts, the median of several runs in turns. A row
chooses at random. On a machine that does other things the ratios still hold, the times do not.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from transformers import Qwen3MoeConfig
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeExperts

from engine.model.experts import Experts

_ROWS = (1, 4, 16, 64, 256, 1024)
_RUNS = 7


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Time the experts of one layer.")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--experts", type=int, default=32)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--inner", type=int, default=768)
    parser.add_argument("--choices", type=int, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        ways = _ways(arguments)
        for rows in _ROWS:
            print(json.dumps({"rows": rows, **_times(ways, rows, arguments)}), flush=True)


def _ways(arguments: argparse.Namespace) -> dict[str, torch.nn.Module]:
    """The same experts in every form."""
    torch.manual_seed(7)
    config = Qwen3MoeConfig(
        hidden_size=arguments.width,
        moe_intermediate_size=arguments.inner,
        num_experts=arguments.experts,
    )
    config._experts_implementation = "grouped_mm"
    grouped = Qwen3MoeExperts(config).to(getattr(torch, arguments.dtype))
    for parameter in grouped.parameters():
        torch.nn.init.normal_(parameter, std=arguments.width**-0.5)
    ours = Experts(copy.deepcopy(grouped))
    int8 = Experts(copy.deepcopy(grouped), quantization="int8")
    return {"grouped": grouped, "ours": ours, "int8": int8}


def _times(
    ways: dict[str, torch.nn.Module], rows: int, arguments: argparse.Namespace
) -> dict[str, float]:
    """Milliseconds of each, and how many times as fast as the grouped product ours are."""
    x = torch.randn(rows, arguments.width).to(getattr(torch, arguments.dtype))
    weights, index = torch.rand(rows, arguments.experts).softmax(-1).topk(arguments.choices)
    weights = weights.to(x.dtype)
    runs: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(_RUNS + 1):
        for name, experts in ways.items():
            spent = _time(lambda experts=experts: experts(x, index, weights))
            if number:  # the first run is not like the others
                runs[name].append(spent)
    medians = {name: statistics.median(spent) for name, spent in runs.items()}
    made = {f"{name}_ms": round(spent, 2) for name, spent in medians.items()}
    ratios = {f"grouped_to_{name}": medians["grouped"] / medians[name] for name in ("ours", "int8")}
    return made | {name: round(ratio, 2) for name, ratio in ratios.items()}


def _time(work: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    main()
