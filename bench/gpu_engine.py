"""The engine end to end on models with random weights, and transformers' continuous batching beside
it.

Owns: making the models on the device, running workloads without HTTP, queue or tokenizer, and the
time a device waits between steps. Must not know: tables.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import torch
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from bench.gpu_timing import Limits, synchronize
from engine.build import allocate_cache, wire_core
from engine.config import CacheConfig, EngineConfig, SchedulerConfig
from engine.core import EngineCore
from engine.device import available_memory_bytes
from engine.executor import Executor, Handle
from engine.model.geometry import find_attention_layers
from engine.model.load import LoadedModel
from engine.model.replace import replace_decoder
from engine.request import Request, SamplingParams, StopRules
from engine.step import StepPlan, StepResult
from worker.benchmark.workloads import WorkItem

__all__ = ["MODELS", "bench_decode", "bench_engine", "bench_transformers", "make_model", "running"]

_SEED = 7
MODELS: dict[str, dict[str, int]] = {
    "Qwen3-0.6B": {
        "vocab_size": 151_936, "hidden_size": 1024, "intermediate_size": 3072,
        "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
        "head_dim": 128,
    },
    "Qwen3-8B": {
        "vocab_size": 151_936, "hidden_size": 4096, "intermediate_size": 12_288,
        "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
        "head_dim": 128,
    },
    "tiny": {
        "vocab_size": 997, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16,
    },
}  # fmt: skip
_MAX_MODEL_LEN = 4096
_TIED = {"Qwen3-0.6B", "tiny"}


def make_model(name: str, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> LoadedModel:
    """The shape with random weights, as transformers makes it, on the device."""
    torch.manual_seed(_SEED)
    config = Qwen3Config(
        **MODELS[name],
        max_position_embeddings=40_960,
        tie_word_embeddings=name in _TIED,
        eos_token_id=None,
        pad_token_id=0,
        bos_token_id=None,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            module: Any = Qwen3ForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    module.requires_grad_(False)
    module.eval()
    return LoadedModel(
        module=module,
        config=config,
        layers=find_attention_layers(module, config.num_hidden_layers, name),
        device=device,
        dtype=dtype,
        vocab_size=config.vocab_size,
        max_model_len=_MAX_MODEL_LEN,
        weight_bytes=sum(each.nbytes for each in module.parameters()),
    )


@dataclass(slots=True)
class StepTimes:
    """Of each step: what it had, when the device began and ended it. Marks are CUDA events, or
    seconds.
    """

    plans: list[StepPlan] = field(default_factory=list)
    begun: list[Any] = field(default_factory=list)
    ended: list[Any] = field(default_factory=list)

    def step_ms(self) -> list[float]:
        """From the end of the step before to the step's end: what a step costs in a row of them."""
        return [_between_ms(a, b) for a, b in zip(self.ended[:-1], self.ended[1:], strict=True)]

    def gap_ms(self) -> list[float]:
        """Between the end of a step and the beginning of the next: the device waits."""
        pairs = zip(self.ended[:-1], self.begun[1:], strict=True)
        return [max(0.0, _between_ms(a, b)) for a, b in pairs]


class TimedExecutor:
    """Marks the beginning and the end of each step on the device."""

    def __init__(self, inner: Executor, device: torch.device) -> None:
        self.max_in_flight = inner.max_in_flight
        self.times = StepTimes()
        self._inner = inner
        self._device = device

    def submit(self, plan: StepPlan) -> Handle:
        self.times.plans.append(plan)
        self.times.begun.append(self._mark())
        handle = self._inner.submit(plan)
        self.times.ended.append(self._mark())
        return handle

    def collect(self, handle: Handle) -> StepResult:
        return self._inner.collect(handle)

    def shutdown(self) -> None:
        self._inner.shutdown()

    def _mark(self) -> Any:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event


@contextmanager
def running(
    loaded: LoadedModel, *, max_num_seqs: int, num_blocks: int | None = None
) -> Iterator[tuple[EngineCore, TimedExecutor]]:
    """The engine around a model, which it takes over; the caller ends with the model too."""
    before = available_memory_bytes(loaded.device) + loaded.weight_bytes
    replace_decoder(loaded.module, loaded.device)
    config = EngineConfig(
        cache=CacheConfig(num_blocks=num_blocks),
        scheduler=SchedulerConfig(max_num_seqs=max_num_seqs, max_num_batched_tokens=8192),
    )
    core = wire_core(config, loaded, allocate_cache(config, loaded, before), "bench")
    executor = TimedExecutor(core._executor, loaded.device)
    core._executor = executor
    try:
        yield core, executor
    finally:
        core.shutdown()
        gc.collect()


def bench_engine(
    core: EngineCore, executor: TimedExecutor, items: list[WorkItem], device: torch.device
) -> dict[str, float]:
    """Run all items at once to their exact lengths, on an empty prefix cache."""
    core.forget_prefixes()
    executor.times = StepTimes()
    before = core.stats()
    synchronize(device)
    begun_s = time.perf_counter()
    _run(core, items)
    synchronize(device)
    wall_s = time.perf_counter() - begun_s
    after = core.stats()
    times = executor.times
    gaps, steps = times.gap_ms(), times.step_ms()
    output_tokens = after.generation_tokens - before.generation_tokens
    prompt_tokens = sum(len(item.prompt_token_ids) for item in items)
    return {
        "requests": len(items),
        "prompt_tokens": prompt_tokens,
        "cached_tokens": after.prefix_cache_hits - before.prefix_cache_hits,
        "output_tokens": output_tokens,
        "wall_s": wall_s,
        "output_tokens_per_s": output_tokens / wall_s,
        "all_tokens_per_s": (output_tokens + prompt_tokens) / wall_s,
        "steps": len(times.plans),
        "median_step_ms": statistics.median(steps),
        "median_gap_ms": statistics.median(gaps),
        "share_of_gaps": sum(gaps) / max(sum(steps), 1e-9),
        "failed_steps": after.num_failed_steps - before.num_failed_steps,
    }


