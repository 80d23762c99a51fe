"""Tiny random models of many families, saved as ordinary checkpoints.

Their weights are drawn wide enough that answers depend on every part of the model and near-ties
between tokens do not happen.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers

__all__ = ["FAMILIES", "REPLACED", "VOCAB_SIZE", "save_tiny_model", "tiny_model"]

torch.set_num_threads(1)  # two would wait for each other longer than they compute
transformers.logging.disable_progress_bar()

VOCAB_SIZE = 128

_COMMON: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


@dataclass(frozen=True)
class Family:
    """A config class of transformers, and what is special about our tiny instance of it."""

    config: str
    settings: dict[str, Any]


# The families whose decoder is replaced by ours.
REPLACED = {
    *("llama", "mistral", "phi3", "qwen2", "qwen3"),
    *("mixtral", "qwen2_moe", "qwen3_moe"),
}

FAMILIES = {
    "llama": Family("Llama", {}),
    "mistral": Family("Mistral", {"sliding_window": 12}),
    "qwen2": Family("Qwen2", {}),
    "qwen3": Family("Qwen3", {"head_dim": 8, "tie_word_embeddings": True}),
    "qwen3_moe": Family(
        "Qwen3Moe",
        {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24},
    ),
    "mixtral": Family(
        "Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 12}
    ),
    "qwen2_moe": Family(  # its first layer is no mixture
        "Qwen2Moe",
        {
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "shared_expert_intermediate_size": 20,
            "decoder_sparse_step": 2,
        },
    ),
    "gemma2": Family(
        "Gemma2",
        {
            "head_dim": 8,
            "sliding_window": 12,
            "query_pre_attn_scalar": 8,
            "attn_logit_softcapping": 0.7,
            "final_logit_softcapping": 2.0,
        },
    ),
    "gemma3": Family(
        "Gemma3Text",
        {
            "head_dim": 8,
            "sliding_window": 12,
            "query_pre_attn_scalar": 8,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    "phi3": Family(
        "Phi3",
        {
            "original_max_position_embeddings": 256,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10000.0,
                "short_factor": [1.0, 1.1, 1.2, 1.3],
                "long_factor": [1.0, 2.0, 3.0, 4.0],
                "factor": 1.0,
                "original_max_position_embeddings": 256,
            },
        },
    ),
    "gpt_oss": Family(
        "GptOss",
        {
            "head_dim": 8,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "sliding_window": 12,
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        },
    ),
    "deepseek_v3": Family(
        "DeepseekV3",
        {
            "num_key_value_heads": 4,
            "q_lora_rank": 12,
            "kv_lora_rank": 8,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 8,
            "v_head_dim": 6,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "moe_intermediate_size": 24,
            "first_k_dense_replace": 1,
        },
    ),
    "olmo2": Family("Olmo2", {}),
    "cohere2": Family("Cohere2", {"sliding_window": 12, "logit_scale": 0.25}),
    "stablelm": Family("StableLm", {}),
    "gpt2": Family("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}),
}


@cache
def tiny_model(family: str) -> Any:
    """The model, in float32 with eager attention. Do not change it."""
    chosen = FAMILIES[family]
    config = getattr(transformers, f"{chosen.config}Config")(**_COMMON | chosen.settings)
    config._attn_implementation = "eager"
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(sum(family.encode()))
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.15)
            else:  # norms, biases and sinks keep their level, but none is the identity
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model.eval()


def save_tiny_model(family: str, folder: Path) -> Path:
    """Save the model as a checkpoint without a tokenizer; returns its folder."""
    target = folder / family
    if not target.exists():
        tiny_model(family).save_pretrained(target)
    return target
