"""Times the CPU kernels against their references, torch's own operations and the machine's limits.

    python -m bench.kernels [--threads N] [--only NAME] [--seconds S] [--least] > lines.jsonl

Each line is one JSON object. The first tells the machine's limits: reading bandwidth over memory
that no cache holds, and the rate of float32 matrix products. An op is timed only if it passes all
of its cases first; a red one is named, nothing of it is timed, and the exit status is 1. Variants
of one measurement take turns, and medians are given, so that ratios within a line hold on a machine
that others use too; where others use all of it, `--least` gives the fastest call of each instead.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor

from kernels.cpu_library import instruction_set
from kernels.decoder_layers.cases import CASES as DECODERS
from kernels.decoder_layers.cases import tolerance_of, with_own_caches
from kernels.decoder_layers.reference import decoder_layers as decoder_reference
from kernels.float8 import FLOAT8
from kernels.paged_attention.cases import PagedAttentionCase
from kernels.panel_linear.int8 import quantize
from kernels.panel_linear.weight import from_panels
from kernels.registry import available, resolve
from kernels.tolerance import DTYPES

PACKAGES = {
    "paged_attention": "kernels.paged_attention",
    "write_kv": "kernels.kv_cache",
    "rms_norm": "kernels.rms_norm",
    "rope": "kernels.rope",
    "silu_mul": "kernels.activation",
    "gelu_mul": "kernels.activation",
    "grouped_linear": "kernels.grouped_linear",
    "panel_linear": "kernels.panel_linear",
}
# New tokens and tokens after the step of each row, with the heads of Qwen3-0.6B.
ATTENTION = {
    "decode 64 x 1024": ((1, 1024),) * 64,
    "decode 256 x 128": ((1, 128),) * 256,
    "decode 1 x 32768": ((1, 32768),),
    "decode 1 x 16384 + 31 x 512": ((1, 16384), *((1, 512),) * 31),
    "prefill 1024": ((1024, 1024),),
    "prefill 256 of 4096": ((256, 4096),),
}
NUM_TOKENS = (64, 512)
# Inputs and outputs of the linear layers of Qwen3-0.6B, query, key, value and gate, up merged; the
# LM head last.
LINEAR = ((1024, 4096), (2048, 1024), (1024, 6144), (3072, 1024), (1024, 151_936))
NUM_ROWS = (1, 8, 32, 128, 1024)
# Larger products of one variant take seconds, and say nothing new.
MOST_FLOPS = 5e10
MOST_PACK_FLOPS = 5e8


@dataclass(frozen=True, slots=True)
class Task:
    """What is timed: the variants take turns. `num_bytes` are read and written, `flops` computed by
    each call of a variant.
    """

    op: str
    name: str
    variants: Mapping[str, Callable[[], object]]
    num_bytes: int
    flops: int = 0


def main() -> int:
    """Runs what the command line asks for. Returns the exit status."""
    options = _parse_options()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with torch.inference_mode():
        limits = _measure_limits()
        _print_line(instruction_set=instruction_set(), threads=options.threads, **limits)
        red = [op for op in PACKAGES if options.only in op and not _passes(op)]
        if options.only in "decoder_layers" and not _decoders_pass():
            red.append("decoder_layers")
        for op in red:
            _print_line(op=op, red=True)
        for task in _tasks(options.only, red):
            _print_line(**_measure(task, options, limits["read_gbs"]))
    return 1 if red else 0


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", default="", help="ops whose names contain this")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each line")
    parser.add_argument("--least", action="store_true", help="the fastest call, not the median")
    return parser.parse_args()


def _print_line(**values: object) -> None:
    rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps(rounded), flush=True)


def _arguments(inputs: Any) -> dict[str, Any]:
    return {field.name: getattr(inputs, field.name) for field in fields(inputs)}


def _reference(op: str) -> Callable[..., Any]:
    spelled_out: Callable[..., Any] = getattr(import_module(f"{PACKAGES[op]}.reference"), op)
    return spelled_out


def _fast(op: str) -> Callable[..., Any]:
    return resolve(op, "cpu")  # type: ignore[call-overload, no-any-return]


def _passes(op: str) -> bool:
    """Whether the op agrees with its reference in all of its cases."""
    module = import_module(f"{PACKAGES[op]}.cases")
    for case in module.CASES:
        for dtype in DTYPES:
            ours, theirs = case.make_inputs(dtype), case.make_inputs(dtype)
            outputs = _fast(op)(**_arguments(ours))
            expected = _reference(op)(**_arguments(theirs))
            if op == "write_kv":
                outputs = ours.key_cache.float(), ours.value_cache.float()
                expected = theirs.key_cache.float(), theirs.value_cache.float()
            if isinstance(outputs, Tensor):
                outputs, expected = (outputs,), (expected,)
            for output, wanted in zip(outputs, expected, strict=True):
                try:
                    if op == "write_kv":
                        torch.testing.assert_close(output, wanted, rtol=0, atol=0, equal_nan=True)
                    else:
                        module.TOLERANCES[dtype].check(output, wanted)
                except AssertionError as error:
                    print(f"{op} is red in {case.name}, {dtype}: {error}", file=sys.stderr)
                    return False
    return True


def _decoders_pass() -> bool:
    """`_passes` for "decoder_layers", whose steps follow each other; the ops in it are timed."""
    for case in DECODERS:
        layers = case.make_layers()
        slow = decoder_reference(with_own_caches(layers), num_heads=case.num_heads)
        fast = resolve("decoder_layers", "cpu")(layers, num_heads=case.num_heads)
        for step in case.make_steps():
            made, expected = (
                each(x, step.cos, step.sin, step.tables) + x
                for each, x in ((fast, step.x.clone()), (slow, step.x.clone()))
            )
            try:
                tolerance_of(case).check(made, expected)
            except AssertionError as error:
                print(f"decoder_layers is red in {case.name}: {error}", file=sys.stderr)
                return False
    return True


def _measure_limits() -> dict[str, float]:
    much = torch.ones(2**28)
    square = torch.randn(1024, 1024)
    times = _take_turns({"read": much.sum, "product": lambda: square @ square}, 1.0)
    return {
        "read_gbs": much.nbytes / times["read"] / 1e9,
        "float32_tflops": 2 * 1024**3 / times["product"] / 1e12,
    }


def _take_turns(
    variants: Mapping[str, Callable[[], object]],
    seconds: float,
    pick: Callable[[list[float]], float] = statistics.median,
) -> dict[str, float]:
    """What `pick` takes of the times of each variant in seconds. Each runs three times at least."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for run in variants.values():
        run()
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or min(map(len, times.values())) < 3:
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: pick(values) for name, values in times.items()}


