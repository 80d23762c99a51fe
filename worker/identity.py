"""When two runs compute the same thing.

Owns: the text that stands for a model and every setting that changes tokens. Must not know: how
requests are hashed with it. Needs files only, so that a run with nothing left to do can tell
without loading weights. What changes bits but is no setting (device, threads, versions) is the
fingerprint of a row instead.
"""

import hashlib
from pathlib import Path

from engine.config import EngineConfig

__all__ = ["engine_identity"]


def engine_identity(config: EngineConfig, model_hash: str) -> str:
    """The identity of an engine built from `config` with the checkpoint of that hash."""
    model = config.model
    parts = [model_hash, f"dtype={model.dtype}", f"seed={config.seed}"]
    if model.quantization is not None:
        parts.append(f"quantization={model.quantization}")
    if model.max_model_len is not None:
        parts.append(f"max_model_len={model.max_model_len}")
    if model.chat_template is not None:
        digest = hashlib.sha256(Path(model.chat_template).read_bytes()).hexdigest()
        parts.append(f"chat_template={digest[:32]}")
    # Forced calls are written in the format of the parser; answers are read by both.
    if model.tool_call_parser is not None:
        parts.append(f"tool_call_parser={model.tool_call_parser}")
    if model.reasoning_parser is not None:
        parts.append(f"reasoning_parser={model.reasoning_parser}")
    if config.cache.kv_cache_dtype != "auto":
        parts.append(f"kv_cache_dtype={config.cache.kv_cache_dtype}")
    if config.deterministic:
        parts.append("deterministic")
    return " ".join(parts)
