"""The sampling kernels against their references; run like `numerics.py`.

Tokens are compared exactly. Fewer rows than elsewhere: the interpreter takes each row by itself.
"""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

from kernels.sampling import SamplingTensors, TokenMasks, gpu, gpu_logprobs, reference
from kernels.sampling.cases import CASES
from kernels.sampling.logprob_cases import CASES as LOGPROB_CASES
from kernels.sampling.logprob_cases import TOLERANCE
from tests.kernels.sampling_rows import filled, take_rows

INF, NAN = float("inf"), float("nan")
HALF = ("usual", "everything", "penalties")


def small(case):
    return replace(case, num_rows=min(case.num_rows, 1 if case.vocab_size > 10_000 else 4))


def by_name(case):
    return case.name


def check(logits, params):
    found = gpu.sample(logits.clone(), params)
    expected = reference.sample(logits.clone(), params)
    assert torch.equal(found.token_ids, expected.token_ids)
    assert torch.equal(found.is_valid, expected.is_valid)


@pytest.mark.parametrize(
    ("case", "dtype"),
    [(case, torch.float32) for case in CASES]
    + [(case, torch.float16) for case in CASES if case.name in HALF],
    ids=str,
)
def test_tokens_are_those_of_the_reference(case, dtype):
    inputs = small(case).make_inputs(dtype)
    check(inputs.logits, inputs.params)


def test_a_row_has_the_same_token_alone_and_among_neighbours():
    case = next(case for case in CASES if case.name == "everything")
    inputs = replace(case, num_rows=4).make_inputs(torch.float32)
    together = gpu.sample(inputs.logits.clone(), inputs.params).token_ids
    for row in (3, 0):
        alone = take_rows(inputs, [row])
        assert gpu.sample(alone.logits, alone.params).token_ids[0] == together[row]


@pytest.mark.parametrize("num_tokens", [33, 1000])
@pytest.mark.parametrize("num_words", [1, 40])
def test_masks(num_tokens, num_words):
    generator = np.random.default_rng(num_tokens)
    bits = generator.integers(-(2**31), 2**31, size=(3, num_words)).astype(np.int32)
    bits[2] = 0
    masks = TokenMasks(rows=torch.tensor([3, 0, 4]), bits=torch.from_numpy(bits))
    params = replace(filled(5, temperature=0.9, uniform=0.7), masks=masks)
    params.temperature[3] = 0
    check(torch.randn(5, num_tokens, generator=torch.Generator().manual_seed(1)), params)


@pytest.mark.parametrize("bad", [[NAN] * 4, [0.0, NAN, 1.0, 2.0], [-INF] * 4, [0.0, INF, 1.0, 2.0]])
def test_row_without_a_candidate_is_reported_and_its_neighbours_are_sampled(bad):
    good = [0.0, 1.0, 50.0, -INF]
    params = filled(4, temperature=1.0, uniform=0.5, top_k=3, top_p=0.9, min_p=0.01)
    params.temperature[2:] = 0
    for steps in (params, SamplingTensors()):
        check(torch.tensor([good, bad, good, bad]), steps)


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
@pytest.mark.parametrize("settings", [{}, {"top_p": 0.0}, {"top_k": 2, "top_p": 0.6}], ids=str)
def test_the_ends_of_the_distribution(uniform, settings):
    logits = torch.tensor([[3.0, 1.0, 2.0, 2.0, 2.0, 0.0], [0.0] * 6, [3e38, -3e38, 0, 1, 2, 3]])
    check(logits, filled(3, temperature=1.0, uniform=uniform, **settings))


def test_rows_that_are_a_part_of_wider_ones():
    wide = torch.randn(3, 2000, generator=torch.Generator().manual_seed(2))
    params = filled(3, temperature=1.0, uniform=0.4, top_k=5)
    expected = reference.sample(wide[:, :900].clone(), params).token_ids
    assert torch.equal(gpu.sample(wide[:, :900], params).token_ids, expected)
    assert torch.equal(gpu.sample(wide.t()[:900].t(), params).token_ids, expected)


@pytest.mark.parametrize("case", LOGPROB_CASES, ids=by_name)
def test_logprobs(case):
    inputs = small(case).make_inputs(torch.float32)
    arguments = (inputs.logits, inputs.token_ids, min(inputs.num_top, 6))
    found = gpu_logprobs.logprobs(*arguments)
    expected = reference.logprobs(*arguments)
    for name in ("ranks", "top_token_ids", "is_valid"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
    for name in ("logprobs", "top_logprobs"):
        TOLERANCE.check(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("bad", [[NAN, 1.0, 2.0], [INF, 0.0, 1.0], [-INF, -INF, -INF]])
def test_logprobs_of_nonsense_are_no_numbers_but_no_nan(bad):
    logits = torch.tensor([[1.0, 2.0, 3.0], bad])
    found = gpu_logprobs.logprobs(logits, torch.tensor([2, 0]), 2)
    assert found.is_valid.tolist() == [True, False]
    assert not found.logprobs.isnan().any()
    assert not found.top_logprobs.isnan().any()
    alone = gpu_logprobs.logprobs(logits[:1], torch.tensor([2]), 2)
    assert torch.equal(found.logprobs[:1], alone.logprobs)


@pytest.mark.parametrize(("ours", "name"), [(gpu, "sample"), (gpu_logprobs, "logprobs")])
def test_signatures_are_the_contracts(ours, name):
    assert inspect.signature(getattr(ours, name)) == inspect.signature(getattr(reference, name))
