import pytest

from engine.model.generation import GenerationDefaults
from engine.request import SamplingParams
from schemas.chat import parse_chat_request
from schemas.completions import parse_completion_request
from schemas.errors import ApiError
from worker.sampling import ModelLimits, SamplingPlan, plan_sampling

LIMITS = ModelLimits(
    max_model_len=64,
    vocab_size=256,
    eos_token_ids=frozenset({0}),
    defaults=GenerationDefaults(),
)


def plan(num_prompt_tokens: int = 10, **parameters: object) -> SamplingPlan:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **parameters}
    return plan_sampling(
        parse_chat_request(body), LIMITS, num_prompt_tokens=num_prompt_tokens, seed=1
    )


def test_no_mass_at_all_is_greedy() -> None:
    assert plan(top_p=0, temperature=1.5).sampling.temperature == 0
    assert plan(top_p=0.01, temperature=1.5).sampling.temperature == 1.5


@pytest.mark.parametrize("penalty", [5e-324, 1e-30, 1e30, 3e38, 1.7e308])
def test_an_extreme_repetition_penalty_leaves_numbers_that_can_be_sampled(penalty: float) -> None:
    import torch

    from kernels.sampling import Penalties, SamplingTensors
    from kernels.sampling.reference import sample

    sampling: SamplingParams = plan(repetition_penalty=penalty, temperature=0).sampling
    history = torch.arange(6)[None, :]
    penalties = Penalties(
        rows=torch.tensor([0]),
        token_ids=history,
        num_prompt_tokens=torch.tensor([6]),
        num_tokens=torch.tensor([6]),
        repetition=torch.tensor([sampling.repetition_penalty]),
        presence=torch.zeros(1),
        frequency=torch.zeros(1),
    )
    logits = torch.tensor([[3e3, -3e3, 1.0, -1.0, 1e-3, 0.0, 2.0, 7.0]])
    sampled = sample(logits, SamplingTensors(penalties=penalties))
    assert sampled.is_valid.all()
    assert int(sampled.token_ids) == (0 if penalty < 1 else 7)


def test_ordinary_penalties_are_taken_as_they_are() -> None:
    assert plan(repetition_penalty=1.3).sampling.repetition_penalty == 1.3


def test_a_completion_may_generate_nothing_in_a_full_context() -> None:
    request = parse_completion_request({"model": "m", "prompt": "x", "max_tokens": 0, "echo": True})

    def limit(num_prompt_tokens: int) -> int:
        made = plan_sampling(
            request, LIMITS, num_prompt_tokens=num_prompt_tokens, seed=1, param="prompt"
        )
        return made.stop.max_tokens

    assert limit(64) == limit(1) == 0
    with pytest.raises(ApiError) as caught:
        limit(65)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "prompt")
