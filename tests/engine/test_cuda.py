"""What holds on the CPU holds on a GPU: the tokens of `generate`, and independence of neighbours,
with recorded decoding and steps planned ahead.
"""

import random
from pathlib import Path

import pytest
import torch

from engine.cuda_graphs import CudaRecorder
from tests.engine.golden import expected, own_tokens
from tests.engine.test_golden import MAIN
from tests.engine.test_independence import _requests
from tests.engine.tiny_engine import load_tiny, tiny_engine

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CUDA = torch.device("cuda", 0)


@pytest.mark.parametrize("is_recorded", [False, True])
@pytest.mark.parametrize("family", MAIN)
def test_tokens_equal_generate(family: str, is_recorded: bool, checkpoints: Path) -> None:
    with tiny_engine(
        load_tiny(family, checkpoints, device=CUDA),
        max_num_batched_tokens=20,
        max_in_flight=2,
        recorder=CudaRecorder() if is_recorded else None,
    ) as engine:
        assert own_tokens(engine, "cold") == expected(family)
        assert own_tokens(engine, "warm") == expected(family)


def test_tokens_equal_generate_when_requests_are_preempted(checkpoints: Path) -> None:
    with tiny_engine(
        load_tiny("qwen3", checkpoints, device=CUDA),
        num_blocks=15,
        max_num_batched_tokens=20,
        max_in_flight=2,
        recorder=CudaRecorder(),
    ) as engine:
        assert own_tokens(engine, "tight") == expected("qwen3")
        assert engine.scheduler.num_preemptions > 0


def test_tokens_do_not_depend_on_shuffled_neighbours(checkpoints: Path) -> None:
    """Sampled with every parameter; the CPU's own tokens, since the noise is the same."""
    with tiny_engine(load_tiny("qwen3", checkpoints), num_blocks=80) as engine:
        wanted = engine.run(_requests())
    loaded = load_tiny("qwen3", checkpoints, device=CUDA)
    for seed in range(2):
        requests = _requests()
        random.Random(seed).shuffle(requests)
        with tiny_engine(loaded, num_blocks=80, max_in_flight=2, recorder=CudaRecorder()) as engine:
            assert engine.run(requests) == wanted
