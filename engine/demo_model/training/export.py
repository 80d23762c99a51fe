"""A trained network as a folder that transformers loads, and back.

Owns: the checkpoint's file format. Must not know: training.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from engine.demo_model.training.growth import set_weights
from engine.demo_model.training.network import Network, Shape
from engine.demo_model.training.rendering import TEMPLATE_PATH
from engine.demo_model.training.tokenizer import END_TOKEN, PAD_TOKEN, save_tokenizer

__all__ = ["export", "restore"]


_WEIGHTS = "model.safetensors"


def _config(shape: Shape, end_id: int, pad_id: int) -> dict[str, object]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.num_heads,
        "num_key_value_heads": shape.num_kv_heads,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": shape.max_positions,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_theta": shape.rope_theta, "rope_type": "default"},
        "attention_bias": False,
        "tie_word_embeddings": True,
        "eos_token_id": end_id,
        "bos_token_id": None,
        "pad_token_id": pad_id,
        "dtype": "float32",  # what it computes in: fast on every processor
    }


def _token_id(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    assert found is not None, f"the tokenizer lacks {token}"
    return found


def _exported_name(name: str) -> str:
    return f"model.{name.replace('/', '.')}.weight"


def restore(network: Network, folder: Path) -> Tokenizer:
    """Sets the weights of `network` to those of an exported folder; returns its tokenizer.

    A larger network starts with the same outputs, but for what the norms' epsilon weighs.
    Raises ValueError if it is smaller.
    """
    tensors = load_file(folder / _WEIGHTS)
    set_weights(
        dict(network.weights.items()),
        {
            name.removeprefix("model.").removesuffix(".weight").replace(".", "/"): value.float()
            for name, value in tensors.items()
        },
    )
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def export(network: Network, tokenizer: Tokenizer, folder: Path) -> None:
    """Writes config, bfloat16 weights, tokenizer and chat template into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    end_id, pad_id = (_token_id(tokenizer, token) for token in (END_TOKEN, PAD_TOKEN))
    tensors = {
        _exported_name(name): value.detach().to("cpu", torch.bfloat16)
        for name, value in network.weights.items()
    }
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})
    (folder / _WEIGHTS).chmod(0o644)
    config = _config(network.shape, end_id, pad_id)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    generation = {"eos_token_id": end_id, "pad_token_id": pad_id, "do_sample": False}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    save_tokenizer(tokenizer, folder, TEMPLATE_PATH.read_text())
