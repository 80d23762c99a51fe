"""How many answers come out exactly, measured in one forward pass.

Owns: the check during training. Must not know: the optimizer, the queue.
If the most likely token equals the reference at every answer position given the reference before
it, then greedy decoding writes exactly the reference; so no decoding is needed. An answer that is
right in another spelling counts as wrong here: a lower bound.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from tokenizers import Tokenizer

from engine.demo_model.training.examples import Example
from engine.demo_model.training.mixture import draw
from engine.demo_model.training.network import Network
from engine.demo_model.training.rendering import render

__all__ = ["Reference", "exact_share", "reference_batches"]

_NUM_TRAINING_LIKE = 200
_BATCH = 16


@dataclass(slots=True, frozen=True)
class Reference:
    """A prompt and its answer as token ids."""

    task: str
    ids: list[int]
    num_prompt: int


def _held_out(path: Path) -> list[Example]:
    examples = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        body = row["body"]
        thinking = body.get("chat_template_kwargs", {}).get("enable_thinking", False)
        answer = row["reference"]
        examples.append(
            Example(
                "held/" + row["task"], body["messages"], answer, body.get("tools", []), thinking
            )
        )
    return examples


def reference_batches(
    tokenizer: Tokenizer, seed: int, held_out: Path | None
) -> list[list[Reference]]:
    """References grouped by length: unseen examples of the training kind, and the held-out file."""
    rng = Random(f"check/{seed}")
    examples = [draw(rng, 1.0) for _ in range(_NUM_TRAINING_LIKE)]
    if held_out is not None:
        examples += _held_out(held_out)
    references = []
    for example in examples:
        text = render(example)
        prompt = tokenizer.encode(text.prompt).ids
        ids = prompt + tokenizer.encode(text.answer).ids
        references.append(Reference(example.task, ids, len(prompt)))
    references.sort(key=lambda reference: len(reference.ids))
    return [references[at : at + _BATCH] for at in range(0, len(references), _BATCH)]


@torch.no_grad()
def exact_share(
    network: Network, batches: Sequence[Sequence[Reference]], device: str
) -> dict[str, float]:
    """Share of references that greedy decoding reproduces, by task, 0..1."""
    plain = Network(network.shape).to(device)
    plain.load_state_dict(network.state_dict())
    hits: dict[str, list[bool]] = {}
    for batch in batches:
        length = max(len(reference.ids) for reference in batch)
        tokens = torch.zeros(len(batch), length, dtype=torch.int64)
        for row, reference in enumerate(batch):
            tokens[row, : len(reference.ids)] = torch.tensor(reference.ids)
        positions = torch.arange(length).repeat(len(batch))
        hidden = plain.hidden(
            tokens.flatten().to(device), positions.to(device), [(len(batch), length)]
        ).view(len(batch), length, -1)
        for row, reference in enumerate(batch):
            answer = slice(reference.num_prompt - 1, len(reference.ids) - 1)
            best = plain.logits(hidden[row, answer]).argmax(-1).cpu()
            right = torch.equal(best, tokens[row, reference.num_prompt : len(reference.ids)])
            hits.setdefault(reference.task, []).append(right)
    return {task: round(sum(found) / len(found), 3) for task, found in sorted(hits.items())}
