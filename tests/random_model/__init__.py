"""Builds a checkpoint with random weights: whatever is asked of it, it goes on until the limit.

Owns: its files, the same bits on every run. Must not know: how they are loaded.
Weights are drawn as integers by a counter-free generator of numpy and scaled exactly, not by torch,
whose normal distribution depends on the processor's vector width.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

__all__ = ["build_random_model"]

_SEED = 20_260_117
_VOCAB_SIZE = 2048
_SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_TAGS = [
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
]

_CONFIG: dict[str, Any] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "dtype": "float32",
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "hidden_act": "silu",
    "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    "tie_word_embeddings": True,
    "attention_bias": False,
    "bos_token_id": None,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "clean_up_tokenization_spaces": False,
    "eos_token": "<|im_end|>",
    "model_max_length": 4096,
    "pad_token": "<|endoftext|>",
}


def build_random_model(folder: Path) -> None:
    """Write the checkpoint into `folder`, which exists."""
    tokenizer = _train_tokenizer()
    vocab_size = tokenizer.get_vocab_size()
    config = {**_CONFIG, "vocab_size": vocab_size}
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(folder / "tokenizer_config.json", _TOKENIZER_CONFIG)
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", {"eos_token_id": [2, 0], "pad_token_id": 0})
    (folder / "chat_template.jinja").write_text(_source("template.jinja"), encoding="utf-8")
    save_file(dict(_weights(config)), folder / "model.safetensors", metadata={"format": "pt"})


def _train_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCAB_SIZE - len(_TAGS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=_SPECIAL_TOKENS,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_source("corpus.txt").splitlines(keepends=True), trainer)
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in _TAGS])
    return tokenizer


def _weights(config: dict[str, Any]) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    random = np.random.Generator(np.random.PCG64(_SEED))
    for name, shape in _tensors(config):
        if len(shape) == 1:
            yield name, np.ones(shape, np.float32)
            continue
        # Uniform on a grid of 2^-16 steps: exact in float32. Layers keep the size of what they get;
        # the embedding, which is also the output layer, decides how sharp the answers are.
        width = 0.25 if "embed" in name else (3.0 / shape[1]) ** 0.5
        steps = random.integers(-(2**15), 2**15, size=shape, dtype=np.int32)
        yield name, steps.astype(np.float32) * np.float32(width * 2.0**-15)


def _tensors(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor, in a fixed order."""
    hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
    query = config["num_attention_heads"] * head
    key_value = config["num_key_value_heads"] * head
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for index in range(config["num_hidden_layers"]):
        layer = f"model.layers.{index}"
        yield f"{layer}.input_layernorm.weight", (hidden,)
        yield f"{layer}.self_attn.q_proj.weight", (query, hidden)
        yield f"{layer}.self_attn.k_proj.weight", (key_value, hidden)
        yield f"{layer}.self_attn.v_proj.weight", (key_value, hidden)
        yield f"{layer}.self_attn.o_proj.weight", (hidden, query)
        yield f"{layer}.self_attn.q_norm.weight", (head,)
        yield f"{layer}.self_attn.k_norm.weight", (head,)
        yield f"{layer}.post_attention_layernorm.weight", (hidden,)
        yield f"{layer}.mlp.gate_proj.weight", (inner, hidden)
        yield f"{layer}.mlp.up_proj.weight", (inner, hidden)
        yield f"{layer}.mlp.down_proj.weight", (hidden, inner)
    yield "model.norm.weight", (hidden,)


def _source(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
