"""Products with packed weights beside torch's own, deterministic ones and weights in panels, at
Qwen3-0.6B's shapes.

    python -m bench.packed_linear [--dtype bfloat16] [--threads 2]

One JSON line for each number of rows: milliseconds of the four products of a layer and of the head,
the best of several runs in turns, with weights that come from memory as in a model. Weights in
panels are bfloat16, whatever the dtype; for bfloat16 they are in AMX's tiles, where there are some.
On a machine that does other things the ratios still hold,
the times do not.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.model.invariant_product import InvariantProduct
from engine.model.packed import pack, packed_product
from kernels.cpu_library import multiplies_tiles
from kernels.panel_linear.weight import PanelWeights, to_panels, to_tiles
from kernels.registry import resolve

_LAYER = ((1024, 4096), (2048, 1024), (1024, 6144), (3072, 1024))  # in, out
_HEAD = ((1024, 151_936),)
_LAYER_ROWS = (1, 2, 8, 16, 32, 64, 100, 128, 256, 512, 1024, 2048)
_HEAD_ROWS = (1, 8, 32, 64)
_COPIES = 3  # of a weight, so that none of them is in a cache
_RUNS = 9


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Time products with packed weights.")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    dtype: torch.dtype = getattr(torch, arguments.dtype)
    with torch.inference_mode():
        for name, shapes, rows in (("layer", _LAYER, _LAYER_ROWS), ("head", _HEAD, _HEAD_ROWS)):
            weights = {shape: _weights(shape, dtype) for shape in shapes}
            for count in rows:
                each = [_times(count, weights[shape]) for shape in shapes]
                plain_ms, packed_ms, invariant_ms, panels_ms = map(sum, zip(*each, strict=True))
                line = {
                    "part": name, "dtype": arguments.dtype, "rows": count,
                    "plain_ms": round(plain_ms, 2), "packed_ms": round(packed_ms, 2),
                    "deterministic_ms": round(invariant_ms, 2), "panels_ms": round(panels_ms, 2),
                    "plain_to_packed": round(plain_ms / packed_ms, 2),
                    "deterministic_to_packed": round(invariant_ms / packed_ms, 2),
                    "packed_to_panels": round(packed_ms / panels_ms, 2),
                }  # fmt: skip
                print(json.dumps(line), flush=True)


@dataclass(frozen=True, slots=True)
class _Weight:
    plain: Tensor
    packed: Tensor
    panels: PanelWeights


def _weights(shape: tuple[int, int], dtype: torch.dtype) -> list[_Weight]:
    """Copies of one weight."""
    plain = [torch.randn(shape[1], shape[0]).to(dtype) for _ in range(_COPIES)]
    return [_Weight(each, pack(each), _in_panels(each)) for each in plain]


def _in_panels(weight: Tensor) -> PanelWeights:
    if weight.dtype == torch.bfloat16 and multiplies_tiles():
        return to_tiles(weight[None])
    return to_panels(weight[None], torch.bfloat16)


def _times(rows: int, weights: list[_Weight]) -> tuple[float, ...]:
    """Milliseconds of one product: plain, packed, packed and deterministic, in panels."""
    x = torch.randn(rows, weights[0].plain.shape[1]).to(weights[0].plain.dtype)
    invariant = InvariantProduct(packed_product)
    in_panels = resolve("panel_linear", "cpu")
    ways: tuple[Callable[[], object], ...] = (
        lambda: [functional.linear(x, weight.plain) for weight in weights],
        lambda: [packed_product(x, weight.packed) for weight in weights],
        lambda: [invariant(x, weight.packed) for weight in weights],
        lambda: [in_panels(x, weight.panels) for weight in weights],
    )
    ways[2]()  # measures which numbers of rows agree
    runs = [[_time(way) for way in ways] for _ in range(_RUNS)]
    return tuple(min(times) / _COPIES for times in zip(*runs, strict=True))


def _time(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    main()
