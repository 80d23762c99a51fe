"""Requests of known shape, made of random tokens.

Owns: the shapes and their seeds. Must not know: engines, clocks. Four shapes are fixed, so that
figures of different days, machines and programs compare: chat, shared prefixes, long prompts with
short answers, and conversations that grow by turns. An "s" behind the name is one eighth of it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

__all__ = ["WORKLOADS", "Shape", "WorkItem", "custom_items", "workload_items"]

_SEED = 7


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One request: its prompt, and exactly how many tokens it generates."""

    name: str
    prompt_token_ids: list[int]
    num_output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Bounds, in tokens, between which lengths are drawn evenly."""

    prompt: tuple[int, int]
    output: tuple[int, int]
    shared_prefix: int = 0


class _Words:
    """Random tokens that leave out the first ids, where special tokens tend to be."""

    def __init__(self, rng: Random, vocab_size: int) -> None:
        self.rng = rng
        self._ids = range(min(64, vocab_size // 2), vocab_size)

    def tokens(self, count: int) -> list[int]:
        return self.rng.choices(self._ids, k=count)

    def even(self, low: int, high: int) -> int:
        return self.rng.randint(low, high)

    def log_even(self, low: int, high: int) -> int:
        return round(math.exp(self.rng.uniform(math.log(low), math.log(high))))


def _chat(words: _Words, scale: int) -> list[WorkItem]:
    """256 requests: prompts of 32 to 512 tokens, answers of 16 to 256, short ones more often."""
    return [
        WorkItem(f"{number}", words.tokens(words.log_even(32, 512)), words.log_even(16, 256))
        for number in range(256 // scale)
    ]


def _shared_prefix(words: _Words, scale: int) -> list[WorkItem]:
    """16 groups of 16: a prefix of 512 tokens each, 32 to 64 of their own, in random order."""
    items = []
    for group in range(16 // scale):
        prefix = words.tokens(512)
        for number in range(16):
            own = words.tokens(words.even(32, 64))
            items.append(WorkItem(f"{group}-{number}", prefix + own, words.even(16, 64)))
    words.rng.shuffle(items)
    return items


def _long_prompt(words: _Words, scale: int) -> list[WorkItem]:
    """64 prompts of 1,500 tokens with answers of 8."""
    return [WorkItem(f"{number}", words.tokens(1500), 8) for number in range(64 // scale)]


def _turns(words: _Words, scale: int) -> list[WorkItem]:
    """32 conversations of 6 turns behind one prefix of 400 tokens; each turn extends the one
    before by a reply and a result. All first turns come first, then all second ones.
    """
    prefix = words.tokens(400)
    talks = [prefix + words.tokens(words.even(40, 120)) for _ in range(32 // scale)]
    items = []
    for turn in range(6):
        order = list(range(len(talks)))
        words.rng.shuffle(order)
        for number in order:
            items.append(WorkItem(f"{number}-{turn}", talks[number], words.even(24, 48)))
            grown = words.tokens(words.even(24, 48)) + words.tokens(words.even(60, 240))
            talks[number] = talks[number] + grown
    return items


_SHAPES: dict[str, Callable[[_Words, int], list[WorkItem]]] = {
    "W1": _chat,
    "W2": _shared_prefix,
    "W3": _long_prompt,
    "W4": _turns,
}
WORKLOADS = tuple(name + size for size in ("", "s") for name in _SHAPES)


def workload_items(name: str, vocab_size: int, *, times: int = 1) -> list[WorkItem]:
    """The requests of one of `WORKLOADS`, the same on every call; with `times`, so many rounds of
    its shape, each of other tokens and lengths.
    """
    shape, is_small = name.removesuffix("s"), name.endswith("s")
    words = _Words(Random(f"{_SEED}/{name}"), vocab_size)
    items = _SHAPES[shape](words, 8 if is_small else 1)
    for number in range(1, times):
        more = _SHAPES[shape](words, 8 if is_small else 1)
        items += [replace(item, name=f"{number}/{item.name}") for item in more]
    return items


def custom_items(shape: Shape, num_requests: int, vocab_size: int, seed: int) -> list[WorkItem]:
    """`num_requests` of a shape of one's own; the shared prefix is part of the prompt's length."""
    words = _Words(Random(f"custom/{seed}"), vocab_size)
    prefix = words.tokens(shape.shared_prefix)
    items = []
    for number in range(num_requests):
        own = words.tokens(max(1, words.even(*shape.prompt) - len(prefix)))
        items.append(WorkItem(f"{number}", prefix + own, words.even(*shape.output)))
    return items
