"""Checkpoints with random weights, for measuring speed without downloads.

    python -m bench.models --out models [--only tiny q06b moe]

The shapes are Qwen3's: `q06b` that of Qwen3-0.6B with a vocabulary of 32,768, `tiny` one whose
steps cost little but overhead, `moe` a small mixture of 16 experts. The demo model's tokenizer
comes with them; prompts of a workload are token ids anyway.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from engine.model.source import resolve_model

_SEED = 7
SHAPES: dict[str, dict[str, Any]] = {
    "q06b": {
        "vocab_size": 32768,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
    "tiny": {
        "vocab_size": 4096,
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
    },
    "moe": {
        "vocab_size": 4096,
        "hidden_size": 512,
        "intermediate_size": 1024,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 64,
        "num_experts": 16,
        "num_experts_per_tok": 4,
        "moe_intermediate_size": 256,
        "norm_topk_prob": True,
    },
}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def save_random_model(name: str, folder: Path) -> Path:
    """Write the checkpoint `name` in bfloat16 into `folder`, unless it is there."""
    if (folder / "config.json").exists():
        return folder
    torch.manual_seed(_SEED)
    is_mixture = "num_experts" in SHAPES[name]
    config_class = Qwen3MoeConfig if is_mixture else Qwen3Config
    config = config_class(
        **SHAPES[name],
        max_position_embeddings=40960,
        tie_word_embeddings=True,
        eos_token_id=2,
        pad_token_id=0,
        bos_token_id=None,
    )
    model_class = Qwen3MoeForCausalLM if is_mixture else Qwen3ForCausalLM
    model = model_class(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    for file in _TOKENIZER_FILES:
        shutil.copy(resolve_model("demo") / file, folder / file)
    return folder


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Write random checkpoints for benchmarks.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=sorted(SHAPES), default=sorted(SHAPES))
    arguments = parser.parse_args()
    for name in arguments.only:
        print(save_random_model(name, arguments.out / name))


if __name__ == "__main__":
    main()
