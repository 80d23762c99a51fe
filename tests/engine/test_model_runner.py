from pathlib import Path

import pytest
import torch
from transformers import AttentionInterface

from engine.device import HostCopies
from engine.errors import DeviceLostError
from engine.kv_cache import KVCache
from engine.model.load import LoadedModel
from engine.model_runner import ModelRunner
from engine.request import SamplingParams
from engine.step import NewRequest, PlanRow, StepPlan, StepResult
from tests.engine.tiny_engine import load_tiny
from tests.engine.tiny_models import VOCAB_SIZE, tiny_model

PROMPT = [9, 41, 7, 100, 63, 12, 88, 5, 5, 30]
GREEDY = SamplingParams(temperature=0.0)


def _runner(loaded: LoadedModel, *, max_num_seqs: int = 4, is_ahead: bool = False) -> ModelRunner:
    layers = list(loaded.layers.values())
    cache = KVCache(layers, num_blocks=16, block_size=4, device=loaded.device)
    return ModelRunner(loaded, cache, max_num_seqs=max_num_seqs, is_ahead=is_ahead)


def _new(name: str, token_ids: list[int], params: SamplingParams = GREEDY) -> NewRequest:
    return NewRequest(name, token_ids, len(token_ids), 0, params)


def _row(
    name: str, start: int, stop: int, blocks: tuple[int, ...] = (), samples: range | None = None
) -> PlanRow:
    wanted = range(stop - 1, stop) if samples is None else samples
    return PlanRow(name, start, stop - start, (blocks,), wanted)


def _greedy(family: str, token_ids: list[int]) -> list[int]:
    """The most likely successor of every token, by transformers."""
    with torch.inference_mode():
        logits = tiny_model(family)(torch.tensor([token_ids]), use_cache=False).logits[0]
    return logits.argmax(-1).tolist()  # type: ignore[no-any-return]


def test_several_positions_of_a_row_are_sampled_in_one_step(checkpoints: Path) -> None:
    runner = _runner(load_tiny("llama", checkpoints))
    plan = StepPlan(
        7,
        (_row("a", 0, 10, (5, 2, 0), range(4, 10)), _row("b", 0, 3, (1,), range(0))),
        (_new("a", PROMPT), _new("b", PROMPT)),
    )
    expected = _greedy("llama", PROMPT)[4:]
    assert runner.execute(plan) == StepResult(7, {"a": expected})


def test_a_step_that_samples_nothing_has_no_tokens(checkpoints: Path) -> None:
    runner = _runner(load_tiny("llama", checkpoints))
    plan = StepPlan(1, (_row("a", 0, 4, (0,), range(0)),), (_new("a", PROMPT),))
    assert runner.execute(plan) == StepResult(1, {})


def test_the_runner_remembers_what_it_sampled(checkpoints: Path) -> None:
    """The second plan does not carry the first token, and gets its successor."""
    runner = _runner(load_tiny("qwen3", checkpoints))
    first = runner.execute(StepPlan(1, (_row("a", 0, 10, (0, 1, 2)),), (_new("a", PROMPT),)))
    second = runner.execute(StepPlan(2, (_row("a", 10, 11),)))
    tokens = [*PROMPT, *first.token_ids["a"]]
    assert first.token_ids["a"] == _greedy("qwen3", PROMPT)[-1:]
    assert second.token_ids["a"] == _greedy("qwen3", tokens)[-1:]


def test_a_preempted_request_comes_back_in_other_blocks(checkpoints: Path) -> None:
    runner = _runner(load_tiny("llama", checkpoints))
    runner.execute(StepPlan(1, (_row("a", 0, 10, (0, 1, 2)),), (_new("a", PROMPT),)))
    other = _new("b", [1, 2, 3, 4])
    runner.execute(StepPlan(2, (_row("b", 0, 4, (0,)),), (other,), ("a",)))
    back = StepPlan(3, (_row("a", 0, 10, (7, 6, 5)),), (_new("a", PROMPT),))
    assert runner.execute(back).token_ids["a"] == _greedy("llama", PROMPT)[-1:]


def test_rows_may_share_blocks_that_this_very_step_fills(checkpoints: Path) -> None:
    runner = _runner(load_tiny("llama", checkpoints))
    twin = NewRequest("twin", PROMPT, len(PROMPT), 0, GREEDY)
    plan = StepPlan(
        1, (_row("a", 0, 10, (0, 1, 2)), _row("twin", 8, 10, (0, 1, 3))), (_new("a", PROMPT), twin)
    )
    result = runner.execute(plan)
    assert result.token_ids["twin"] == result.token_ids["a"] == _greedy("llama", PROMPT)[-1:]