def bench_decode(
    core: EngineCore,
    executor: TimedExecutor,
    loaded: LoadedModel,
    limits: Limits,
    *,
    batch: int,
    prompt_tokens: int,
    output_tokens: int,
) -> dict[str, float]:
    """Steps in which every one of `batch` requests decodes, beside the time that reading weights
    and KV takes at copy bandwidth.
    """
    core.forget_prefixes()
    executor.times = StepTimes()
    items = [
        WorkItem(
            f"{row}", Random(row).choices(range(loaded.vocab_size), k=prompt_tokens), output_tokens
        )
        for row in range(batch)
    ]
    _run(core, items)
    synchronize(loaded.device)
    times = executor.times
    per_token = sum(layer.bytes_per_token for layer in loaded.layers.values())
    steps, floors = [], []
    for plan, ms in zip(times.plans[1:], times.step_ms(), strict=True):
        if len(plan.rows) == batch == plan.num_tokens:
            num_keys = sum(row.num_computed_tokens + 1 for row in plan.rows)
            num_bytes = _read_bytes(loaded) + num_keys * per_token
            steps.append(ms)
            floors.append(num_bytes / limits["copy_gbs"] / 1e6)
    steps, floors = steps[len(steps) // 4 :], floors[len(floors) // 4 :]  # the first ones record
    step_ms, floor_ms = statistics.median(steps), statistics.median(floors)
    return {
        "batch": batch,
        "prompt_tokens": prompt_tokens,
        "steps": len(steps),
        "step_ms": step_ms,
        "floor_ms": floor_ms,
        "share_of_roofline": floor_ms / step_ms,
        "output_tokens_per_s": batch / step_ms * 1e3,
    }


def bench_transformers(
    loaded: LoadedModel,
    items: list[WorkItem],
    *,
    timeout_s: float,
    sizes: dict[str, int] | None = None,
) -> dict[str, float]:
    """The same items through transformers' continuous batching, what `generate_batch` runs, with
    its own defaults, or the `sizes` of a trial: on a CPU its masks alone would take gigabytes. Call
    it before the engine takes the model over. Raises TimeoutError.
    """
    model = loaded.module
    model.set_attn_implementation("sdpa")
    config = GenerationConfig(
        do_sample=False, max_new_tokens=1, eos_token_id=-1, pad_token_id=0, use_cache=True
    )
    options = {"generation_config": config}
    if sizes is not None:
        from transformers import ContinuousBatchingConfig

        options["continuous_batching_config"] = ContinuousBatchingConfig(**sizes)
    with model.continuous_batching_context_manager(**options) as manager:
        _generate(manager, items[:2], timeout_s)  # captures what it captures
        synchronize(loaded.device)
        begun_s = time.perf_counter()
        num_tokens = _generate(manager, items, timeout_s)
        wall_s = time.perf_counter() - begun_s
    gc.collect()
    wanted = sum(item.num_output_tokens for item in items)
    assert num_tokens == wanted, f"{num_tokens} tokens came, {wanted} were asked for"
    return {
        "requests": len(items),
        "output_tokens": num_tokens,
        "wall_s": wall_s,
        "output_tokens_per_s": num_tokens / wall_s,
    }


def _generate(manager: Any, items: list[WorkItem], timeout_s: float) -> int:
    """How many tokens came."""
    stop_s = time.perf_counter() + timeout_s
    for item in items:
        manager.add_request(item.prompt_token_ids, max_new_tokens=item.num_output_tokens)
    num_tokens = num_finished = 0
    while num_finished < len(items):
        result = manager.get_result(timeout=1)
        if result is not None and result.is_finished():
            num_finished += 1
            num_tokens += len(result.generated_tokens)
        if time.perf_counter() > stop_s:
            raise TimeoutError(f"{num_finished} of {len(items)} requests after {timeout_s:.0f} s")
        if result is None and not manager.is_running():
            raise RuntimeError("its thread ended early")
    return num_tokens


def _run(core: EngineCore, items: list[WorkItem]) -> None:
    for item in items:
        core.add(
            Request(
                request_id=item.name,
                prompt_token_ids=item.prompt_token_ids,
                sampling=SamplingParams(temperature=0.0),
                stop=StopRules(max_tokens=item.num_output_tokens, ignore_eos=True),
            )
        )
    while core.has_work:
        for request in core.step():
            assert request.error is None, request.error


def _read_bytes(loaded: LoadedModel) -> int:
    """What a decoding step reads of the weights: all but the embedding, if that is not the output
    layer too.
    """
    embedding = loaded.module.get_input_embeddings().weight
    is_tied = loaded.module.get_output_embeddings().weight is embedding
    return loaded.weight_bytes - (0 if is_tied else embedding.nbytes)


def _between_ms(first: Any, second: Any) -> float:
    if isinstance(first, float):
        return float((second - first) * 1e3)
    elapsed: Callable[[Any], float] = first.elapsed_time
    return elapsed(second)
