"""What the sampling kernel is told; what it then does is tested in tests/kernels."""

import numpy as np
import pytest
import torch

from engine.batch import RequestRows, StepInputs
from engine.request import SamplingParams
from engine.sampler import Sampler
from engine.step import NewRequest, PlanRow, StepPlan
from kernels.sampling import SamplingTensors
from kernels.sampling.noise import uniform

VOCAB = 16
PROMPT = [3, 4, 5]


class Recorder:
    """Keeps what the kernel was given."""

    def __init__(self, sampler: Sampler) -> None:
        self.params = SamplingTensors()
        self._sample = sampler._sample
        sampler._sample = self

    def __call__(self, logits: torch.Tensor, params: SamplingTensors) -> object:
        self.params = params
        return self._sample(logits, params)


def _step(
    *requests: SamplingParams, output: list[int] | None = None, choice_index: int = 0
) -> tuple[Sampler, StepInputs]:
    """Requests with the same prompt and output, about to sample their next token."""
    output = output or []
    rows = RequestRows(max_num_seqs=len(requests), max_model_len=32, block_size=4)
    token_ids = [*PROMPT, *output]
    count = len(token_ids)
    new = tuple(
        NewRequest(f"r{index}", token_ids, len(PROMPT), choice_index, params)
        for index, params in enumerate(requests)
    )
    blocks = (tuple(range(-(-count // 4))),)
    plan_rows = tuple(
        PlanRow(item.request_id, 0, count, blocks, range(count - 1, count)) for item in new
    )
    inputs = rows.begin_step(StepPlan(1, plan_rows, new))
    return Sampler(rows, torch.device("cpu")), inputs


def _given(*requests: SamplingParams, **state: object) -> SamplingTensors:
    sampler, inputs = _step(*requests, **state)  # type: ignore[arg-type]
    recorder = Recorder(sampler)
    sampler.sample(torch.zeros(len(requests), VOCAB), inputs)
    return recorder.params


GREEDY = SamplingParams(temperature=0.0)


def test_greedy_rows_need_no_parameters_at_all() -> None:
    assert _given(GREEDY, GREEDY) == SamplingTensors()


def test_steps_that_no_row_needs_are_left_out() -> None:
    params = _given(GREEDY, SamplingParams(temperature=0.5, seed=1))
    assert params.temperature is not None
    assert params.temperature.tolist() == [0.0, 0.5]
    for name in ("bans", "biases", "penalties", "min_p", "top_k", "top_p"):
        assert getattr(params, name) is None, name


def test_rows_that_do_not_need_a_step_get_its_neutral_value() -> None:
    params = _given(SamplingParams(top_k=5, top_p=0.5, min_p=0.25), SamplingParams(), GREEDY)
    assert params.top_k is not None
    assert params.top_k.tolist() == [5, 0, 0]
    assert params.top_p is not None
    assert params.top_p.tolist() == [0.5, 1.0, 1.0]
    assert params.min_p is not None
    assert params.min_p.tolist() == [0.25, 0.0, 0.0]


@pytest.mark.parametrize("output", [[], [7], [7, 7, 9]])
def test_noise_is_that_of_seed_choice_and_output_position(output: list[int]) -> None:
    seeds = [5, 2**64 - 1, -3]
    params = _given(*(SamplingParams(seed=s) for s in seeds), output=output, choice_index=2)
    assert params.uniform is not None
    assert params.uniform.tolist() == [uniform(seed, 2, len(output)) for seed in seeds]


def test_penalties_get_the_history_of_the_rows_that_have_any() -> None:
    params = _given(
        GREEDY,
        SamplingParams(temperature=0.0, repetition_penalty=1.5, presence_penalty=0.25),
        SamplingParams(temperature=0.0, frequency_penalty=-0.5),
        output=[7, 9],
    )
    assert params.penalties is not None
    penalties = params.penalties
    assert penalties.rows.tolist() == [1, 2]
    assert penalties.token_ids.tolist() == [[3, 4, 5, 7, 9]] * 2
    assert penalties.num_prompt_tokens.tolist() == [3, 3]
    assert penalties.num_tokens.tolist() == [5, 5]
    assert penalties.repetition.tolist() == [1.5, 1.0]
    assert penalties.presence.tolist() == [0.25, 0.0]
    assert penalties.frequency.tolist() == [0.0, -0.5]


def test_biases_are_those_of_their_rows() -> None:
    params = _given(
        GREEDY,
        SamplingParams(temperature=0.0, logit_bias=((2, 1.5), (7, -2.0))),
        SamplingParams(temperature=0.0, logit_bias=((0, 9.0),)),
    )
    assert params.biases is not None
    assert params.biases.rows.tolist() == [1, 1, 2]
    assert params.biases.token_ids.tolist() == [2, 7, 0]
    assert params.biases.values.tolist() == [1.5, -2.0, 9.0]


@pytest.mark.parametrize(("num_output", "is_banned"), [(0, True), (1, True), (2, False)])
def test_ends_are_banned_until_min_tokens_are_out(num_output: int, is_banned: bool) -> None:
    request = SamplingParams(temperature=0.0, min_tokens=2, banned_token_ids=(1, 2))
    params = _given(GREEDY, request, output=[9] * num_output)
    assert (params.bans is not None) == is_banned
    if params.bans is not None:
        assert params.bans.rows.tolist() == [1, 1]
        assert params.bans.token_ids.tolist() == [1, 2]


def test_the_parameters_reach_the_tokens() -> None:
    logits = torch.zeros(4, VOCAB)
    logits[:, 3] = 2.0
    sampler, inputs = _step(
        GREEDY,
        SamplingParams(temperature=0.0, logit_bias=((8, 5.0),)),
        SamplingParams(temperature=0.0, min_tokens=1, banned_token_ids=(3,)),
        SamplingParams(temperature=1.0, top_k=1, seed=4),
    )
    sampled = sampler.sample(logits, inputs)
    assert sampled.token_ids.tolist() == [3, 8, 0, 3]
    assert sampled.is_valid.all()


def test_a_row_without_a_number_is_told_apart() -> None:
    sampler, inputs = _step(GREEDY, GREEDY, GREEDY)
    logits = torch.zeros(3, VOCAB)
    logits[1, 5] = np.nan
    assert sampler.sample(logits, inputs).is_valid.tolist() == [True, False, True]
