"""Examples to token batches of one fixed size, made ahead in another process.

Owns: tokenising, loss weights, grouping by length. Must not know: the model.
A step holds a constant number of tokens, cut into strips. Each strip has sequences of one padded
length, so attention needs no mask but the causal one, and the rest of the model sees one flat run.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from multiprocessing.queues import Queue
from random import Random

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from engine.demo_model.training.arithmetic import drill
from engine.demo_model.training.curriculum import Lesson, lesson
from engine.demo_model.training.mixture import draw
from engine.demo_model.training.recall import exercise
from engine.demo_model.training.rendering import Rendered, render

__all__ = ["STEP_TOKENS", "Batch", "prefetched", "shard"]

_STRIP_TOKENS = 1536
_STRIPS_PER_STEP = 2
STEP_TOKENS = _STRIP_TOKENS * _STRIPS_PER_STEP
_LENGTHS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1536)  # they divide a strip
_SHARD_STRIPS = 400
_EXAMPLES_AT_ONCE = 100
_PROMPT_WEIGHT = 0.1
# A label or a sum is a token or three, a call is forty of which most are plain from the schema.
_ANSWER_WEIGHTS = {"arithmetic": 4.0, "classification": 3.0, "chat": 1.5, "copying": 1.5}
_EXERCISE_TOKENS = 384
_MARK_TOKENS = 6  # <think>, two line ends, </think>, two line ends


@dataclass(slots=True, frozen=True)
class Batch:
    """One step: flat [STEP_TOKENS] int64 `tokens`, `targets`, `positions` and float32 `weights`.

    `groups` lists (number of sequences, padded length) in order.
    """

    tokens: NDArray[np.int64]
    targets: NDArray[np.int64]
    positions: NDArray[np.int64]
    weights: NDArray[np.float32]
    groups: tuple[tuple[int, int], ...]


@dataclass(slots=True, frozen=True)
class _Entry:
    """One conversation: tokens, the token after each, and its weight in the loss."""

    tokens: list[int]
    targets: list[int]
    weights: list[float]


def shard(tokenizer: Tokenizer, seed: int, index: int, progress: float) -> list[Batch]:
    """The batches of one deterministic shard, at the curriculum's `progress`, 0..1."""
    rng = Random(f"{seed}/{index}")
    plan = lesson(progress)
    num_exercises = round(_SHARD_STRIPS * plan.exercise_share)
    strips = _exercise_strips(rng, tokenizer, num_exercises, plan)
    strips += _conversation_strips(rng, tokenizer, _SHARD_STRIPS - num_exercises, progress)
    rng.shuffle(strips)
    usable = len(strips) - len(strips) % _STRIPS_PER_STEP
    return [
        _batch(sorted(strips[start : start + _STRIPS_PER_STEP], key=lambda strip: strip[0]))
        for start in range(0, usable, _STRIPS_PER_STEP)
    ]


def _conversation_strips(
    rng: Random, tokenizer: Tokenizer, count: int, progress: float
) -> list[tuple[int, list[_Entry]]]:
    """About `count` strips; what is longer than a strip or does not fill one is left out."""
    waiting: dict[int, list[_Entry]] = {length: [] for length in _LENGTHS}
    strips: list[tuple[int, list[_Entry]]] = []
    while len(strips) < count:
        for _ in range(_EXAMPLES_AT_ONCE):
            example = draw(rng, progress)
            entry = _entry(tokenizer, render(example), _ANSWER_WEIGHTS.get(example.task, 1.0))
            length = next((length for length in _LENGTHS if len(entry.targets) <= length), None)
            if length is None:
                continue
            waiting[length].append(entry)
            if len(waiting[length]) == _STRIP_TOKENS // length:
                strips.append((length, waiting[length]))
                waiting[length] = []
    return strips


