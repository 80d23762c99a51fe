"""Kernels timed beside what the device can do.

Owns: which sizes, and the bytes and operations that each needs at least. Must not know: engines.
Sizes are those of Qwen3-8B: 32 query heads over 8 KV heads of 128, 4,096 wide; grouped layers are
the first of Qwen3-30B-A3B's experts, beside torch's own product.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bench.gpu_checks import runs_on
from bench.gpu_timing import Limits, median_ms
from kernels.float8 import FLOAT8
from kernels.paged_attention.cases import PagedAttentionCase
from kernels.registry import resolve
from kernels.sampling import SamplingTensors

__all__ = ["FULL", "TINY", "Sizes", "time_kernels"]

_DTYPE = torch.bfloat16


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What is timed; `attention` maps a name to the new tokens and all tokens of each row."""

    attention: dict[str, tuple[tuple[int, int], ...]]
    shared: dict[str, int]  # of these, how many tokens all rows have in common
    float8_attention: tuple[str, ...]  # names of those also timed over a cache of 8-bit floats
    num_tokens: tuple[int, ...] = (256, 8192)
    sampled_rows: tuple[int, ...] = (16, 256)
    vocab_size: int = 151_936
    num_heads: int = 32
    num_kv_heads: int = 8
    head_dim: int = 128
    hidden_size: int = 4096
    inner_size: int = 12_288
    num_experts: int = 128
    num_choices: int = 8
    expert_inputs: int = 2048
    expert_outputs: int = 1536


FULL = Sizes(
    attention={
        "decode 64 x 4096": ((1, 4096),) * 64,
        "decode 256 x 1024": ((1, 1024),) * 256,
        "decode 256 x 1024, 768 shared": ((1, 1024),) * 256,
        "decode 1 x 32768": ((1, 32768),),
        "prefill 8192": ((8192, 8192),),
        "prefill 4 x 2048": ((2048, 2048),) * 4,
        "prefill 512 of 8192": ((512, 8192),),
    },
    shared={"decode 256 x 1024, 768 shared": 768},
    float8_attention=("decode 64 x 4096", "prefill 8192"),
)
TINY = Sizes(
    attention={"decode 2 x 32": ((1, 32),) * 2, "prefill 16": ((16, 16),)},
    shared={"decode 2 x 32": 16},
    float8_attention=("decode 2 x 32",),
    num_tokens=(4,),
    sampled_rows=(2,),
    vocab_size=997,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    hidden_size=64,
    inner_size=96,
    num_experts=4,
    num_choices=2,
    expert_inputs=16,
    expert_outputs=24,
)


@dataclass(frozen=True, slots=True)
class _Task:
    """`num_bytes` are moved at least by a call, `flops` computed."""

    op: str
    name: str
    run: Callable[[], object]
    num_bytes: int
    flops: int = 0
    is_small: bool = True


def time_kernels(
    device: torch.device, limits: Limits, sizes: Sizes, red: set[str]
) -> Iterator[dict[str, Any]]:
    """A line for each measurement, of the ops that are not `red`."""
    for make in (_attention, _write_kv, _rms_norm, _rope, _activation, _grouped, _sampling):
        for task in make(device, sizes):
            if task.op in red:
                continue
            ms = median_ms(task.run, device, is_small=task.is_small)
            gbs = task.num_bytes / ms / 1e6
            line = {
                "op": task.op,
                "name": task.name,
                "ms": ms,
                "gbs": gbs,
                "share_of_copy": gbs / limits["copy_gbs"],
            }
            if task.flops:
                tflops = task.flops / ms / 1e9
                share = tflops / limits["gemm_bfloat16_tflops"]
                line |= {"tflops": tflops, "share_of_gemm": share}
            yield line


def _attention_cases(device: torch.device, sizes: Sizes) -> Iterator[PagedAttentionCase]:
    for name, rows in sizes.attention.items():
        case = PagedAttentionCase(
            name=name,
            rows=rows,
            num_heads=sizes.num_heads,
            num_kv_heads=sizes.num_kv_heads,
            key_dim=sizes.head_dim,
            value_dim=sizes.head_dim,
            num_shared=sizes.shared.get(name, 0),
        )
        yield case
        in_eight_bits = replace(case, name=f"{name}, fp8 cache", cache_dtype=FLOAT8)
        if name in sizes.float8_attention and runs_on(in_eight_bits, device):
            yield in_eight_bits


