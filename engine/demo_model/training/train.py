"""The training loop: `python -m engine.demo_model.training.train --out FOLDER`.

Owns: schedule, logging, checkpoints, resuming. Must not know: how examples are made.
Progress is the share of `--steps` done, or of `--minutes` if that is further: a slow machine still
ends with a finished schedule. Learning rate: short warm-up, then a linear decay to zero.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from engine.demo_model.training.accuracy import exact_share, reference_batches
from engine.demo_model.training.batches import STEP_TOKENS, Batch, prefetched
from engine.demo_model.training.copy_heads import start_with_copy_heads
from engine.demo_model.training.export import export, restore
from engine.demo_model.training.mixture import draw
from engine.demo_model.training.network import Network, Shape
from engine.demo_model.training.optimizer import Optimizer
from engine.demo_model.training.rendering import render
from engine.demo_model.training.tokenizer import train_tokenizer

_TOKENIZER_EXAMPLES = 12_000
_CURRICULUM_SHARDS = 12
_WARMUP_STEPS = 60
_CHECK_EVERY_S = 420.0


@dataclass(slots=True)
class Progress:
    """Where the run stands; saved with the checkpoint."""

    step: int = 0
    shard: int = 0
    elapsed_s: float = 0.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the demo model from scratch.")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint and log")
    parser.add_argument("--steps", type=int, default=6000, help=f"of {STEP_TOKENS} tokens each")
    parser.add_argument("--minutes", type=float, default=180.0, help="wall time, pauses excluded")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--held-out", type=Path, help="rows of `python -m jobs.evals.demo`")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--start", type=Path, help="exported weights to go on from, all tasks on")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--hidden-size", type=int, default=Shape.hidden_size)
    parser.add_argument("--num-layers", type=int, default=Shape.num_layers)
    parser.add_argument("--num-heads", type=int, default=Shape.num_heads)
    parser.add_argument("--intermediate-size", type=int, default=Shape.intermediate_size)
    parser.add_argument("--matrix-rate", type=float, default=0.006)
    parser.add_argument("--other-rate", type=float, default=0.0015)
    return parser.parse_args()


def _tokenizer(folder: Path, seed: int) -> Tokenizer:
    path = folder / "tokenizer_raw.json"
    if path.exists():
        return Tokenizer.from_file(str(path))
    rng = Random(f"tokenizer/{seed}")
    texts = (render(draw(rng, 1.0)) for _ in range(_TOKENIZER_EXAMPLES))
    made = train_tokenizer((text.prompt + text.answer for text in texts), Shape.vocab_size)
    made.save(str(path))
    return made


def _rate_factor(step: int, done: float) -> float:
    warmup = min(1.0, (step + 1) / _WARMUP_STEPS)
    return warmup * (1.0 - done)


def _train_step(network: Network, batch: Batch, device: str, rng: Random) -> Tensor:
    """Backward pass of one batch; the head sees the answers and a sample of the prompts."""
    weights = torch.from_numpy(batch.weights)
    keys = (weights >= 1).float() + torch.rand(
        STEP_TOKENS, generator=torch.Generator().manual_seed(rng.getrandbits(40))
    ) * (weights > 0)
    chosen = keys.topk(STEP_TOKENS * 3 // 8).indices.sort().values
    tokens, targets, positions = (
        torch.from_numpy(array).to(device)
        for array in (batch.tokens, batch.targets, batch.positions)
    )
    weights, chosen = weights[chosen].to(device), chosen.to(device)
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        hidden = network.hidden(tokens, positions, batch.groups)
        losses = network.losses(hidden[chosen], targets[chosen])
    mean = (losses * weights).sum() / weights.sum()
    mean.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return losses[weights >= 1].mean()


class Trainer:
    """Network, optimizer and log of one run."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.folder: Path = arguments.out
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(arguments.threads)
        torch.manual_seed(arguments.seed)
        shape = Shape(
            hidden_size=arguments.hidden_size,
            num_layers=arguments.num_layers,
            num_heads=arguments.num_heads,
            num_kv_heads=arguments.num_heads,
            intermediate_size=arguments.intermediate_size,
        )
        self.network = Network(shape, compiled=not arguments.no_compile).to(arguments.device)
        self.progress = Progress()
        if arguments.start is None:
            start_with_copy_heads(self.network)
            self.tokenizer = _tokenizer(self.folder, arguments.seed)
        else:
            self.tokenizer = restore(self.network, arguments.start)
            self.progress.shard = _CURRICULUM_SHARDS
        self.optimizer = Optimizer(
            self.network.named_parameters(),
            matrix_rate=arguments.matrix_rate,
            other_rate=arguments.other_rate,
        )
        self._checks = reference_batches(self.tokenizer, arguments.seed, arguments.held_out)
        if arguments.resume and (self.folder / "checkpoint.pt").exists():
            self._load()
        size = sum(parameter.numel() for parameter in self.network.parameters())
        self.log(event="start", parameters=size, pid=os.getpid(), **shape.as_dict())

    def log(self, **entry: Any) -> None:
        """One JSON line to the log file and to standard output."""
        line = json.dumps({"step": self.progress.step, **entry})
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(line + "\n")
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def done(self) -> float:
        """Share of the schedule that is behind us, 0..1."""
        spent = self.progress.elapsed_s / 60 / self.arguments.minutes
        return float(min(1.0, max(self.progress.step / self.arguments.steps, spent)))

    def save(self) -> None:
        """Writes the checkpoint and the weights as a transformers folder, atomically."""
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": asdict(self.progress),
        }
        temporary = self.folder / "checkpoint.tmp"
        torch.save(state, temporary)
        temporary.replace(self.folder / "checkpoint.pt")
        export(self.network, self.tokenizer, self.folder / "model")

    def _load(self) -> None:
        state = torch.load(self.folder / "checkpoint.pt", map_location=self.arguments.device)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])

    def check(self) -> None:
        """Logs exact-answer shares and saves."""
        shares = exact_share(self.network, self._checks, self.arguments.device)
        self.log(event="check", done=round(self.done(), 3), **shares)
        self.save()

    def run(self) -> None:
        """Trains until the schedule is done."""
        rng = Random(self.arguments.seed + self.progress.step)
        last_check, started, since = time.monotonic(), time.monotonic(), 0
        shards = prefetched(
            self.tokenizer, self.arguments.seed, self.progress.shard, _CURRICULUM_SHARDS
        )
        for index, batches in shards:
            for batch in batches:
                begun = time.monotonic()
                loss = _train_step(self.network, batch, self.arguments.device, rng)
                self.optimizer.step(_rate_factor(self.progress.step, self.done()))
                self.progress.step += 1
                # A stopped process must not use up the schedule: a step counts 30 s at most.
                self.progress.elapsed_s += min(30.0, time.monotonic() - begun)
                since += 1
                if since == 20:
                    rate = since * STEP_TOKENS / (time.monotonic() - started)
                    self.log(
                        loss=round(loss.item(), 4), tokens_per_s=round(rate),
                        minutes=round(self.progress.elapsed_s / 60, 1),
                        done=round(self.done(), 3),
                    )  # fmt: skip
                    started, since = time.monotonic(), 0
                if self.done() >= 1.0:
                    self.check()
                    shards.close()
                    return
            self.progress.shard = index + 1
            if time.monotonic() - last_check > _CHECK_EVERY_S:
                self.check()
                last_check = started = time.monotonic()
                since = 0


def main() -> None:
    """The command."""
    Trainer(_arguments()).run()


if __name__ == "__main__":
    main()
