"""Our functions behind transformers' `AttentionInterface`.

Owns: registering an attention function under a name nobody else has, and removing it. Must not
know: what the function computes.

No mask function is registered for these names: transformers then builds no mask at all, while a
registered function that returns None still makes it look for packed sequences in each forward pass,
which waits for the device. Attention functions of ours refuse a mask if one arrives.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

from transformers import AttentionInterface

__all__ = ["register_attention", "unregister_attention"]

_numbers = count()


def register_attention(function: Callable[..., Any]) -> str:
    """Make `function` selectable by a model; returns the name for `set_attn_implementation`.

    The name belongs to this function alone, so that several models live in one process.
    """
    name = f"headrace_{next(_numbers)}"
    AttentionInterface.register(name, function)
    return name


def unregister_attention(name: str) -> None:
    """Forget the name; a model that still uses it cannot run any more."""
    AttentionInterface._global_mapping.pop(name, None)
