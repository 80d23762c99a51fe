"""Checkpoints we cannot run, refused by name before their weights are loaded.

Owns: what a config tells about that. Must not know: devices, weights. What only the loaded model
shows is caught by `engine.model.geometry` and `engine.model.self_check`.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import ModelRefusedError

__all__ = ["check_config", "check_model_class", "read_config", "refused_if_it_fails"]

_ATTENTION_LAYERS = frozenset({"attention", "full_attention", "sliding_attention"})
_LAYER_TYPE_FIELDS = ("layer_types", "layers_block_type", "block_types", "hybrid_override_pattern")


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """The raw config.json. Raises ModelRefusedError if there is none or it is damaged."""
    path = folder / "config.json"
    try:
        raw = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise _refusal(name, _without_config(folder)) from None
    except OSError as error:
        raise _refusal(name, f"its config.json cannot be read: {error}") from error
    except ValueError as error:
        raise _refusal(name, f"its config.json is damaged: {error}") from error
    if not isinstance(raw, dict):
        raise _refusal(name, "its config.json is damaged: it holds no JSON object")
    return raw


def _without_config(folder: Path) -> str:
    if (folder / "adapter_config.json").exists():
        return "it is an adapter; merge it into its base model and save that"
    if any(folder.glob("*.gguf")):
        return "its weights are in GGUF format; only safetensors are loaded"
    return f"{folder} has no config.json"


def check_config(raw: Mapping[str, Any], name: str) -> None:
    """Refuse what the raw config already shows. Raises ModelRefusedError."""
    quantization = raw.get("quantization_config") or raw.get("compression_config")
    if quantization:
        method = quantization.get("quant_method") if isinstance(quantization, dict) else None
        raise _refusal(name, f"its weights are quantised ({method or 'unknown method'})")
    if not raw.get("model_type"):
        raise _refusal(name, "its config.json names no model_type")
    modality = next((m for m in ("vision", "audio", "image", "speech") if _has(raw, m)), None)
    if modality:
        raise _refusal(name, f"it is multimodal (its config has settings for {modality})")
    if raw.get("is_encoder_decoder"):
        raise _refusal(name, f"{raw['model_type']} is an encoder-decoder model")
    for architecture in raw.get("architectures") or ():
        if str(architecture).endswith("ForConditionalGeneration"):
            raise _refusal(name, f"{architecture} is multimodal or an encoder-decoder model")
        if not str(architecture).endswith(("ForCausalLM", "LMHeadModel")):
            raise _refusal(name, f"{architecture} is not a causal language model")


def check_model_class(config: Any, model_class: Any, name: str) -> None:
    """Refuse what transformers' config object and model class show. Raises ModelRefusedError."""
    kind = model_class.__name__
    if getattr(config, "is_encoder_decoder", False):
        raise _refusal(name, f"{kind} is an encoder-decoder model")
    if config.get_text_config() is not config:
        raise _refusal(name, f"{kind} is multimodal (its config has a part for each modality)")
    layer_types = _layer_types(config)
    if "chunked_attention" in layer_types:
        raise _refusal(name, f"{kind} uses chunked attention, which is not supported yet")
    if strange := sorted(layer_types - _ATTENTION_LAYERS):
        raise _refusal(name, f"{kind} has layers other than plain attention: {', '.join(strange)}")
    if not _has_attention_interface(model_class):
        raise _refusal(
            name, f"{kind} is not written for transformers' attention interface, or is recurrent"
        )


@contextmanager
def refused_if_it_fails(name: str) -> Iterator[None]:
    """Around a forward pass of the model as transformers has it: where that fails, the config asks
    for what its layers cannot compute.
    """
    try:
        yield
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        reason = f"its forward pass fails: {error}"
        raise _refusal(name, reason) from error


def _layer_types(config: Any) -> set[str]:
    found: set[str] = set()
    for field in _LAYER_TYPE_FIELDS:
        value = getattr(config, field, None)
        if isinstance(value, (list, tuple)):
            found.update(str(item) for item in value)
        elif value:
            found.add(str(value))
    return found


def _has_attention_interface(model_class: Any) -> bool:
    """The class says so, or (as for StableLM, which forgets to say it) its source does."""
    if getattr(model_class, "_supports_attention_backend", False):
        return True
    inspect_source = getattr(model_class, "_can_set_attn_implementation", None)
    return bool(inspect_source and inspect_source())


def _has(raw: Mapping[str, Any], modality: str) -> bool:
    return any(
        bool(value) and key.startswith(modality) and key.endswith(("_config", "_tower"))
        for key, value in raw.items()
    )


def _refusal(name: str, reason: str) -> ModelRefusedError:
    return ModelRefusedError(f"cannot run {name}: {reason}")