def _measure(task: Task, options: argparse.Namespace, read_gbs: float) -> dict[str, object]:
    pick = min if options.least else statistics.median
    times = _take_turns(task.variants, options.seconds, pick)
    ours = times["ours"]
    line: dict[str, object] = {
        "op": task.op,
        "name": task.name,
        "implementation": available("cpu")[task.op],
        **{f"{name}_ms": value * 1e3 for name, value in times.items()},
        **{f"{name}_ratio": value / ours for name, value in times.items() if name != "ours"},
        "gbs": task.num_bytes / ours / 1e9,
        "share_of_read": task.num_bytes / ours / 1e9 / read_gbs,
    }
    return line | {"tflops": task.flops / ours / 1e12} if task.flops else line


def _tasks(only: str, red: list[str]) -> Iterator[Task]:
    if "paged_attention" not in red and only in "paged_attention":
        for name, rows in ATTENTION.items():
            yield _attention_task(name, rows)
            yield _float8_task(name, rows)
    if "panel_linear" not in red and only in "panel_linear":
        for num_inputs, num_outputs in LINEAR:
            yield from _panel_linear_tasks(num_inputs, num_outputs)
    for make in (_write_kv_task, _rms_norm_task, _rope_task, _gated_task):
        for num_tokens in NUM_TOKENS:
            task = make(num_tokens)
            if task.op not in red and only in task.op:
                yield task


