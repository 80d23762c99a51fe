"""Every setting of every command, once: flag, environment variable, default, unit.

Owns: the option groups (flag > HEADRACE_<FLAG> > default) and their translation into the engine's
configuration. Names are vLLM's where the meaning is the same. Must not know: what commands do.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from engine.config import CacheConfig, EngineConfig, ModelConfig, SchedulerConfig
from engine.parsers.contract import NO_PARSER
from engine.parsers.reasoning import REASONING_PARSERS
from engine.parsers.tools import TOOL_PARSERS
from worker.errors import SettingsError
from worker.option_groups import setting

__all__ = [
    "BatchOptions",
    "BodyOptions",
    "EngineOptions",
    "LogOptions",
    "ModelOptions",
    "QueueOptions",
    "ServiceOptions",
    "SharedQueueOptions",
    "UnknownParameterPolicy",
    "byte_size",
    "engine_config",
]

Dtype = Literal["auto", "float32", "float", "bfloat16", "float16", "half"]
CacheDtype = Literal["auto", "fp8"]

UnknownParameterPolicy = Annotated[
    Literal["refuse", "ignore"],
    setting(
        "--on-unknown-parameter",
        "refuse: a request with a parameter that no endpoint knows fails; ignore: it is left out.",
    ),
]

_DTYPE_NAMES = {"float": "float32", "half": "float16"}
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)


def byte_size(text: str) -> int:
    """Bytes from "2147483648", "2GB" (10^9) or "2GiB" (2^30). Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size; write bytes, or a number with K, M, G, GiB")
    number, unit, binary = match.groups()
    power = " kmgt".index(unit.lower() or " ")
    return int(float(number) * (1024 if binary else 1000) ** power)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Which model runs and under which names it answers."""

    model: Annotated[
        str, setting("--model", "A checkpoint folder, a hub id, or 'demo': a tiny built-in model.")
    ] = "demo"
    revision: Annotated[
        str | None,
        setting("--revision", "Branch, tag or commit of a hub id.", shown_default="main"),
    ] = None
    served_model_name: Annotated[
        list[str] | None,
        setting(
            "--served-model-name",
            "Name that rows may ask for; repeat for several.",
            shown_default="the folder's name or the hub id",
        ),
    ] = None
    dtype: Annotated[
        Dtype, setting("--dtype", "Number format the model computes in; auto: the checkpoint's.")
    ] = "auto"
    quantization: Annotated[
        Literal["int8", "w8a8_int8"] | None,
        setting(
            "--quantization",
            "int8: weights of linear layers take one byte, rounded while loading; w8a8_int8: what "
            "they are multiplied with is rounded too. CPU only.",
            shown_default="none",
        ),
    ] = None
    device: Annotated[
        str, setting("--device", "auto, cpu, cuda or cuda:<index>; auto: a GPU if there is one.")
    ] = "auto"
    max_model_len: Annotated[
        int | None,
        setting(
            "--max-model-len",
            "Context limit in tokens, prompt and output together.",
            shown_default="the checkpoint's",
            min=1,
        ),
    ] = None
    chat_template: Annotated[
        Path | None,
        setting(
            "--chat-template",
            "Jinja file that replaces the tokenizer's chat template.",
            shown_default="the tokenizer's",
        ),
    ] = None
    tool_call_parser: Annotated[
        str | None,
        setting(
            "--tool-call-parser",
            "How calls are written in the output, by vLLM's names; none: they stay text.",
            shown_default="what fits the checkpoint",
        ),
    ] = None
    reasoning_parser: Annotated[
        str | None,
        setting(
            "--reasoning-parser",
            "How reasoning is written in the output, by vLLM's names; none: it stays text.",
            shown_default="what fits the checkpoint",
        ),
    ] = None
    seed: Annotated[
        int,
        setting("--seed", "Seeds the sampling of rows that bring no seed.", min=0, max=2**63 - 1),
    ] = 0
    deterministic: Annotated[
        bool,
        setting(
            "--deterministic",
            "The same bits for a row whatever runs beside it, at some cost in speed; CPU only.",
            shown_default="off",
        ),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How much the engine runs at a time, and in how much memory."""

    max_num_seqs: Annotated[
        int, setting("--max-num-seqs", "Requests that run at the same time, at most.", min=1)
    ] = 256
    max_num_batched_tokens: Annotated[
        int, setting("--max-num-batched-tokens", "Tokens computed in one step, at most.", min=1)
    ] = 2048
    block_size: Annotated[
        int, setting("--block-size", "Tokens in one block of the KV cache.", min=1, max=1024)
    ] = 16
    gpu_memory_utilization: Annotated[
        float,
        setting(
            "--gpu-memory-utilization",
            "Share (0 to 1) of the device's memory that the process may use in all.",
            min=0.01,
            max=1.0,
        ),
    ] = 0.9
    kv_cache_memory_bytes: Annotated[
        str | None,
        setting(
            "--kv-cache-memory-bytes",
            "Size of the KV cache in bytes (or 512MB, 2GiB); wins over --gpu-memory-utilization.",
            shown_default="sized from free memory",
        ),
    ] = None
    kv_cache_dtype: Annotated[
        CacheDtype,
        setting(
            "--kv-cache-dtype",
            "Number format of the KV cache; fp8 holds two to four times as many tokens, at some "
            "cost in accuracy.",
            shown_default="auto: that of --dtype",
        ),
    ] = "auto"
    enable_prefix_caching: Annotated[
        bool,
        setting(
            "--enable-prefix-caching/--no-enable-prefix-caching",
            "Keep the KV of finished prompts and share it between requests.",
        ),
    ] = True
    enforce_eager: Annotated[
        bool,
        setting(
            "--enforce-eager",
            "Launch each step of a GPU anew, without CUDA graphs: slower, starts sooner.",
            shown_default="off",
        ),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """Where jobs wait."""

    redis: Annotated[
        str | None,
        setting(
            "--redis",
            "URL of the Redis or Valkey server, such as redis://host:6379/0.",
            shown_default="run starts a server of its own",
        ),
    ] = None
    namespace: Annotated[str, setting("--namespace", "Prefix of every key in Redis.")] = "headrace"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedQueueOptions(QueueOptions):
    """Where jobs wait, for commands that have no server of their own."""

    redis: Annotated[
        str | None,
        setting(
            "--redis",
            "URL of the Redis or Valkey server, such as redis://host:6379/0.",
            shown_default="required",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyOptions:
    """Where requests lie that are too large for the queue."""

    blobs: Annotated[
        str | None,
        setting(
            "--blobs",
            "Where requests above 1 MiB lie: a folder or URL that producers and workers share.",
            shown_default="run: its state folder; else such rows fail",
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOptions:
    """How a process that runs jobs behaves: leases, its end, its HTTP port."""

    lease_seconds: Annotated[
        float,
        setting(
            "--lease-seconds",
            "Seconds after which the jobs of a silent worker go to another one.",
            min=0.5,
            max=86400.0,
        ),
    ] = 60.0
    drain_seconds: Annotated[
        float | None,
        setting(
            "--drain-seconds",
            "Seconds that running requests get to finish after SIGTERM.",
            shown_default="30 for worker, 0 for run",
            min=0.0,
        ),
    ] = None
    host: Annotated[
        str, setting("--host", "Address that /metrics, /health and /ready listen on.")
    ] = "127.0.0.1"
    metrics_port: Annotated[
        int | None,
        setting(
            "--metrics-port",
            "Port of /metrics, /health and /ready; 0 picks a free one and logs it.",
            "--port",
            shown_default="0 for worker, off for run",
            min=0,
            max=65535,
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """What a producer says about its batch."""

    on_bad_line: Annotated[
        Literal["row", "fail"],
        setting(
            "--on-bad-line",
            "row: a malformed line gets its own error row; fail: it fails the whole batch.",
        ),
    ] = "row"
    on_unknown_parameter: UnknownParameterPolicy = "refuse"
    tenant: Annotated[
        str, setting("--tenant", "Whose batch it is: tenants share workers fairly.")
    ] = "default"
    priority: Annotated[
        Literal["high", "normal", "low"], setting("--priority", "Order among batches.")
    ] = "normal"
    expires_in: Annotated[
        float | None,
        setting(
            "--expires-in",
            "Seconds after which rows that are not finished end as expired.",
            shown_default="never",
            min=0.001,
        ),
    ] = None
    job_deadline_seconds: Annotated[
        float | None,
        setting(
            "--job-deadline-seconds",
            "Seconds, from its entry into the queue, after which one row ends as expired.",
            shown_default="never",
            min=0.001,
            max=31_536_000,
        ),
    ] = None
    dedupe: Annotated[
        bool,
        setting(
            "--dedupe",
            "Compute identical greedy or seeded requests once; each row says where it is from.",
            shown_default="off",
        ),
    ] = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What the process says about itself on standard error."""

    log_format: Annotated[
        Literal["text", "json"], setting("--log-format", "Lines for people or for machines.")
    ] = "text"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], setting("--log-level", "Least level shown.")
    ] = "info"
    debug: Annotated[
        bool, setting("--debug", "Show the traceback of a failure.", shown_default="off")
    ] = False


def engine_config(model: ModelOptions, engine: EngineOptions) -> EngineConfig:
    """The engine's configuration, checked. Raises SettingsError naming the flag."""
    if _DEVICE.fullmatch(model.device) is None:
        raise SettingsError(f"--device {model.device!r}: use auto, cpu, cuda or cuda:<index>")
    template = model.chat_template
    if template is not None and not template.is_file():
        raise SettingsError(f"--chat-template {template}: no such file")
    return EngineConfig(
        model=ModelConfig(
            model=model.model,
            revision=model.revision,
            dtype=_DTYPE_NAMES.get(model.dtype, model.dtype),
            quantization=model.quantization,
            device=model.device,
            max_model_len=model.max_model_len,
            chat_template=str(template) if template is not None else None,
            tool_call_parser=_parser("--tool-call-parser", model.tool_call_parser, TOOL_PARSERS),
            reasoning_parser=_parser(
                "--reasoning-parser", model.reasoning_parser, REASONING_PARSERS
            ),
        ),
        cache=CacheConfig(
            block_size=engine.block_size,
            gpu_memory_utilization=engine.gpu_memory_utilization,
            kv_cache_memory_bytes=_kv_cache_bytes(engine.kv_cache_memory_bytes),
            kv_cache_dtype=engine.kv_cache_dtype,
            enable_prefix_caching=engine.enable_prefix_caching,
        ),
        scheduler=SchedulerConfig(
            max_num_seqs=engine.max_num_seqs,
            max_num_batched_tokens=engine.max_num_batched_tokens,
        ),
        seed=model.seed,
        enforce_eager=engine.enforce_eager,
        deterministic=model.deterministic,
    )


def _parser(flag: str, name: str | None, names: Collection[str]) -> str | None:
    """The parser's name, checked; "auto" and nothing mean the same."""
    if name is None or name == "auto":
        return None
    if name != NO_PARSER and name not in names:
        known = ", ".join(sorted(names))
        raise SettingsError(f"{flag} {name!r}: there is no such parser; use none, auto or {known}")
    return name


def _kv_cache_bytes(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return byte_size(text)
    except ValueError as error:
        raise SettingsError(f"--kv-cache-memory-bytes: {error}") from error
