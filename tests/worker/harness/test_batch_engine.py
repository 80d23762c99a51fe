"""A list of requests through an engine of this process."""

from pathlib import Path

import pytest
import torch
import transformers

from engine.errors import RequestError
from engine.logprobs import LogprobRecord
from engine.request import Request, SamplingParams, StopRules
from tests.worker.harness.material import save_checkpoint
from worker.errors import SettingsError
from worker.harness.batch_engine import BatchEngine

CONTEXT = list(range(5, 25))
ENDINGS = ([30], [31, 32], [33, 34, 35])


def scoring(name: str, tokens: list[int], first: int) -> Request:
    return Request(
        request_id=name,
        prompt_token_ids=tokens,
        sampling=SamplingParams(temperature=0.0),
        stop=StopRules(max_tokens=0),
        logprobs=LogprobRecord(first_token=first, num_top=0),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def engine(folder: Path) -> BatchEngine:
    settings = {"model": str(folder), "dtype": "float32", "device": "cpu"}
    return BatchEngine({**settings, "kv_cache_memory_bytes": "16MiB", "max_num_seqs": 2})


def test_endings_get_the_models_own_log_probabilities(engine: BatchEngine, folder: Path) -> None:
    made = [scoring(str(n), [*CONTEXT, *each], len(CONTEXT)) for n, each in enumerate(ENDINGS)]
    ended: list[str] = []
    engine.run(made, lambda request: ended.append(request.request_id))
    assert sorted(ended) == ["0", "1", "2"]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for request, ending in zip(made, ENDINGS, strict=True):
        assert request.logprobs is not None
        with torch.no_grad():
            logits = model(torch.tensor([[*CONTEXT, *ending]])).logits[0].log_softmax(-1)
        places = range(len(CONTEXT) - 1, len(CONTEXT) + len(ending) - 1)
        expected = logits[places, ending]
        found = request.logprobs.rows()
        assert found.logprobs == pytest.approx(expected.numpy(), abs=1e-4)
        assert [rank == 1 for rank in found.ranks] == [
            int(logits[place].argmax()) == token
            for place, token in zip(places, ending, strict=True)
        ]


def test_one_that_cannot_run_ends_the_list_and_leaves_the_engine_clean(
    engine: BatchEngine,
) -> None:
    with pytest.raises(RequestError, match="maximum context length"):
        engine.run([scoring("a", CONTEXT, 3), scoring("b", [7] * 600, 3)], lambda _: None)
    again: list[str] = []
    engine.run([scoring("a", CONTEXT, 3)], lambda request: again.append(request.request_id))
    assert again == ["a"]


def test_a_name_that_is_no_setting_is_refused() -> None:
    with pytest.raises(SettingsError, match="speed is no setting of headrace; use one of block_"):
        BatchEngine({"model": "demo", "speed": 11})
