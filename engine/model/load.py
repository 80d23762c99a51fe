"""From a folder to a module that computes.

Owns: the order of loading: config, refusals, memory, weights, measurements. Must not know: blocks,
requests. Weights come from safetensors only, and code in a checkpoint is never run.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import nn
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig
from transformers import __version__ as transformers_version
from transformers.utils import logging as transformers_logging

from engine.config import ModelConfig
from engine.device import available_memory_bytes
from engine.errors import ModelRefusedError
from engine.memory import format_bytes
from engine.model.context import resolve_max_model_len
from engine.model.geometry import LayerGeometry, check_windows, find_attention_layers
from engine.model.panels import W8A8_INT8
from engine.model.quantize import check_quantization, quantize_linears
from engine.model.refusals import check_config, check_model_class, read_config
from engine.model.rope import freeze_rope
from engine.model.weights import WeightsSummary, summarize_weights, weight_files

__all__ = ["LoadedModel", "load_model"]

_log = logging.getLogger(__name__)

_DTYPES = {
    "bfloat16": torch.bfloat16,
    "float": torch.float32,
    "float16": torch.float16,
    "float32": torch.float32,
    "half": torch.float16,
}
_FILE_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model on its device. `layers` maps its attention modules, in order, to what they store.
    `rounds_rows`: its linear layers multiply numbers rounded to int8.
    """

    module: Any
    config: Any
    layers: dict[nn.Module, LayerGeometry]
    device: torch.device
    dtype: torch.dtype
    vocab_size: int
    max_model_len: int
    weight_bytes: int
    rounds_rows: bool = False


def load_model(config: ModelConfig, folder: Path, device: torch.device) -> LoadedModel:
    """Load the checkpoint in `folder` as `config` says.

    Raises ModelRefusedError, with the reason, for everything that we cannot run; before any weight
    is read wherever the files tell.
    """
    name = config.model
    check_quantization(config.quantization, device, name)
    raw = read_config(folder, name)
    check_config(raw, name)
    hf_config, model_class = _find_class(folder, raw, name)
    check_model_class(hf_config, model_class, name)
    max_model_len = resolve_max_model_len(hf_config, config.max_model_len, name)
    weights = summarize_weights(weight_files(folder, name), name)
    dtype = _resolve_dtype(config.dtype, hf_config, weights, name)
    weight_bytes = weights.num_bytes(dtype.itemsize)
    _check_memory(weight_bytes, dtype, device, name)
    module = _load_weights(model_class, folder, hf_config, dtype, device, name)
    vocab_size = int(module.get_output_embeddings().weight.shape[0])
    if config.quantization is not None:
        weight_bytes -= quantize_linears(module, name, config.quantization)
    freeze_rope(module, max_model_len)
    num_layers = getattr(hf_config, "num_hidden_layers", 1)
    layers = find_attention_layers(module, num_layers, name)
    check_windows(hf_config, layers.values(), max_model_len, name)
    return LoadedModel(
        module=module,
        config=hf_config,
        layers=layers,
        device=device,
        dtype=dtype,
        vocab_size=vocab_size,
        max_model_len=max_model_len,
        weight_bytes=weight_bytes,
        rounds_rows=config.quantization == W8A8_INT8,
    )


def _find_class(folder: Path, raw: dict[str, Any], name: str) -> tuple[Any, Any]:
    """The config object of transformers and the model class for it."""
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (
        StrictDataclassError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OSError,
    ) as error:
        kind = raw["model_type"]
        if kind in CONFIG_MAPPING:
            reason = f"its config.json is damaged: {error}"
        elif raw.get("auto_map"):
            reason = (
                f"model type {kind!r} needs code of its own, and code in checkpoints is not run"
            )
        else:
            reason = f"transformers {transformers_version} knows no model type {kind!r}"
        raise ModelRefusedError(f"cannot run {name}: {reason}") from error
    model_class = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if model_class is None:
        raise ModelRefusedError(f"cannot run {name}: {config.model_type} is no language model")
    return config, model_class


def _resolve_dtype(wanted: str, config: Any, weights: WeightsSummary, name: str) -> torch.dtype:
    """What the model runs in. "auto" is what the config says, else what the files hold."""
    if wanted == "auto":
        stated = str(config.dtype).removeprefix("torch.")
        return _DTYPES.get(stated) or _FILE_DTYPES.get(weights.dtype, torch.float32)
    if wanted not in _DTYPES:
        known = ", ".join(["auto", *sorted(_DTYPES)])
        raise ModelRefusedError(f"cannot run {name}: dtype {wanted!r} is not one of {known}")
    return _DTYPES[wanted]


def _check_memory(num_bytes: int, dtype: torch.dtype, device: torch.device, name: str) -> None:
    available = available_memory_bytes(device)
    if num_bytes > available:
        raise ModelRefusedError(
            f"cannot run {name}: its weights take {format_bytes(num_bytes)} as "
            f"{str(dtype).removeprefix('torch.')}, but {format_bytes(available)} of memory are "
            f"free on {device}"
        )


def _load_weights(
    model_class: Any, folder: Path, config: Any, dtype: torch.dtype, device: torch.device, name: str
) -> Any:
    """The module in inference mode. On the CPU, weights that are stored in `dtype` stay in the
    page cache: nothing is copied.
    """
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        module, report = model_class.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation="eager",
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelRefusedError(f"cannot run {name}: its weights do not load: {reason}") from error
    if missing := sorted(report["missing_keys"]):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise ModelRefusedError(
            f"cannot run {name}: its weights lack {', '.join(missing[:3])}{more}"
        )
    if unexpected := sorted(report["unexpected_keys"]):
        _log.warning("%s: %d tensors of no use, such as %s", name, len(unexpected), unexpected[0])
    module.requires_grad_(False)
    return module.eval().to(device)
