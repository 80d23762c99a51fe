from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from kernels.sampling import SamplingTensors, TokenBans, TokenBiases
from kernels.sampling.cases import CASES
from kernels.sampling.noise import uniforms
from kernels.sampling.reference import edited_logits, sample, token_weights
from kernels.tolerance import DTYPES
from tests.kernels.sampling_rows import filled, history, take_rows

INF = float("inf")
NAN = float("nan")


def tokens(logits, params):
    sampled = sample(torch.tensor(logits), params)
    assert sampled.is_valid.all()
    return sampled.token_ids.tolist()


def kept(logits, **values):
    """Which tokens each row may still draw."""
    params = filled(len(logits), temperature=1.0, uniform=0.5, **values)
    weights = token_weights(logits, logits.amax(-1), torch.arange(len(logits)), params)
    return weights > 0


def expected_token(inputs, row):
    """The pipeline for one row in NumPy, token by token where that is the definition."""
    params = inputs.params
    logits = inputs.logits[row].float().numpy().copy()
    if params.biases is not None:
        for pair in torch.nonzero(params.biases.rows == row).flatten():
            logits[params.biases.token_ids[pair]] += params.biases.values[pair].numpy()
    if params.bans is not None:
        logits[params.bans.token_ids[params.bans.rows == row]] = -INF
    if params.penalties is not None:
        for place in torch.nonzero(params.penalties.rows == row).flatten():
            penalise(logits, params.penalties, place)
    if params.temperature is None or params.temperature[row] == 0:
        return int(logits.argmax())
    wide = logits.astype(np.float64)
    weights = np.exp((wide - wide.max()) / float(params.temperature[row]))
    keep = np.ones(len(weights), dtype=bool)
    if params.min_p is not None:
        keep &= weights >= float(params.min_p[row])
    if params.top_k is not None and params.top_k[row] > 0:
        k = min(int(params.top_k[row]), len(logits))
        keep &= logits >= np.sort(logits)[-k]
    weights = np.where(keep, weights, 0)
    if params.top_p is not None and params.top_p[row] < 1:
        descending = np.sort(weights)[::-1]
        before = np.cumsum(descending) - descending
        floor = descending[before < float(params.top_p[row]) * weights.sum()][-1]
        weights = np.where(weights >= floor, weights, 0)
    ends = np.cumsum(weights)
    return int(np.argmax(ends > float(params.uniform[row]) * ends[-1]))


def penalise(logits, penalties, place):
    num_prompt, num_tokens = penalties.num_prompt_tokens[place], penalties.num_tokens[place]
    token_ids = penalties.token_ids[place].tolist()[:num_tokens]
    counts = Counter(token_ids[num_prompt:])
    for token in set(token_ids):
        repetition = penalties.repetition[place].numpy()
        value = logits[token]
        value = value / repetition if value > 0 else value * repetition
        value = value - penalties.frequency[place].numpy() * np.float32(counts[token])
        logits[token] = value - penalties.presence[place].numpy() * np.float32(counts[token] > 0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reference_keeps_the_contract(case, dtype):
    inputs = case.make_inputs(dtype)
    sampled = sample(inputs.logits.clone(), inputs.params)
    assert sampled.token_ids.dtype == torch.int64
    assert sampled.is_valid.dtype == torch.bool
    assert sampled.is_valid.all()
    expected = [expected_token(inputs, row) for row in range(case.num_rows)]
    assert sampled.token_ids.tolist() == expected


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.num_rows > 1], ids=lambda c: c.name
)
def test_row_has_the_same_bits_alone_and_among_neighbours_in_any_order(case, dtype):
    inputs = case.make_inputs(dtype)
    order = torch.randperm(case.num_rows, generator=torch.Generator().manual_seed(3)).tolist()
    shuffled = take_rows(inputs, order)
    is_sampled = inputs.params.temperature is not None
    together_logits = edited(inputs)
    together_weights = weights_of(inputs) if is_sampled else None
    together_tokens = sample(inputs.logits.clone(), inputs.params).token_ids
    shuffled_tokens = sample(shuffled.logits.clone(), shuffled.params).token_ids
    assert torch.equal(shuffled_tokens, together_tokens[order])
    for row in range(case.num_rows):
        alone = take_rows(inputs, [row])
        assert torch.equal(edited(alone)[0], together_logits[row])
        if is_sampled:
            assert torch.equal(weights_of(alone)[0], together_weights[row])
        assert sample(alone.logits, alone.params).token_ids[0] == together_tokens[row]