def _attention_task(name: str, rows: tuple[tuple[int, int], ...]) -> Task:
    """Three copies of the cache take turns, so that it comes from memory as in a model of many
    layers. torch's attention gets keys and values that have been gathered for it beforehand.
    """
    case = _attention_case(name, rows)
    attend = _fast("paged_attention")
    variants = {
        "ours": _over_copies(attend, case, torch.bfloat16),
        "reference": _over_copies(_reference("paged_attention"), case, torch.bfloat16),
    }
    if len(set(case.rows)) == 1:
        variants["sdpa"] = _sdpa(case)
    return Task("paged_attention", f"{name}, bfloat16", variants, *_needs(case, element_bytes=2))


def _float8_task(name: str, rows: tuple[tuple[int, int], ...]) -> Task:
    """A cache of 8-bit floats beside one of the query's dtype."""
    plain = _attention_case(name, rows)
    case = replace(plain, cache_dtype=FLOAT8)
    attend = _fast("paged_attention")
    variants = {
        "ours": _over_copies(attend, case, torch.bfloat16),
        "bfloat16": _over_copies(attend, plain, torch.bfloat16),
    }
    label = f"{name}, bfloat16 over an fp8 cache"
    return Task("paged_attention", label, variants, *_needs(case, element_bytes=1))


def _attention_case(name: str, rows: tuple[tuple[int, int], ...]) -> PagedAttentionCase:
    return PagedAttentionCase(
        name=name, rows=rows, num_heads=16, num_kv_heads=8, key_dim=128, value_dim=128
    )


def _over_copies(
    attend: Callable[..., object], case: PagedAttentionCase, dtype: torch.dtype
) -> Callable[[], object]:
    inputs = case.make_inputs(dtype)
    copies = [
        _arguments(inputs)
        | {"key_cache": inputs.key_cache.clone(), "value_cache": inputs.value_cache.clone()}
        for _ in range(3)
    ]
    turn = iter(range(10**9))
    return lambda: attend(**copies[next(turn) % 3])


def _needs(case: PagedAttentionCase, *, element_bytes: int) -> tuple[int, int]:
    """Bytes of the cache that are read, and operations."""
    width = case.key_dim + case.value_dim
    num_keys = sum(seq_len for _, seq_len in case.rows)
    num_pairs = sum(n * s - n * (n - 1) // 2 for n, s in case.rows)
    return (
        element_bytes * num_keys * case.num_kv_heads * width,
        2 * num_pairs * case.num_heads * width,
    )


def _sdpa(case: PagedAttentionCase) -> Callable[[], Tensor]:
    num_new, seq_len = case.rows[0]
    rows = len(case.rows)
    query = torch.randn(rows, case.num_heads, num_new, case.key_dim).bfloat16()
    key, value = torch.randn(2, rows, case.num_kv_heads, seq_len, case.key_dim).bfloat16()
    mask = None
    if 1 < num_new < seq_len:
        mask = torch.ones(num_new, seq_len, dtype=torch.bool).tril(seq_len - num_new)
    is_causal = num_new == seq_len > 1
    return lambda: nnf.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=is_causal, enable_gqa=True
    )


def _write_kv_task(num_tokens: int) -> Task:
    key, value = torch.randn(2, num_tokens, 8, 128).bfloat16()
    cache = torch.zeros(2, 4096, 16, 8, 128, dtype=torch.bfloat16)
    slots = torch.randperm(4096 * 16)[:num_tokens]
    given = (key, value, cache[0], cache[1], slots)
    variants = {
        "ours": lambda: _fast("write_kv")(*given),
        "reference": lambda: _reference("write_kv")(*given),
    }
    return Task("write_kv", f"{num_tokens} tokens, bfloat16", variants, 4 * key.nbytes)


