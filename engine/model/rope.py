"""Rotary embeddings that change with the length of the batch, made constant.

Owns: freezing them at load. Must not know: anything else about models. The "dynamic" and "longrope"
embeddings of transformers look at the largest position of a forward pass; in a batch of many
requests one long neighbour would then change the tokens of all others, and keys stored earlier
would no longer fit. So the choice is made once, for the longest request that may come, as vLLM
makes it: short factors if `max_model_len` stays within the pretrained length, else long ones.
"""

from typing import Any

import torch

__all__ = ["freeze_rope"]


def freeze_rope(model: Any, max_model_len: int) -> None:
    """Fix every length-dependent rotary embedding of `model` for `max_model_len` tokens."""
    for module in model.modules():
        rope_type = getattr(module, "rope_type", None)
        if isinstance(rope_type, str):
            if _is_dynamic(rope_type):
                _run(module, max_model_len)
                module.rope_type = "default"
        elif isinstance(rope_type, dict):
            for layer_type in [key for key, value in rope_type.items() if _is_dynamic(value)]:
                _run(module, max_model_len, layer_type=layer_type)
                rope_type[layer_type] = "default"


def _is_dynamic(rope_type: str) -> bool:
    return "dynamic" in rope_type or rope_type == "longrope"


def _run(module: Any, max_model_len: int, **layer_type: str) -> None:
    """One forward pass at the last position makes the module choose its frequencies."""
    device = next(module.buffers()).device
    position_ids = torch.full((1, 1), max_model_len - 1, device=device)
    module(torch.zeros(1, device=device), position_ids, **layer_type)
