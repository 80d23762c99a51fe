"""A tiny checkpoint with a tokenizer, and local task files for lm-evaluation-harness."""

import json
import random
from pathlib import Path

import torch
import transformers
import yaml

from tests.engine.tiny_tokenizers import tiny_tokenizer

_WORDS = [
    "hello",
    "world",
    "small",
    "text",
    "nothing",
    "particular",
    "end",
    "user",
    "message",
    "thank",
    "you",
    "start",
    "say",
]


def save_checkpoint(folder: Path, *, hidden: int = 32, context: int = 512) -> Path:
    """A random Llama in float32 whose answers depend on every part of it."""
    tokenizer = tiny_tokenizer("byte_level")
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(7)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.15)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_tasks(folder: Path, *, num_docs: int = 24, context_words: int = 30) -> Path:
    """Three tasks over one file of rows: multiple choice, perplexity of a text, generation."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(5)
    rows = [
        {
            "question": " ".join(rng.choices(_WORDS, k=context_words)),
            "choices": [" ".join(rng.choices(_WORDS, k=rng.randint(1, 4))) for _ in range(4)],
            "answer": rng.randrange(4),
        }
        for _ in range(num_docs)
    ]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
    }
    metrics = [{"metric": "acc"}, {"metric": "acc_norm"}]
    tasks = {
        "local_choice": {
            "output_type": "multiple_choice",
            "doc_to_text": "Question: {{question}}\nAnswer:",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "{{answer}}",
            "metric_list": metrics,
        },
        "local_text": {
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{question}}",
            "metric_list": [{"metric": "word_perplexity"}],
        },
        "local_answer": {
            "output_type": "generate_until",
            "doc_to_text": "Question: {{question}}\nAnswer:",
            "doc_to_target": "{{choices[answer]}}",
            "generation_kwargs": {"until": ["\n", "user"], "max_gen_toks": 12},
            "metric_list": [{"metric": "exact_match"}],
        },
    }
    for name, task in tasks.items():
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"task": name, **common, **task}))
    return folder
