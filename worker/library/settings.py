"""Keyword settings of the Python library: the command line's, under the same names.

Owns: the step from keywords to option groups, with their types and bounds checked. Must not know:
what the settings do (worker/options.py says that). A wrong one is one error that names it.
"""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from worker.errors import SettingsError
from worker.options import BatchOptions, EngineOptions, ModelOptions

__all__ = [
    "BatchSettings",
    "EngineSettings",
    "batch_options",
    "check_names",
    "engine_options",
]

T = TypeVar("T")


class EngineSettings(TypedDict, total=False):
    """What `headrace run --help` says of the flags with these names."""

    revision: str | None
    served_model_name: list[str] | None
    dtype: Literal["auto", "float32", "float", "bfloat16", "float16", "half"]
    quantization: Literal["int8", "w8a8_int8"] | None
    device: str
    max_model_len: int | None
    chat_template: str | Path | None
    tool_call_parser: str | None
    reasoning_parser: str | None
    seed: int
    deterministic: bool
    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int
    gpu_memory_utilization: float
    kv_cache_memory_bytes: int | str | None
    kv_cache_dtype: Literal["auto", "fp8"]
    enable_prefix_caching: bool
    enforce_eager: bool


class BatchSettings(TypedDict, total=False):
    """What `headrace enqueue --help` says of the flags with these names."""

    tenant: str
    priority: Literal["high", "normal", "low"]
    expires_in: float | None
    job_deadline_seconds: float | None
    dedupe: bool
    on_unknown_parameter: Literal["refuse", "ignore"]


def engine_options(
    model: str | Path, settings: Mapping[str, Any]
) -> tuple[ModelOptions, EngineOptions]:
    """The options of a model and its engine. Raises SettingsError."""
    check_names(settings, EngineSettings)
    values = dict(settings, model=str(model))
    if isinstance(size := values.get("kv_cache_memory_bytes"), int):
        values["kv_cache_memory_bytes"] = str(size)
    return _options(ModelOptions, values), _options(EngineOptions, values)


def batch_options(settings: Mapping[str, Any]) -> BatchOptions:
    """The options of a batch. Raises SettingsError."""
    check_names(settings, BatchSettings)
    return _options(BatchOptions, settings)


def check_names(settings: Mapping[str, Any], known: type) -> None:
    """Raises SettingsError for a setting that the typed dictionary `known` does not have."""
    names = list(known.__annotations__)
    for name in settings:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
            raise SettingsError(f"there is no setting {name}; {hint}")


def _options(group: type[T], settings: Mapping[str, Any]) -> T:
    """An option group from those of `settings` that are its own."""
    own = {field.name for field in fields(cast(Any, group))}
    values = {name: value for name, value in settings.items() if name in own}
    try:
        options = TypeAdapter(group).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        raise SettingsError(f"{name}={values[name]!r}: {first['msg']}") from None
    for name, hint in get_type_hints(group, include_extras=True).items():
        _check_bounds(name, getattr(options, name), hint.__metadata__[0])
    return options


def _check_bounds(name: str, value: Any, about: Any) -> None:
    """The bounds of the flag with this name hold here too."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float):
        return
    if about.min is not None and value < about.min:
        raise SettingsError(f"{name}={value!r}: it must be at least {about.min}")
    if about.max is not None and value > about.max:
        raise SettingsError(f"{name}={value!r}: it must be at most {about.max}")
