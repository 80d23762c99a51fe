"""The engine's parts, built and wired.

Owns: the order in which they come to be. Must not know: jobs, HTTP, the event loop (the caller
wraps `core` into an `AsyncEngine`). transformers is imported when a model is built, not with this
module, so that what stands in its way can be told in one sentence.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from engine.block_pool import BlockPool
from engine.config import EngineConfig
from engine.core import EngineCore
from engine.device import (
    available_memory_bytes,
    on_device,
    resolve_device,
    total_memory_bytes,
)
from engine.errors import EngineError
from engine.executor import InProcessExecutor
from engine.fingerprint import engine_fingerprint
from engine.kv_cache_manager import KVCacheManager
from engine.memory import format_bytes
from engine.model.generation import (
    GenerationDefaults,
    end_token_ids,
    read_generation_defaults,
)
from engine.model.panels import multiplies_bfloat16
from engine.model_hash import model_hash
from engine.scheduler import Scheduler
from kernels.errors import NameClashError
from kernels.name_clash import check_name_clash
from kernels.registry import available

if TYPE_CHECKING:
    from engine.chat_template import ChatTemplate
    from engine.kv_cache import KVCache
    from engine.model.load import CheckedModel, LoadedModel
    from engine.structured_output.factory import ConstraintFactory
    from engine.tokenizer import Tokenizer

__all__ = ["EngineInfo", "EngineParts", "allocate_cache", "build_engine", "wire_core"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What runs. `model` is the name as it was given, `model_path` the folder it was found in.

    `max_model_len` counts prompt and output tokens. `num_blocks` x `block_size` tokens of KV fit,
    for all requests together, in `kv_cache_dtype`. `eos_token_ids` end an answer unless
    `ignore_eos`.
    """

    model: str
    model_path: Path
    model_hash: str
    fingerprint: str
    dtype: str
    quantization: str | None
    device: str
    max_model_len: int
    vocab_size: int
    num_blocks: int
    block_size: int
    kv_cache_bytes: int
    kv_cache_dtype: str
    eos_token_ids: frozenset[int]
    generation_defaults: GenerationDefaults


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineParts:
    """A ready engine. Close it with `core.shutdown()`."""

    core: EngineCore
    tokenizer: "Tokenizer"
    chat_template: "ChatTemplate"
    constraints: "ConstraintFactory"
    info: EngineInfo


def build_engine(config: EngineConfig) -> EngineParts:
    """Load the model, size the cache, wire the parts. Takes seconds.

    Raises EngineError, in one sentence: ModelRefusedError for what cannot run, CacheSizeError if
    the cache cannot hold one request.
    """
    _check_packages()
    from engine.cache_dtype import check_cache_dtype
    from engine.chat_template import ChatTemplate, read_chat_template
    from engine.model.load import check_model
    from engine.model.source import resolve_model
    from engine.structured_output.factory import ConstraintFactory
    from engine.tokenizer import load_tokenizer

    name = config.model.model
    device = resolve_device(config.model.device)
    check_cache_dtype(config.cache.kv_cache_dtype, device)
    template = config.model.chat_template
    template_text = read_chat_template(template) if template else None
    folder = resolve_model(name, config.model.revision)
    memory_before = available_memory_bytes(device)
    checked = check_model(config.model, folder, device)
    # All that may be wrong is looked at before the weights, which may take minutes.
    tokenizer = load_tokenizer(folder, name)
    generation_defaults = read_generation_defaults(folder, name)
    loaded = _load(checked, config)
    kv_cache = allocate_cache(config, loaded, memory_before)
    identity = model_hash(folder)
    fingerprint = engine_fingerprint(
        identity,
        loaded.dtype,
        device,
        kv_cache_dtype=config.cache.kv_cache_dtype,
        quantization=config.model.quantization,
        deterministic=config.deterministic,
    )
    info = EngineInfo(
        model=name,
        model_path=folder,
        model_hash=identity,
        fingerprint=fingerprint,
        dtype=str(loaded.dtype).removeprefix("torch."),
        quantization=config.model.quantization,
        device=str(device),
        max_model_len=loaded.max_model_len,
        vocab_size=loaded.vocab_size,
        num_blocks=kv_cache.num_blocks,
        block_size=kv_cache.block_size,
        kv_cache_bytes=kv_cache.num_bytes,
        kv_cache_dtype=str(kv_cache.dtype).removeprefix("torch."),
        eos_token_ids=end_token_ids(folder, name, loaded.config, tokenizer.eos_token_id),
        generation_defaults=generation_defaults,
    )
    core = wire_core(config, loaded, kv_cache, fingerprint)
    _log.info(
        "%s runs as %s on %s: %d tokens of context, %d of KV cache (%s, %s); ops: %s",
        *(name, info.dtype, info.device, info.max_model_len, info.num_blocks * info.block_size),
        *(format_bytes(info.kv_cache_bytes), info.kv_cache_dtype, available(device)),
    )
    return EngineParts(
        core=core,
        tokenizer=tokenizer,
        chat_template=ChatTemplate(tokenizer, template_text),
        constraints=ConstraintFactory(
            tokenizer, vocab_size=info.vocab_size, eos_token_ids=info.eos_token_ids
        ),
        info=info,
    )


