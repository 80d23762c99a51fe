"""Engine settings, resolved once into one frozen object.

Owns: the numbers the engine runs with. Must not know: Redis, HTTP, jobs, command-line flags.
"""

from dataclasses import dataclass

__all__ = ["CacheConfig", "EngineConfig", "ModelConfig", "SchedulerConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Which checkpoint runs, and as what.

    `model` is a folder, a hub id, or "demo". `dtype` is "auto" (what the checkpoint says),
    "float32", "bfloat16" or "float16". `quantization` "int8" gives linear layers int8 weights while
    the model is loaded, "w8a8_int8" rounds what they multiply too; all else stays in `dtype`.
    `device` is "auto", "cpu", "cuda" or "cuda:1".
    `max_model_len` is the context limit in tokens (prompt + output); None takes the checkpoint's.
    The parsers read what it writes: a name of theirs, "none", or None for those that fit it.
    """

    model: str = "demo"
    revision: str | None = None
    dtype: str = "auto"
    quantization: str | None = None
    device: str = "auto"
    max_model_len: int | None = None
    chat_template: str | None = None
    tool_call_parser: str | None = None
    reasoning_parser: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheConfig:
    """The paged KV cache. `num_blocks` None means: sized from free memory.

    `gpu_memory_utilization` is the share of the device's memory the process may use in all;
    `kv_cache_memory_bytes` sets the size of the KV cache alone and wins over it. `kv_cache_dtype`
    is "auto" (that of the model) or "fp8".
    """

    block_size: int = 16
    num_blocks: int | None = None
    gpu_memory_utilization: float = 0.9
    kv_cache_memory_bytes: int | None = None
    kv_cache_dtype: str = "auto"
    enable_prefix_caching: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """The bounds of one step: how many requests run, how many tokens are computed, and of how many
    known tokens log probabilities are taken (each costs the logits of one position).
    """

    max_num_seqs: int = 256
    max_num_batched_tokens: int = 2048
    max_num_scored_tokens: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Everything the engine is built from; `seed` seeds requests that bring none. `deterministic`:
    a request's tokens and log probabilities have the same bits whatever runs beside it.
    `enforce_eager`: steps of a GPU are launched anew, none is recorded and replayed.
    """

    model: ModelConfig = ModelConfig()
    cache: CacheConfig = CacheConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    seed: int = 0
    enforce_eager: bool = False
    deterministic: bool = False