@pytest.mark.parametrize("name", ["everything", "large_vocabulary"])
def test_tokens_do_not_depend_on_the_number_of_threads(name):
    (case,) = (case for case in CASES if case.name == name)
    inputs = case.make_inputs(torch.float32)
    one = sample(inputs.logits.clone(), inputs.params).token_ids
    torch.set_num_threads(2)
    assert torch.equal(sample(inputs.logits.clone(), inputs.params).token_ids, one)


def edited(inputs):
    return edited_logits(inputs.logits.clone(), inputs.params)


def weights_of(inputs):
    """The weights of all rows, greedy ones at temperature 1."""
    logits = edited(inputs)
    temperature = torch.where(inputs.params.temperature > 0, inputs.params.temperature, 1)
    params = replace(inputs.params, temperature=temperature)
    return token_weights(logits, logits.amax(-1), torch.arange(len(logits)), params)


@pytest.mark.parametrize(
    "case", [c for c in CASES if c.num_rows and not c.is_greedy], ids=lambda c: c.name
)
def test_weights_are_whole_numbers_whose_sums_are_exact(case):
    weights = weights_of(case.make_inputs(torch.float32))
    assert torch.equal(weights, weights.floor())
    assert (weights.amax(-1) == 2.0**35).all()
    forward, backward = weights.double(), weights.double().flip(-1)
    assert torch.equal(forward.cumsum(-1)[:, -1], backward.cumsum(-1)[:, -1])
    assert (forward.sum(-1) <= 2.0**53).all()


def test_neutral_values_leave_a_row_as_it_was():
    logits = torch.randn(1, 5003, generator=torch.Generator().manual_seed(0)) * 4
    plain = filled(1, temperature=0.7, uniform=0.3)
    neutral = filled(1, temperature=0.7, uniform=0.3, min_p=0, top_k=0, top_p=1)
    rows = torch.tensor([0])
    weights = [token_weights(logits, logits.amax(-1), rows, params) for params in (plain, neutral)]
    assert torch.equal(*weights)
    off = replace(neutral, penalties=history([1, 2], [2, 3]))
    assert torch.equal(edited_logits(logits.clone(), off), logits)


def test_greedy_takes_the_lowest_of_equal_tokens():
    assert tokens([[0.0, 2.0, 2.0, 1.0], [5.0, 5.0, 5.0, 5.0]], SamplingTensors()) == [1, 0]


@pytest.mark.parametrize("pair", [(0, 151_936), (7, 8), (100, 101_000), (151_935, 151_936)])
def test_greedy_takes_the_lowest_of_equal_tokens_in_a_large_vocabulary(pair):
    logits = torch.zeros(3, 151_937)
    logits[1, list(pair)] = 1.0
    assert sample(logits, SamplingTensors()).token_ids.tolist() == [0, pair[0], 0]


def test_greedy_rows_among_sampled_ones_take_the_largest_logit():
    logits = torch.randn(30, 997, generator=torch.Generator().manual_seed(0))
    params = filled(30, temperature=3.0, uniform=0.999, top_p=0.9, top_k=100, min_p=0.01)
    params.temperature[::2] = 0
    sampled = sample(logits.clone(), params).token_ids
    assert torch.equal(sampled[::2], logits.argmax(-1)[::2])
    assert not torch.equal(sampled[1::2], logits.argmax(-1)[1::2])


