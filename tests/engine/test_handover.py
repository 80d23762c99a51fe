"""A request that another worker began: its tokens are prefilled, and the text goes on as it would.

In float32 the continuation is the same, token for token, greedy and sampled. Lower precisions may
part ways, because a prefill rounds otherwise than a decode; `python -m bench.handover` measures how
often.
"""

from pathlib import Path

import pytest
import torch

from engine.request import Request, SamplingParams, StopRules
from tests.engine.tiny_engine import load_tiny, tiny_engine
from tests.engine.tiny_models import VOCAB_SIZE

NUM_TOKENS = 24
SAMPLINGS = {
    "greedy": SamplingParams(temperature=0.0),
    "sampled": SamplingParams(temperature=0.9, top_p=0.95, seed=11, frequency_penalty=0.3),
}


def prompts() -> list[list[int]]:
    generator = torch.Generator().manual_seed(5)
    drawn = torch.randint(3, VOCAB_SIZE, (80,), generator=generator).tolist()
    return [drawn[:3], drawn[3:20], drawn[20:58], drawn[20:50] + drawn[60:70]]


def requests(sampling: SamplingParams, done: dict[str, list[int]]) -> list[Request]:
    return [
        Request(
            request_id=str(number),
            prompt_token_ids=prompt,
            output_token_ids=list(done.get(str(number), [])),
            sampling=sampling,
            stop=StopRules(max_tokens=NUM_TOKENS),
        )
        for number, prompt in enumerate(prompts())
    ]


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
@pytest.mark.parametrize("name", SAMPLINGS)
def test_a_request_goes_on_from_another_workers_tokens(
    tmp_path: Path, family: str, name: str
) -> None:
    sampling = SAMPLINGS[name]
    loaded = load_tiny(family, tmp_path, dtype="float32")
    with tiny_engine(loaded) as engine:
        whole = engine.run(requests(sampling, {}))
    for cuts in ((1, 7, 12, 23), (23, 12, 1, 8)):
        done = {str(k): whole[str(k)][:cut] for k, cut in enumerate(cuts)}
        with tiny_engine(loaded) as engine:  # another worker: nothing is cached
            assert engine.run(requests(sampling, done)) == whole