def test_a_row_without_a_number_fails_alone(checkpoints: Path) -> None:
    loaded = load_tiny("llama", checkpoints)
    loaded.module.model.embed_tokens.weight.data[50] = float("nan")
    runner = _runner(loaded)
    plan = StepPlan(
        1,
        (_row("good", 0, 10, (0, 1, 2)), _row("bad", 0, 2, (3,)), _row("fine", 0, 1, (4,))),
        (_new("good", PROMPT), _new("bad", [50, 1]), _new("fine", [9])),
    )
    result = runner.execute(plan)
    assert result.token_ids == {
        "good": _greedy("llama", PROMPT)[-1:],
        "fine": _greedy("llama", [9])[-1:],
    }
    assert list(result.errors) == ["bad"]
    assert "NaN" in result.errors["bad"]


def test_after_a_failed_step_the_requests_can_be_sent_again(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_tiny("llama", checkpoints)
    runner = _runner(loaded)

    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory")

    plan = StepPlan(1, (_row("a", 0, 10, (0, 1, 2)),), (_new("a", PROMPT),))
    with monkeypatch.context() as patch:
        patch.setattr(loaded.module.model, "forward", break_down)
        with pytest.raises(RuntimeError, match="out of memory"):
            runner.execute(plan)
    again = StepPlan(2, plan.rows, plan.new_requests, ("a",))
    assert runner.execute(again).token_ids["a"] == _greedy("llama", PROMPT)[-1:]


@pytest.mark.parametrize("when", ["launch", "finish"])
def test_an_error_of_the_device_itself_is_named(
    when: str, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA reports a failure with whatever call comes next, that for the results at the latest."""
    loaded = load_tiny("llama", checkpoints)
    runner = _runner(loaded)

    def break_down(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    if when == "launch":
        monkeypatch.setattr(loaded.module.model, "forward", break_down)
    else:
        monkeypatch.setattr(HostCopies, "wait", break_down)
    with pytest.raises(DeviceLostError, match="illegal memory access"):
        runner.execute(StepPlan(1, (_row("a", 0, 10, (0, 1, 2)),), (_new("a", PROMPT),)))


def test_a_model_that_cannot_select_logits_runs_too(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_tiny("gemma2", checkpoints)  # its logits are capped after the output layer
    forward = loaded.module.forward
    monkeypatch.setattr(loaded.module, "forward", lambda **inputs: forward(**inputs))
    runner = _runner(loaded)
    plan = StepPlan(
        1,
        (_row("a", 0, 10, (0, 1, 2)), _row("b", 0, 3, (3,), range(0)), _row("c", 0, 2, (4,))),
        (_new("a", PROMPT), _new("b", PROMPT), _new("c", PROMPT[:2])),
    )
    assert runner.execute(plan).token_ids == {
        "a": _greedy("gemma2", PROMPT)[-1:],
        "c": _greedy("gemma2", PROMPT[:2])[-1:],
    }


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("family", ["qwen3", "gpt_oss", "deepseek_v3", "gemma2"])
def test_half_precision_models_answer_tokens_near_the_best(
    family: str, dtype: str, checkpoints: Path
) -> None:
    runner = _runner(load_tiny(family, checkpoints, dtype))
    plan = StepPlan(1, (_row("a", 0, 10, (0, 1, 2), range(10)),), (_new("a", PROMPT),))
    tokens = runner.execute(plan).token_ids["a"]
    with torch.inference_mode():
        logits = tiny_model(family)(torch.tensor([PROMPT]), use_cache=False).logits[0]
    spread = logits.std(dim=-1)
    missed = logits.max(dim=-1).values - logits[torch.arange(10), torch.tensor(tokens)]
    assert (missed < 0.2 * spread).all()
    assert all(0 <= token < VOCAB_SIZE for token in tokens)


def test_closing_gives_the_attention_name_back(checkpoints: Path) -> None:
    before = set(AttentionInterface().valid_keys())
    runner = _runner(load_tiny("llama", checkpoints))
    assert set(AttentionInterface().valid_keys()) - before
    runner.close()
    assert set(AttentionInterface().valid_keys()) == before


def test_two_runners_in_one_process_do_not_meet(checkpoints: Path) -> None:
    runners = {family: _runner(load_tiny(family, checkpoints)) for family in ("llama", "qwen2")}
    tokens = {family: list(PROMPT) for family in runners}
    for step in range(3):
        for family, runner in runners.items():
            if step == 0:
                plan = StepPlan(0, (_row("a", 0, 10, (0, 1, 2)),), (_new("a", PROMPT),))
            else:
                plan = StepPlan(step, (_row("a", 9 + step, 10 + step),))
            sampled = runner.execute(plan).token_ids["a"]
            assert sampled == _greedy(family, tokens[family])[-1:]
            tokens[family] += sampled
