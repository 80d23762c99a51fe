import math

import pytest
import torch

from kernels.sampling.logprob_cases import CASES, TOLERANCE
from kernels.sampling.reference import logprobs
from kernels.tolerance import DTYPES

INF, NAN = float("inf"), float("nan")


def run(case, dtype=torch.float32):
    inputs = case.make_inputs(dtype)
    return inputs, logprobs(inputs.logits, inputs.token_ids, inputs.num_top)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_numbers_are_those_of_log_softmax_in_float64(case, dtype):
    inputs, result = run(case, dtype)
    wide = inputs.logits.double().log_softmax(-1)
    chosen = wide.gather(1, inputs.token_ids[:, None])
    TOLERANCE.check(result.logprobs, chosen.squeeze(1))
    TOLERANCE.check(result.top_logprobs, wide.gather(1, result.top_token_ids))
    assert result.ranks.tolist() == ((wide > chosen).sum(-1) + 1).tolist()
    assert result.is_valid.all()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_likeliest_come_best_first_and_equal_ones_by_id(case):
    inputs, result = run(case)
    order = inputs.logits.argsort(dim=-1, descending=True, stable=True)
    assert result.top_token_ids.tolist() == order[:, : case.num_top].tolist()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_row_s_bits_do_not_depend_on_its_neighbours(case):
    inputs, whole = run(case)
    order = torch.randperm(case.num_rows, generator=torch.Generator().manual_seed(1))
    shuffled = logprobs(inputs.logits[order], inputs.token_ids[order], case.num_top + 3)
    num_top = whole.top_token_ids.shape[1]
    assert torch.equal(shuffled.logprobs, whole.logprobs[order])
    assert torch.equal(shuffled.top_token_ids[:, :num_top], whole.top_token_ids[order])
    assert torch.equal(shuffled.top_logprobs[:, :num_top], whole.top_logprobs[order])
    for row in range(0, case.num_rows, 7):
        alone = logprobs(inputs.logits[row : row + 1], inputs.token_ids[row : row + 1], num_top)
        assert torch.equal(alone.logprobs[0], whole.logprobs[row])
        assert torch.equal(alone.top_logprobs[0], whole.top_logprobs[row])


def test_the_logits_stay_as_they_are():
    inputs = CASES[0].make_inputs(torch.float32)
    before = inputs.logits.clone()
    logprobs(inputs.logits, inputs.token_ids, 3)
    assert torch.equal(inputs.logits, before)


def test_an_impossible_token_has_minus_infinity():
    result = logprobs(torch.tensor([[0.0, -INF, 0.0]]), torch.tensor([1]), 3)
    assert result.logprobs.tolist() == [-INF]
    assert result.ranks.tolist() == [3]
    assert result.top_token_ids.tolist() == [[0, 2, 1]]
    assert result.top_logprobs.tolist()[0][0] == pytest.approx(math.log(0.5))


@pytest.mark.parametrize("bad", [[NAN, 1.0, 2.0], [INF, 0.0, 1.0], [-INF, -INF, -INF]])
def test_a_row_of_nonsense_is_named_and_leaves_its_neighbours_alone(bad):
    logits = torch.tensor([[1.0, 2.0, 3.0], bad])
    result = logprobs(logits, torch.tensor([2, 0]), 2)
    assert result.is_valid.tolist() == [True, False]
    alone = logprobs(logits[:1], torch.tensor([2]), 2)
    assert torch.equal(result.logprobs[:1], alone.logprobs)
    assert not result.logprobs.isnan().any()
    assert not result.top_logprobs.isnan().any()


def test_no_copy_of_all_logits_is_made(monkeypatch):
    """Rows are taken a few at a time, so that a long prompt costs no second tensor of its size."""
    sizes = []
    exp = torch.Tensor.exp
    monkeypatch.setattr(torch.Tensor, "exp", lambda self: sizes.append(len(self)) or exp(self))
    logprobs(torch.zeros(200, 11), torch.zeros(200, dtype=torch.int64), 2)
    assert sum(sizes) == 200
    assert max(sizes) <= 64