def _rms_norm_task(num_tokens: int) -> Task:
    x, residual = torch.randn(2, num_tokens, 1024).bfloat16()
    weight = torch.rand(1024).bfloat16()
    norm = _fast("rms_norm")

    def torch_norm() -> Tensor:
        return nnf.rms_norm(residual.add_(x), (1024,), weight, 1e-6)

    variants = {
        "ours": lambda: norm(x, weight, 1e-6, residual),
        "reference": lambda: _reference("rms_norm")(x, weight, 1e-6, residual),
        "torch": torch_norm,
    }
    return Task("rms_norm", f"{num_tokens} x 1024 + residual, bfloat16", variants, 4 * x.nbytes)


def _rope_task(num_tokens: int) -> Task:
    query, key = (torch.randn(num_tokens, heads, 128).bfloat16() for heads in (16, 8))
    cos, sin = torch.randn(2, num_tokens, 128).bfloat16()
    turn = _fast("rope")

    def halves(x: Tensor) -> Tensor:
        return torch.cat((-x[..., 64:], x[..., :64]), dim=-1)

    def torch_rope() -> tuple[Tensor, Tensor]:
        wide_cos, wide_sin = cos[:, None], sin[:, None]
        turned_query = query * wide_cos + halves(query) * wide_sin
        return turned_query, key * wide_cos + halves(key) * wide_sin

    variants = {
        "ours": lambda: turn(query, key, cos, sin),
        "reference": lambda: _reference("rope")(query, key, cos, sin),
        "torch": torch_rope,
    }
    num_bytes = 2 * (query.nbytes + key.nbytes)
    return Task("rope", f"{num_tokens} x (16 + 8) x 128, bfloat16", variants, num_bytes)


def _gated_task(num_tokens: int) -> Task:
    gate, up = torch.randn(num_tokens, 2 * 3072).bfloat16().chunk(2, dim=-1)
    activate = _fast("silu_mul")
    variants = {
        "ours": lambda: activate(gate, up),
        "reference": lambda: _reference("silu_mul")(gate, up),
        "torch": lambda: nnf.silu(gate) * up,
    }
    return Task("silu_mul", f"{num_tokens} x 3072, bfloat16", variants, 3 * gate.nbytes)


def _panel_linear_tasks(num_inputs: int, num_outputs: int) -> Iterator[Task]:
    """Beside float32's product: what else multiplies with int8 weights, as far as it takes no
    longer.
    """
    weight = torch.randn(num_outputs, num_inputs) * num_inputs**-0.5
    ours = quantize(weight)
    assert ours.scales is not None
    integers, scales = from_panels(ours.panels[0], num_outputs), ours.scales[0]
    pack = torch.ops.aten._weight_int8pack_mm

    def dequantized(x: Tensor) -> Tensor:
        return nnf.linear(x, integers * scales[:, None])

    for rows in NUM_ROWS:
        flops = 2 * rows * num_inputs * num_outputs
        if flops > MOST_FLOPS:
            continue
        x = torch.randn(rows, num_inputs)
        variants: dict[str, Callable[[], object]] = {
            "ours": partial(_fast("panel_linear"), x, ours),
            "float32": partial(nnf.linear, x, weight),
            "dequantized": partial(dequantized, x),
        }
        if flops <= MOST_PACK_FLOPS:
            variants["torch_int8pack"] = partial(pack, x, integers, scales)
        name = f"{rows} x {num_inputs} -> {num_outputs}, float32, int8 weights"
        yield Task("panel_linear", name, variants, ours.num_bytes + 4 * x.nbytes, flops)


if __name__ == "__main__":
    sys.exit(main())