def _exercise_strips(
    rng: Random, tokenizer: Tokenizer, count: int, plan: Lesson
) -> list[tuple[int, list[_Entry]]]:
    added = tokenizer.get_added_tokens_decoder()
    vocabulary = [token for token in range(tokenizer.get_vocab_size()) if token not in added]

    @cache
    def encode(mark: str) -> Sequence[int]:
        ids: list[int] = tokenizer.encode(mark).ids
        return ids

    strips = []
    for _ in range(count):
        entries = []
        is_drill = rng.random() < plan.drill_share
        for _ in range(_STRIP_TOKENS // _EXERCISE_TOKENS):
            if is_drill:
                tokens, learnt = _drill_tokens(rng, tokenizer)
            else:
                tokens, learnt = exercise(rng, vocabulary, encode, _EXERCISE_TOKENS, plan)
            entries.append(_Entry(tokens[:-1], tokens[1:], [float(known) for known in learnt[1:]]))
        strips.append((_EXERCISE_TOKENS, entries))
    return strips


def _drill_tokens(rng: Random, tokenizer: Tokenizer) -> tuple[list[int], list[bool]]:
    """Sums in a row, of which the results are learnt."""
    tokens: list[int] = []
    learnt: list[bool] = []
    while len(tokens) <= _EXERCISE_TOKENS:
        for text, is_result in zip(drill(rng), (False, True), strict=True):
            ids = tokenizer.encode(text).ids
            tokens += ids
            learnt += [is_result] * len(ids)
    return tokens[: _EXERCISE_TOKENS + 1], learnt[: _EXERCISE_TOKENS + 1]


def _entry(tokenizer: Tokenizer, text: Rendered, answer_weight: float) -> _Entry:
    """Tokens and weights of one conversation."""
    segments = text.segments()
    pieces = tokenizer.encode_batch([segment.text for segment in segments])
    ids: list[int] = []
    weights: list[float] = []
    for segment, piece in zip(segments, pieces, strict=True):
        ids += piece.ids
        weights += [answer_weight if segment.learnt else _PROMPT_WEIGHT] * len(piece.ids)
        if not segment.learnt:  # that no thought is wanted is the template's choice, not a fact
            weights[-_MARK_TOKENS:] = [0.0] * _MARK_TOKENS
    return _Entry(ids[:-1], ids[1:], weights[1:])


def _batch(strips: list[tuple[int, list[_Entry]]]) -> Batch:
    tokens = np.zeros(STEP_TOKENS, np.int64)
    targets = np.zeros(STEP_TOKENS, np.int64)
    positions = np.zeros(STEP_TOKENS, np.int64)
    weights = np.zeros(STEP_TOKENS, np.float32)
    counts: dict[int, int] = {}
    offset = 0
    for length, entries in strips:
        counts[length] = counts.get(length, 0) + len(entries)
        for entry in entries:
            size = len(entry.targets)
            tokens[offset : offset + size] = entry.tokens
            targets[offset : offset + size] = entry.targets
            weights[offset : offset + size] = entry.weights
            positions[offset : offset + length] = np.arange(length)
            offset += length
    return Batch(
        tokens,
        targets,
        positions,
        weights,
        tuple((rows, length) for length, rows in counts.items()),
    )


def _produce(
    queue: "Queue[tuple[int, list[Batch]]]", tokenizer_json: str, seed: int, start: int, ramp: int
) -> None:
    tokenizer = Tokenizer.from_str(tokenizer_json)
    index = start
    while True:
        queue.put((index, shard(tokenizer, seed, index, min(1.0, index / max(1, ramp)))))
        index += 1


def prefetched(
    tokenizer: Tokenizer, seed: int, start: int, ramp: int
) -> Generator[tuple[int, list[Batch]], None, None]:
    """Shards from `start` on, with their numbers; the mixture is complete after `ramp` shards."""
    context = get_context("spawn")
    queue: Queue[tuple[int, list[Batch]]] = context.Queue(maxsize=3)
    process = context.Process(
        target=_produce, args=(queue, tokenizer.to_str(), seed, start, ramp), daemon=True
    )
    process.start()
    try:
        while True:
            yield queue.get()
    finally:
        process.terminate()