@pytest.mark.parametrize("temperature", [1e-30, 1e-6, 1e-3])
def test_tiny_temperature_takes_the_largest_logit(temperature):
    logits = torch.randn(7, 997, generator=torch.Generator().manual_seed(0)) * 1000
    params = filled(7, temperature=temperature, uniform=1 - 2**-53)
    assert torch.equal(sample(logits.clone(), params).token_ids, logits.argmax(-1))


@pytest.mark.parametrize("uniform", [0.0, 0.25, 0.5, 0.999, 1 - 2**-53])
def test_draw_inverts_the_cumulative_distribution(uniform):
    logits = torch.log(torch.tensor([[0.25, 0.0, 0.25, 0.5, 0.0]]))
    params = filled(1, temperature=1.0, uniform=uniform)
    expected = 0 if uniform < 0.25 else 2 if uniform < 0.5 else 3
    assert sample(logits, params).token_ids.tolist() == [expected]


def test_draws_follow_the_distribution():
    num_draws, vocab_size = 40_000, 30
    logits = torch.randn(vocab_size, generator=torch.Generator().manual_seed(5))
    zeros = np.zeros(num_draws, dtype=np.int64)
    params = replace(
        filled(num_draws, temperature=0.8, uniform=0.0),
        uniform=torch.from_numpy(uniforms(zeros + 11, zeros, np.arange(num_draws))),
    )
    drawn = sample(logits.repeat(num_draws, 1), params).token_ids
    counts = drawn.bincount(minlength=vocab_size).double()
    expected = torch.softmax(logits.double() / 0.8, -1) * num_draws
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 58.3  # the 0.999 quantile for 29 degrees of freedom
    assert chi_square > 8.2  # and the 0.00001 quantile: too good is wrong too


def test_banned_tokens_are_never_taken():
    bans = TokenBans(rows=torch.tensor([0, 0, 1]), token_ids=torch.tensor([3, 2, 0]))
    logits = [[0.0, 1.0, 2.0, 3.0], [9.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0]]
    assert tokens(logits, SamplingTensors(bans=bans)) == [1, 3, 3]


def test_bias_moves_a_token_up_or_down_but_lifts_no_ban():
    rows, token_ids = torch.tensor([0, 1, 2]), torch.tensor([0, 3, 0])
    biases = TokenBiases(
        rows=rows, token_ids=token_ids, values=torch.tensor([100.0, -100.0, 100.0])
    )
    bans = TokenBans(rows=torch.tensor([2]), token_ids=torch.tensor([0]))
    logits = [[0.0, 1.0, 2.0, 3.0]] * 3
    assert tokens(logits, SamplingTensors(biases=biases, bans=bans)) == [0, 2, 3]


def test_presence_counts_output_tokens_once_and_frequency_each_time():
    logits = torch.zeros(2, 6)
    params = SamplingTensors(penalties=history([0, 1], [1, 2, 2, 2], presence=0.5, frequency=0.25))
    expected = [0, -0.75, -1.25, 0, 0, 0]
    assert edited_logits(logits, params).tolist() == [expected, [0.0] * 6]


def test_repetition_divides_positive_and_multiplies_other_logits_of_prompt_and_output():
    logits = torch.tensor([[3.0, -3.0, 3.0, -3.0, 3.0, 0.0]])
    params = SamplingTensors(penalties=history([0, 1, 0], [2, 3, 3], repetition=2.0))
    assert edited_logits(logits, params).tolist() == [[1.5, -6.0, 1.5, -6.0, 3.0, 0.0]]


def test_repetition_comes_before_the_other_penalties():
    params = SamplingTensors(
        penalties=history([0], [0], repetition=2.0, presence=1.0, frequency=0.5)
    )
    assert edited_logits(torch.tensor([[3.0, 0.0]]), params).tolist() == [[0.0, 0.0]]


def test_repetition_is_that_of_transformers():
    logits = torch.randn(1, 997, generator=torch.Generator().manual_seed(2)) * 3
    token_ids = torch.randint(997, (200,), generator=torch.Generator().manual_seed(3)).tolist()
    theirs = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([token_ids]), logits.clone())
    params = SamplingTensors(penalties=history(token_ids[:50], token_ids[50:], repetition=1.3))
    assert torch.equal(edited_logits(logits.clone(), params), theirs)


