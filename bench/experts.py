"""A mixture's experts, one after the other, beside transformers' grouped product.

    python -m bench.experts [--dtype bfloat16] [--threads 2] [--experts 32]

One JSON line for each number of rows: milliseconds of one layer in the shape of Qwen3-30B-A3B
(width 2,048, inner 768, 8 choices) with `--experts` experts, the median of several runs in turns. A
row chooses at random. On a machine that does other things the ratios still hold, the times do not.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from transformers import Qwen3MoeConfig
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeExperts

from engine.model.experts import Experts
from engine.model.invariant_product import InvariantProduct
from engine.model.packed import pack, packed_product
from engine.model.quantize import QuantizedLinear
from kernels.int8_linear.weight import quantize

_WIDTH, _INNER, _TOP_K = 2048, 768, 8
_ROWS = (1, 4, 16, 64, 256, 1024)
_RUNS = 7


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Time the experts of one layer.")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--experts", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        ways = _ways(getattr(torch, arguments.dtype), arguments.experts)
        for rows in _ROWS:
            print(json.dumps({"rows": rows, **_times(ways, rows, arguments)}), flush=True)


def _ways(dtype: torch.dtype, num_experts: int) -> dict[str, torch.nn.Module]:
    """The same experts in every form."""
    torch.manual_seed(7)
    config = Qwen3MoeConfig(
        hidden_size=_WIDTH, moe_intermediate_size=_INNER, num_experts=num_experts
    )
    config._experts_implementation = "grouped_mm"
    grouped = Qwen3MoeExperts(config).to(dtype)
    for parameter in grouped.parameters():
        torch.nn.init.normal_(parameter, std=_WIDTH**-0.5)
    plain, packed, invariant, int8 = (Experts(copy.deepcopy(grouped)) for _ in range(4))
    for experts in (packed, invariant):
        experts.change_projections(
            lambda each: replace(each, weight=pack(each.weight), multiply=packed_product)
        )
    product = InvariantProduct(packed_product)
    invariant.change_projections(lambda each: replace(each, multiply=product))
    int8.change_projections(lambda each: QuantizedLinear(quantize(each.weight), each.bias))
    return {
        "grouped": grouped, "plain": plain, "packed": packed, "deterministic": invariant,
        "int8": int8,
    }  # fmt: skip


def _times(
    ways: dict[str, torch.nn.Module], rows: int, arguments: argparse.Namespace
) -> dict[str, float]:
    """Milliseconds of each, and how many times as fast as the grouped product packed ones are."""
    x = torch.randn(rows, _WIDTH).to(getattr(torch, arguments.dtype))
    weights, index = torch.rand(rows, arguments.experts).softmax(-1).topk(_TOP_K)
    weights = weights.to(x.dtype)
    runs: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(_RUNS + 1):
        for name, experts in ways.items():
            spent = _time(lambda experts=experts: experts(x, index, weights))
            if number:  # the first run measures which numbers of rows agree
                runs[name].append(spent)
    medians = {name: statistics.median(spent) for name, spent in runs.items()}
    made = {f"{name}_ms": round(spent, 2) for name, spent in medians.items()}
    made["grouped_to_packed"] = round(medians["grouped"] / medians["packed"], 2)
    return made | {"grouped_to_int8": round(medians["grouped"] / medians["int8"], 2)}


def _time(work: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    main()
