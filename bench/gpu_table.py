"""The results of `make bench-gpu` as a page for people.

Owns: bench/RESULTS_GPU.md. What was not measured says so, cell by cell: the page has the same rows
whatever a run got done, and none of its figures comes from anywhere but a run's JSON.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["NOT_MEASURED", "write_table"]

NOT_MEASURED = "not measured"

Results = dict[str, Any]

_OPS = (
    "paged_attention", "write_kv", "rms_norm", "rope", "silu_mul", "gelu_mul", "grouped_linear",
    "sample", "logprobs",
)  # fmt: skip
_DTYPES = ("bfloat16", "float16", "float32")
_KERNELS = (
    *(("paged_attention", name) for name in (
        "decode 64 x 4096", "decode 64 x 4096, fp8 cache", "decode 256 x 1024",
        "decode 256 x 1024, 768 shared",
        "decode 1 x 32768", "prefill 8192", "prefill 8192, fp8 cache", "prefill 4 x 2048",
        "prefill 512 of 8192",
    )),
    *((op, f"{count} tokens") for op in ("write_kv",) for count in (256, 8192)),
    *(("rms_norm", f"{count} x 4096 + residual") for count in (256, 8192)),
    *(("rope", f"{count} x (32 + 8) x 128") for count in (256, 8192)),
    *(("silu_mul", f"{count} x 12288") for count in (256, 8192)),
    *(
        ("grouped_linear", f"{count} rows of 128 experts{whose}")
        for count in (2048, 65536)
        for whose in ("", ", torch's")
    ),
    *(
        ("sample", f"{count} x 151936, {name}")
        for count in (16, 256)
        for name in ("greedy", "plain", "top-k, top-p", "top-p")
    ),
    *(("logprobs", f"{count} x 151936, 5 likeliest") for count in (16, 256)),
)  # fmt: skip
_MODELS = ("Qwen3-0.6B", "Qwen3-8B")
_WORKLOADS = ("W1", "W2", "W3", "W4")


def write_table(results: Results, path: Path) -> None:
    """Write the page for one run's results; for none (an empty dict) every cell is empty."""
    path.write_text("\n\n".join(_parts(results)) + "\n", encoding="utf-8")


def _parts(results: Results) -> list[str]:
    return [
        "# Results on a GPU",
        "Written by `make bench-gpu` from what it measured, and by nothing else. Weights are "
        "random, made on the spot; bfloat16 where nothing else is said.",
        _where(results),
        "## Goals",
        _goals(results),
        "## Kernels against their references",
        "Number of cases, each compared with the reference on the CPU; a kernel that is red in one "
        "is not timed.",
        _checks(results),
        "## Kernels beside the device",
        "Bytes and operations are the fewest that the work needs. Attention and sampling run on an "
        "emptied cache; the others, recorded in a graph, find their inputs in it.",
        _kernels(results),
        "## The engine",
        "All requests at once, to exact lengths, no queue and no HTTP; second run of each. The gap "
        "is how long the device waits between two steps, as a share of the whole.",
        _engine(results),
        "## Decoding alone",
        "The floor is reading weights and KV once at the copy bandwidth.",
        _decode(results),
        "## Beside transformers' continuous batching",
        "The same requests and weights in the same run, with its own defaults.",
        _transformers(results),
    ]


def _where(results: Results) -> str:
    machine = results.get("machine")
    if machine is None:
        return "No run yet: every cell says so."
    limits = results.get("limits", {})
    rates = ", ".join(
        f"{_number(limits.get(f'gemm_{dtype}_tflops'))} TFLOP/s in {dtype}" for dtype in _DTYPES
    )
    return (
        f"{machine['device']}, {results['date']}, torch {machine['torch']}, Triton "
        f"{machine['triton']}, transformers {machine['transformers']}, Python {machine['python']}. "
        f"It copies {_number(limits.get('copy_gbs'))} GB/s (read and written) and multiplies "
        f"8192-square matrices at {rates}. The run took {_number(results.get('seconds'))} s."
    )


def _goals(results: Results) -> str:
    kernels = _by_key(results)
    decode_4k = kernels.get(("paged_attention", "decode 64 x 4096"), {}).get("share_of_copy")
    prefill_8k = kernels.get(("paged_attention", "prefill 8192"), {}).get("share_of_gemm")
    roofline = _find(results, "decode", "Qwen3-8B", "share_of_roofline")
    gaps = [_find(results, "engine", "Qwen3-8B", name, "share_of_gaps") for name in _WORKLOADS]
    known_gaps = [gap for gap in gaps if gap is not None]
    worst_gap = max(known_gaps) if known_gaps else None
    rows = [
        ("decode attention, batch 64 at 4k: share of copy bandwidth", "at least 80%", decode_4k),
        ("prefill attention at 8k: share of the GEMM rate", "at least 50%", prefill_8k),
        ("decoding at batch 256, Qwen3-8B: share of its roofline", "at least 70%", roofline),
        ("host gap, Qwen3-8B, the worst workload: share of a step", "under 5%", worst_gap),
    ]
    shown = [[name, goal, _percent(found)] for name, goal, found in rows]
    for model in _MODELS:
        times = _factor(results, model)
        shown.append([f"{model}, W1: times transformers' batching", "at least 3", times])
    shown.append(["deterministic mode: cost", "under 20%", NOT_MEASURED])
    return _table(["what", "goal", "measured"], shown)