@pytest.mark.parametrize(
    ("warper", "values"),
    [
        (TopKLogitsWarper(1), {"top_k": 1}),
        (TopKLogitsWarper(40), {"top_k": 40}),
        (TopPLogitsWarper(0.9), {"top_p": 0.9}),
        (TopPLogitsWarper(0.05), {"top_p": 0.05}),
        (MinPLogitsWarper(0.1), {"min_p": 0.1}),
        (MinPLogitsWarper(1.0), {"min_p": 1.0}),
    ],
    ids=str,
)
def test_filters_keep_what_those_of_transformers_keep(warper, values):
    logits = torch.randn(20, 997, generator=torch.Generator().manual_seed(4)) * 2
    assert torch.equal(kept(logits, **values), warper(None, logits.clone()) > -INF)


def test_top_p_works_on_what_min_p_and_top_k_left():
    logits = torch.log(torch.tensor([[0.4, 0.3, 0.2, 0.1]]))
    assert kept(logits, top_p=0.65).tolist() == [[True, True, False, False]]
    assert kept(logits, top_p=0.65, top_k=3).tolist() == [[True, True, False, False]]
    assert kept(logits, top_p=0.55, top_k=2).tolist() == [[True, False, False, False]]
    assert kept(logits, top_p=0.55, min_p=0.7).tolist() == [[True, False, False, False]]


def test_tokens_equal_to_the_last_one_kept_stay():
    logits = torch.tensor([[3.0, 1.0, 2.0, 2.0, 2.0, 0.0]])
    assert kept(logits, top_k=2).tolist() == [[True, False, True, True, True, False]]
    assert kept(logits, top_p=0.6).tolist() == [[True, False, True, True, True, False]]


@pytest.mark.parametrize("scale", [0.0, 1e-3, 3.0, 100.0])
def test_top_p_keeps_at_least_one_token_and_no_more_than_needed(scale):
    logits = torch.randn(8, 2003, generator=torch.Generator().manual_seed(6)) * scale
    top_p = 0.8
    keep = kept(logits, top_p=top_p)
    probabilities = logits.double().softmax(-1)
    mass = (probabilities * keep).sum(-1)
    assert (mass >= top_p - 1e-6).all()
    if scale > 0:
        least = probabilities.masked_fill(~keep, INF).amin(-1)
        assert (mass - least <= top_p + 1e-6).all()


@pytest.mark.parametrize("bad", [[NAN] * 4, [0.0, NAN, 1.0, 2.0], [-INF] * 4, [0.0, INF, 1.0, 2.0]])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_row_without_a_candidate_is_reported_and_its_neighbours_are_sampled(dtype, bad):
    good = [0.0, 1.0, 50.0, -INF]
    logits = torch.tensor([good, bad, good, bad], dtype=dtype)
    params = filled(4, temperature=1.0, uniform=0.5, top_k=3, top_p=0.9, min_p=0.01)
    params.temperature[2:] = 0
    for steps in (params, SamplingTensors()):
        sampled = sample(logits.clone(), steps)
        assert sampled.is_valid.tolist() == [True, False, True, False]
        assert sampled.token_ids.tolist() == [2, 0, 2, 0]


def test_row_whose_tokens_are_all_banned_is_reported():
    bans = TokenBans(rows=torch.tensor([1, 1]), token_ids=torch.tensor([0, 1]))
    sampled = sample(torch.zeros(2, 2), SamplingTensors(bans=bans))
    assert sampled.is_valid.tolist() == [True, False]


def test_huge_finite_logits_are_sampled():
    logits = torch.tensor([[3e38, -3e38, 0.0], [-3e38, -3e38, -3.1e38]])
    params = filled(2, temperature=0.01, uniform=0.75)
    assert sample(logits, params).token_ids.tolist() == [0, 1]


def test_temperature_without_noise_is_refused():
    with pytest.raises(ValueError, match="temperature and uniform go together"):
        SamplingTensors(temperature=torch.ones(1))
