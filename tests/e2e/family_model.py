"""The demo model with the tokens of another family's calls."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import AddedToken, Tokenizer

from engine.parsers.tools import tool_parser

__all__ = ["add_family_tokens"]

_EMBEDDING = "model.embed_tokens.weight"
_CALL_END = "<|call|>"


def add_family_tokens(folder: Path, family: str) -> None:
    """Give the checkpoint in `folder` a token of random weights for each marker that it lacks."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    known = tokenizer.get_vocab()
    markers = [mark for mark in tool_parser(family).syntax.markers if mark not in known]
    if not markers:
        return
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in markers])
    tokenizer.save(str(folder / "tokenizer.json"))
    weights = load_file(folder / "model.safetensors")
    old = weights[_EMBEDDING]
    random = np.random.Generator(np.random.PCG64(7))
    new = random.uniform(-0.25, 0.25, (len(markers), old.shape[1])).astype(np.float32)
    weights[_EMBEDDING] = np.concatenate([old, new])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _edit(folder / "config.json", vocab_size=len(old) + len(markers))
    if _CALL_END in markers:  # gpt-oss's configuration has it among those that end an answer
        end = tokenizer.token_to_id(_CALL_END)
        _edit(folder / "generation_config.json", eos_token_id=[2, 0, end])


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