def _load(checked: "CheckedModel", config: EngineConfig) -> "LoadedModel":
    """The model in the form that is fastest here, compared with transformers' own layers."""
    from engine.deterministic import keep_attention
    from engine.model.experts import replace_experts
    from engine.model.invariant import make_invariant
    from engine.model.load import load_checked
    from engine.model.packed import pack_linear_layers
    from engine.model.replace import replace_decoder
    from engine.self_check import check_paged_attention, own_logits

    name = checked.name
    loaded = load_checked(checked)
    _hint_at_float32(loaded, config)
    expected = own_logits(loaded, name)
    replace_decoder(loaded.module, loaded.device)
    replace_experts(loaded.module, is_deterministic=config.deterministic)
    saved = pack_linear_layers(loaded.module)
    loaded = replace(loaded, weight_bytes=loaded.weight_bytes - saved)
    if config.deterministic:
        keep_attention(loaded.dtype, name)
        make_invariant(loaded.module, name)
    with on_device(loaded.device):
        check_paged_attention(loaded, expected, name)
    return loaded


def _hint_at_float32(loaded: "LoadedModel", config: EngineConfig) -> None:
    """Say so where a dtype that saves memory costs most of the speed."""
    is_rounded = config.model.quantization is not None  # then no float weights are multiplied
    if loaded.dtype == torch.bfloat16 and not is_rounded and not multiplies_bfloat16(loaded.device):
        _log.warning(
            "%s runs in bfloat16, which this processor cannot multiply: prompts and batches take "
            "several times as long as with --dtype float32, whose weights take twice the memory",
            config.model.model,
        )


def _check_packages() -> None:
    try:
        check_name_clash()
    except NameClashError as error:
        raise EngineError(str(error)) from error


def allocate_cache(config: EngineConfig, loaded: "LoadedModel", memory_before: int) -> "KVCache":
    """The KV cache, sized for what the loaded model left of the memory in bytes that was there
    before it.
    """
    from engine.cache_dtype import stored_layers
    from engine.kv_cache import KVCache, MemoryBudget, num_blocks_for

    layers = stored_layers(loaded.layers.values(), config.cache.kv_cache_dtype)
    # Weights mapped from a file count as free memory until they are read: count them ourselves.
    left = min(available_memory_bytes(loaded.device), memory_before - loaded.weight_bytes)
    num_blocks = num_blocks_for(
        config.cache,
        layers,
        memory=MemoryBudget(
            total=total_memory_bytes(loaded.device),
            available=left,
            reserve=_activation_bytes(config, loaded),
            is_host=loaded.device.type == "cpu",
        ),
        max_model_len=loaded.max_model_len,
        max_num_seqs=config.scheduler.max_num_seqs,
    )
    return KVCache(
        layers, num_blocks=num_blocks, block_size=config.cache.block_size, device=loaded.device
    )


def _activation_bytes(config: EngineConfig, loaded: "LoadedModel") -> int:
    """A generous guess of what one full step takes besides weights and KV: a few copies of the
    logits while sampling and one while scoring, and the widest layer's intermediate results.
    """
    rows = 4 * config.scheduler.max_num_seqs + config.scheduler.max_num_scored_tokens
    logits = rows * loaded.vocab_size * torch.float32.itemsize
    hidden = int(loaded.module.get_input_embeddings().weight.shape[1])
    inner: int = getattr(loaded.config, "intermediate_size", None) or 4 * hidden
    width = 8 * hidden + 3 * inner
    return logits + config.scheduler.max_num_batched_tokens * width * torch.float32.itemsize


def wire_core(
    config: EngineConfig, loaded: "LoadedModel", kv_cache: "KVCache", fingerprint: str
) -> EngineCore:
    """A core that runs the model, which it takes over."""
    from engine.cuda_graphs import CudaRecorder
    from engine.model_runner import ModelRunner

    caching = config.cache.enable_prefix_caching
    pool = BlockPool(kv_cache.num_blocks, enable_caching=caching)
    manager = KVCacheManager(
        pool, kv_cache.block_size, enable_caching=caching, fingerprint=fingerprint
    )
    # A GPU computes while the host plans the next step; the CPU is busy with the step itself.
    is_gpu = loaded.device.type == "cuda"
    runner = ModelRunner(
        loaded,
        kv_cache,
        max_num_seqs=config.scheduler.max_num_seqs,
        is_ahead=is_gpu,
        recorder=CudaRecorder() if is_gpu and not config.enforce_eager else None,
    )
    return EngineCore(
        Scheduler(config.scheduler, manager, max_model_len=loaded.max_model_len),
        InProcessExecutor(runner, max_in_flight=2 if is_gpu else 1),
        max_model_len=loaded.max_model_len,
        kv_cache_usage=lambda: pool.usage,
    )
