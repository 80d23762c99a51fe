"""Products with packed weights beside torch's own, at the shapes of Qwen3-0.6B.

    python -m bench.packed_linear [--dtype bfloat16] [--threads 2]

One JSON line for each number of rows: milliseconds of the four products of a layer and of the head,
the best of several runs in turns, with weights that come from memory as in a model. On a machine
that does other things the ratios still hold, the times do not.
"""

import argparse
import json
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from engine.model.packed import pack, packed_product

_LAYER = ((1024, 4096), (2048, 1024), (1024, 6144), (3072, 1024))  # in, out
_HEAD = ((1024, 151_936),)
_LAYER_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
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
                plain_ms, packed_ms = (
                    sum(column)
                    for column in zip(
                        *(_times(count, weights[shape]) for shape in shapes), strict=True
                    )
                )
                line = {
                    "part": name, "dtype": arguments.dtype, "rows": count,
                    "plain_ms": round(plain_ms, 2), "packed_ms": round(packed_ms, 2),
                    "ratio": round(plain_ms / packed_ms, 2),
                }  # fmt: skip
                print(json.dumps(line), flush=True)


def _weights(shape: tuple[int, int], dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """Copies of one weight, plain and packed."""
    plain = [torch.randn(shape[1], shape[0]).to(dtype) for _ in range(_COPIES)]
    return [(weight, pack(weight)) for weight in plain]


def _times(rows: int, weights: list[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Milliseconds of one product, plain and packed."""
    x = torch.randn(rows, weights[0][0].shape[1]).to(weights[0][0].dtype)
    runs = [
        (
            _best(lambda: [functional.linear(x, plain) for plain, _ in weights]),
            _best(lambda: [packed_product(x, packed) for _, packed in weights]),
        )
        for _ in range(_RUNS)
    ]
    return min(plain for plain, _ in runs) / _COPIES, min(packed for _, packed in runs) / _COPIES


def _best(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    main()
