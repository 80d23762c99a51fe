"""The prompts of the golden tests, and what transformers and our engine generate for them."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from tests.engine.tiny_engine import TinyEngine, make_request
from tests.engine.tiny_models import VOCAB_SIZE, tiny_model

__all__ = ["NUM_TOKENS", "expected", "generated", "own_tokens", "prompts"]

NUM_TOKENS = 10


def prompts() -> list[list[int]]:
    """Mixed lengths; the last two share a prefix of two to four blocks."""
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randint(3, VOCAB_SIZE, (120,), generator=generator).tolist()
    shared = drawn[30:65]
    return [drawn[:1], drawn[1:6], drawn[6:30], shared + drawn[65:71], shared + drawn[71:80]]


def generated(model: Any, make_cache: Callable[[], Any] = lambda: None) -> list[list[int]]:
    """What a model of transformers generates, each prompt alone, over a cache of its own."""
    outputs = []
    for prompt in prompts():
        tokens = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            past_key_values=make_cache(),
            do_sample=False,
            max_new_tokens=NUM_TOKENS,
            min_new_tokens=NUM_TOKENS,
            eos_token_id=None,
            pad_token_id=0,
        )
        outputs.append(tokens[0, len(prompt) :].tolist())
    return outputs


@cache
def expected(family: str) -> list[list[int]]:
    """What a tiny model of the family generates."""
    return generated(tiny_model(family))


def own_tokens(engine: TinyEngine, run: str) -> list[list[int]]:
    """What our engine generates for all prompts together; `run` names the requests."""
    requests = [
        make_request(f"{run}-{index}", prompt, NUM_TOKENS) for index, prompt in enumerate(prompts())
    ]
    return list(engine.run(requests).values())
