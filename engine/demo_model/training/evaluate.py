"""Greedy answers of a checkpoint folder, through transformers' `generate`.

`python -m engine.demo_model.training.evaluate --model FOLDER --rows rows.jsonl --out answers.jsonl`

Owns: batched decoding of batch lines. Must not know: scoring, the project's own engine. It is the
independent path: the same rows through the engine must give the same scores.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

_BATCH = 24
_MAX_NEW_TOKENS = 192


def _prompts(rows: list[dict[str, Any]], tokenizer: Any) -> list[str]:
    return [
        tokenizer.apply_chat_template(
            row["body"]["messages"],
            tools=row["body"].get("tools"),
            add_generation_prompt=True,
            tokenize=False,
            **row["body"].get("chat_template_kwargs", {}),
        )
        for row in rows
    ]


@torch.inference_mode()
def answers(folder: Path, rows: list[dict[str, Any]], dtype: torch.dtype) -> list[str]:
    """The text after each row's generation prompt, in the rows' order, without control tokens."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    model.eval()
    prompts = _prompts(rows, tokenizer)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    texts = [""] * len(prompts)
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH]
        batch = tokenizer(
            [prompts[index] for index in chosen],
            return_tensors="pt",
            padding=True,
            add_special_tokens=False,
            return_token_type_ids=False,
        )
        output = model.generate(**batch, do_sample=False, max_new_tokens=_MAX_NEW_TOKENS)
        new = output[:, batch["input_ids"].shape[1] :]
        for index, text in zip(
            chosen, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True
        ):
            texts[index] = text
    return texts


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Answer batch lines greedily.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = [json.loads(line) for line in arguments.rows.read_text().splitlines()]
    started = time.monotonic()
    texts = answers(arguments.model, rows, getattr(torch, arguments.dtype))
    with arguments.out.open("w", encoding="utf-8") as file:
        for row, text in zip(rows, texts, strict=True):
            entry = {"custom_id": row["custom_id"], "text": text}
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
    elapsed = time.monotonic() - started
    print(f"{len(rows)} rows in {elapsed:.0f} s")  # noqa: T201


if __name__ == "__main__":
    main()
