"""Our greedy tokens are those of transformers' `generate`, one by one, in float32."""

from functools import cache
from pathlib import Path

import pytest
import torch

from engine.model import packed
from engine.model.packed import pack_linear_layers
from tests.engine.tiny_engine import TinyEngine, load_tiny, make_request, tiny_engine
from tests.engine.tiny_models import FAMILIES, REPLACED, VOCAB_SIZE, tiny_model

# The families of the big models people run: all chunk and block sizes. Others: one of each.
MAIN = (
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "gemma3",
    "phi3",
    "gpt_oss",
    "deepseek_v3",
)
OTHERS = tuple(sorted(FAMILIES.keys() - set(MAIN)))
NUM_TOKENS = 10


def _prompts() -> list[list[int]]:
    """Mixed lengths; the last two share a prefix of two to four blocks."""
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randint(3, VOCAB_SIZE, (120,), generator=generator).tolist()
    shared = drawn[30:65]
    return [drawn[:1], drawn[1:6], drawn[6:30], shared + drawn[65:71], shared + drawn[71:80]]


@cache
def expected(family: str) -> list[list[int]]:
    """What transformers generates, each prompt alone."""
    model = tiny_model(family)
    outputs = []
    for prompt in _prompts():
        tokens = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=NUM_TOKENS,
            min_new_tokens=NUM_TOKENS,
            eos_token_id=None,
            pad_token_id=0,
        )
        outputs.append(tokens[0, len(prompt) :].tolist())
    return outputs


def _generate(engine: TinyEngine, run: str) -> list[list[int]]:
    requests = [
        make_request(f"{run}-{index}", prompt, NUM_TOKENS)
        for index, prompt in enumerate(_prompts())
    ]
    return list(engine.run(requests).values())


@pytest.mark.parametrize("block_size", [8, 16])
@pytest.mark.parametrize("chunk", [1, 7, 64])
@pytest.mark.parametrize("family", MAIN)
def test_tokens_equal_generate_with_a_cold_and_a_warm_cache(
    family: str, chunk: int, block_size: int, checkpoints: Path
) -> None:
    with tiny_engine(
        load_tiny(family, checkpoints), block_size=block_size, max_num_batched_tokens=chunk
    ) as engine:
        assert _generate(engine, "cold") == expected(family)
        hits = engine.scheduler.prefix_cache_hits
        assert _generate(engine, "warm") == expected(family)
        assert engine.scheduler.prefix_cache_hits - hits >= 80, "the second run was not warm"


@pytest.mark.parametrize("family", OTHERS)
def test_tokens_equal_generate_for_other_families(family: str, checkpoints: Path) -> None:
    with tiny_engine(load_tiny(family, checkpoints), max_num_batched_tokens=17) as engine:
        assert _generate(engine, "cold") == expected(family)
        assert _generate(engine, "warm") == expected(family)


@pytest.mark.parametrize("family", MAIN)
def test_tokens_equal_generate_when_requests_are_preempted(family: str, checkpoints: Path) -> None:
    with tiny_engine(
        load_tiny(family, checkpoints), num_blocks=15, block_size=8, max_num_batched_tokens=20
    ) as engine:
        assert _generate(engine, "tight") == expected(family)
        assert engine.scheduler.num_preemptions > 0, "nothing was preempted: give fewer blocks"


@pytest.mark.parametrize("family", sorted(REPLACED))
def test_tokens_equal_generate_with_the_models_own_layers(family: str, checkpoints: Path) -> None:
    """What every model falls back to whose decoder no rule knows."""
    loaded = load_tiny(family, checkpoints, is_replaced=False)
    with tiny_engine(loaded, max_num_batched_tokens=17) as engine:
        assert _generate(engine, "cold") == expected(family)
        assert _generate(engine, "warm") == expected(family)


@pytest.mark.parametrize("is_replaced", [True, False])
@pytest.mark.parametrize("family", sorted(REPLACED))
def test_tokens_equal_generate_with_packed_weights(
    family: str, is_replaced: bool, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "LEAST_WEIGHTS", 1)
    loaded = load_tiny(family, checkpoints, is_replaced=is_replaced)
    pack_linear_layers(loaded.module)
    with tiny_engine(loaded, max_num_batched_tokens=17) as engine:
        assert _generate(engine, "cold") == expected(family)
        assert _generate(engine, "warm") == expected(family)


def test_tokens_equal_generate_when_steps_are_planned_ahead(checkpoints: Path) -> None:
    """Plans then leave before the tokens of the step before them are known to the scheduler."""
    with tiny_engine(
        load_tiny("qwen3", checkpoints), max_num_batched_tokens=20, max_in_flight=2
    ) as engine:
        assert _generate(engine, "ahead") == expected("qwen3")


def test_answers_depend_on_the_model() -> None:
    answers = {family: expected(family) for family in MAIN}
    assert len({str(answer) for answer in answers.values()}) == len(MAIN)
    for family, answer in answers.items():
        assert len({token for tokens in answer for token in tokens}) >= 6, f"{family} is too dull"