def _checks(results: Results) -> str:
    found = {(each["op"], each["dtype"]): each for each in results.get("checks", [])}
    rows = []
    for op in _OPS:
        cells = []
        for dtype in _DTYPES:
            verdict = found.get((op, dtype))
            if verdict is None:
                cells.append(NOT_MEASURED)
            elif verdict["wrong"] is None:
                cells.append(f"{verdict['num_cases']} equal")
            else:
                cells.append(f"red: {verdict['wrong'].replace('|', '/')}")
        rows.append([op, *cells])
    return _table(["kernel", *_DTYPES], rows)


def _kernels(results: Results) -> str:
    found = _by_key(results)
    rows = []
    for key in _KERNELS:
        line = found.get(key, {})
        rows.append(
            [
                *key,
                _number(line.get("ms")),
                _number(line.get("gbs")),
                _percent(line.get("share_of_copy")),
                _number(line.get("tflops")) if _has_flops(key) else "",
                _percent(line.get("share_of_gemm")) if _has_flops(key) else "",
            ]
        )
    heads = ["kernel", "size", "ms", "GB/s", "of copy", "TFLOP/s", "of GEMM"]
    return _table(heads, rows)


def _engine(results: Results) -> str:
    names = (
        "requests", "prompt_tokens", "cached_tokens", "output_tokens", "wall_s",
        "output_tokens_per_s", "all_tokens_per_s", "median_step_ms",
    )  # fmt: skip
    rows = []
    for model in _MODELS:
        for workload in _WORKLOADS:
            line = _find(results, "engine", model, workload) or {}
            cells = [_number(line.get(name)) for name in names]
            rows.append([model, workload, *cells, _percent(line.get("share_of_gaps"))])
    heads = [
        "model", "workload", "requests", "prompt tokens", "of them cached", "output tokens",
        "wall s", "output tok/s", "all tok/s", "step, p50 ms", "gap",
    ]  # fmt: skip
    return _table(heads, rows)


def _decode(results: Results) -> str:
    names = ("batch", "prompt_tokens", "step_ms", "floor_ms")
    rows = []
    for model in _MODELS:
        line = _find(results, "decode", model) or {}
        cells = [_number(line.get(name)) for name in names]
        tokens = _number(line.get("output_tokens_per_s"))
        rows.append([model, *cells, _percent(line.get("share_of_roofline")), tokens])
    heads = [
        "model",
        "batch",
        "prompt tokens",
        "step ms",
        "floor ms",
        "of roofline",
        "output tok/s",
    ]
    return _table(heads, rows)


def _transformers(results: Results) -> str:
    rows = []
    for model in _MODELS:
        theirs = _find(results, "transformers", model) or {}
        ours = _find(results, "beside_transformers", model) or {}
        cells = [
            _number(theirs.get("requests")),
            _number(theirs.get("output_tokens_per_s")),
            _number(ours.get("output_tokens_per_s")),
            _factor(results, model),
        ]
        reason = _find(results, "skipped", f"transformers {model}")
        rows.append([model, *cells, reason or ""])
    heads = ["model", "requests of W1", "its output tok/s", "ours", "times", "note"]
    return _table(heads, rows)


def _factor(results: Results, model: str) -> str:
    ours = _find(results, "beside_transformers", model, "output_tokens_per_s")
    theirs = _find(results, "transformers", model, "output_tokens_per_s")
    return NOT_MEASURED if not ours or not theirs else f"{ours / theirs:.2f}"


def _by_key(results: Results) -> dict[tuple[str, str], dict[str, Any]]:
    return {(line["op"], line["name"]): line for line in results.get("kernels", [])}


def _has_flops(key: tuple[str, str]) -> bool:
    return key[0] == "paged_attention"


def _find(results: Results, *path: str) -> Any:
    """What lies there, None if a run did not come that far."""
    value: Any = results
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _number(value: float | None) -> str:
    if value is None:
        return NOT_MEASURED
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _percent(share: float | None) -> str:
    return NOT_MEASURED if share is None else f"{share:.1%}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