def _attention(device: torch.device, sizes: Sizes) -> Iterator[_Task]:
    attend = resolve("paged_attention", device)
    width = sizes.head_dim
    for case in _attention_cases(device, sizes):
        rows = case.rows
        inputs = case.make_inputs(_DTYPE)
        moved = {
            field.name: value.to(device) if isinstance(value, Tensor) else value
            for field in fields(inputs)
            for value in [getattr(inputs, field.name)]
        }
        num_keys = sum(seq_len for _, seq_len in rows) - case.num_shared * (len(rows) - 1)
        num_new = sum(new for new, _ in rows)
        num_pairs = sum(new * length - new * (new - 1) // 2 for new, length in rows)
        element_bytes = inputs.key_cache.element_size()
        cache_bytes = 2 * num_keys * sizes.num_kv_heads * width * element_bytes
        yield _Task(
            "paged_attention",
            case.name,
            lambda moved=moved: attend(**moved),  # type: ignore[misc]
            num_bytes=2 * num_new * sizes.num_heads * width * _DTYPE.itemsize + cache_bytes,
            flops=4 * num_pairs * sizes.num_heads * width,
            is_small=False,
        )


def _write_kv(device: torch.device, sizes: Sizes) -> Iterator[_Task]:
    write = resolve("write_kv", device)
    for count in sizes.num_tokens:
        shape = (count, sizes.num_kv_heads, sizes.head_dim)
        key, value = (torch.randn(shape, device=device).to(_DTYPE) for _ in range(2))
        caches = torch.zeros(2, -(-count // 16), 16, *shape[1:], dtype=_DTYPE, device=device)
        slots = torch.randperm(count, device=device)
        arguments = (key, value, caches[0], caches[1], slots)
        yield _Task(
            "write_kv",
            f"{count} tokens",
            lambda given=arguments: write(*given),  # type: ignore[misc]
            num_bytes=4 * key.nbytes,
        )


def _rms_norm(device: torch.device, sizes: Sizes) -> Iterator[_Task]:
    norm = resolve("rms_norm", device)
    weight = torch.rand(sizes.hidden_size, device=device).to(_DTYPE)
    for count in sizes.num_tokens:
        x, residual = torch.randn(2, count, sizes.hidden_size, device=device).to(_DTYPE)
        yield _Task(
            "rms_norm",
            f"{count} x {sizes.hidden_size} + residual",
            lambda x=x, residual=residual: norm(x, weight, 1e-6, residual),  # type: ignore[misc]
            num_bytes=4 * x.nbytes,
        )


def _rope(device: torch.device, sizes: Sizes) -> Iterator[_Task]:
    turn = resolve("rope", device)
    for count in sizes.num_tokens:
        query, key = (
            torch.randn(count, heads, sizes.head_dim, device=device).to(_DTYPE)
            for heads in (sizes.num_heads, sizes.num_kv_heads)
        )
        cos, sin = torch.randn(2, count, sizes.head_dim, device=device).to(_DTYPE)
        arguments = (query, key, cos, sin)
        yield _Task(
            "rope",
            f"{count} x ({sizes.num_heads} + {sizes.num_kv_heads}) x {sizes.head_dim}",
            lambda given=arguments: turn(*given),  # type: ignore[misc]
            num_bytes=2 * (query.nbytes + key.nbytes + cos.nbytes),
        )


def _activation(device: torch.device, sizes: Sizes) -> Iterator[_Task]:
    activate = resolve("silu_mul", device)
    for count in sizes.num_tokens:
        merged = torch.randn(count, 2 * sizes.inner_size, device=device).to(_DTYPE)
        gate, up = merged.chunk(2, dim=-1)
        yield _Task(
            "silu_mul",
            f"{count} x {sizes.inner_size}",
            lambda gate=gate, up=up: activate(gate, up),  # type: ignore[misc]
            num_bytes=merged.nbytes * 3 // 2,
        )


def _grouped(device: torch.device, sizes: Sizes) -> Iterator[_Task]:
    """Each row goes to experts at random, as a router's rows do on average."""
    ours = resolve("grouped_linear", device)
    shape = (sizes.num_experts, sizes.expert_outputs, sizes.expert_inputs)
    weight = torch.randn(shape, device=device).to(_DTYPE)
    for count in sizes.num_tokens:
        rows = count * sizes.num_choices
        x = torch.randn(rows, sizes.expert_inputs, device=device).to(_DTYPE)
        chosen = torch.randint(sizes.num_experts, (rows,), device=device)
        counts = torch.bincount(chosen, minlength=sizes.num_experts)
        ends = counts.cumsum(0).to(torch.int32)
        num_used = int((counts > 0).sum())
        ways: dict[str, Callable[[], object]] = {
            "": lambda x=x, ends=ends: ours(x, weight, ends),  # type: ignore[misc]
            ", torch's": lambda x=x, ends=ends: functional.grouped_mm(  # type: ignore[misc]
                x, weight.transpose(1, 2), offs=ends
            ),
        }
        for name, run in ways.items():
            yield _Task(
                "grouped_linear",
                f"{rows} rows of {sizes.num_experts} experts{name}",
                run,
                num_bytes=num_used * weight[0].nbytes
                + rows * (sizes.expert_inputs + sizes.expert_outputs) * _DTYPE.itemsize,
                flops=2 * rows * sizes.expert_inputs * sizes.expert_outputs,
                is_small=False,
            )


def _sampling(device: torch.device, sizes: Sizes) -> Iterator[_Task]:
    """Each reads the logits once at least."""
    sample, measure = resolve("sample", device), resolve("logprobs", device)
    for count in sizes.sampled_rows:
        logits = (torch.randn(count, sizes.vocab_size, device=device) * 3).to(_DTYPE)
        plain = {
            "temperature": torch.ones(count, device=device),
            "uniform": torch.rand(count, dtype=torch.float64, device=device),
        }
        usual = {
            **plain,
            "top_k": torch.full((count,), 20, device=device),
            "top_p": torch.full((count,), 0.95, device=device),
        }
        nucleus = {name: value for name, value in usual.items() if name != "top_k"}
        for name, given in (
            ("greedy", {}), ("plain", plain), ("top-k, top-p", usual), ("top-p", nucleus),
        ):  # fmt: skip
            params = SamplingTensors(**given)
            yield _Task(
                "sample",
                f"{count} x {sizes.vocab_size}, {name}",
                lambda x=logits, params=params: sample(x, params),  # type: ignore[misc]
                num_bytes=logits.nbytes,
                is_small=False,
            )
        token_ids = torch.zeros(count, dtype=torch.int64, device=device)
        yield _Task(
            "logprobs",
            f"{count} x {sizes.vocab_size}, 5 likeliest",
            lambda x=logits, ids=token_ids: measure(x, ids, 5),  # type: ignore[misc]
            num_bytes=logits.nbytes,
            is_small=False,
        )
