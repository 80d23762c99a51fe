"""Masks in the sampling pipeline."""

import numpy as np
import pytest
import torch

from kernels.sampling import SamplingTensors, TokenBans, TokenBiases, TokenMasks
from kernels.sampling.reference import _unpack, _unpack_on_host, edited_logits, sample


def masks(allowed: dict[int, set[int]], num_tokens: int) -> TokenMasks:
    bits = np.zeros((len(allowed), -(-num_tokens // 32) * 32), np.uint8)
    for index, tokens in enumerate(allowed.values()):
        bits[index, sorted(tokens)] = 1
    words = np.packbits(bits, axis=1, bitorder="little").view(np.int32)
    return TokenMasks(rows=torch.tensor(list(allowed)), bits=torch.from_numpy(words))


@pytest.mark.parametrize("num_tokens", [1, 31, 32, 33, 1000])
def test_only_allowed_tokens_of_masked_rows_are_left(num_tokens):
    logits = torch.randn(5, num_tokens)
    allowed = {3: set(range(0, num_tokens, 2)), 0: {num_tokens - 1}}
    edited = edited_logits(logits.clone(), SamplingTensors(masks=masks(allowed, num_tokens)))
    for row in range(5):
        left = torch.isfinite(edited[row]).nonzero().flatten().tolist()
        assert left == sorted(allowed.get(row, range(num_tokens)))
        assert torch.equal(edited[row, left], logits[row, left])


def test_a_mask_may_cover_more_or_fewer_tokens_than_there_are():
    logits = torch.zeros(1, 40)
    more = SamplingTensors(masks=masks({0: {1, 60}}, 64))
    fewer = SamplingTensors(masks=masks({0: {1}}, 32))
    for params in (more, fewer):
        assert torch.isfinite(edited_logits(logits.clone(), params)).nonzero().tolist() == [[0, 1]]


def test_a_bias_does_not_bring_a_masked_token_back_and_bans_add_up():
    logits = torch.zeros(1, 8)
    params = SamplingTensors(
        masks=masks({0: {2, 3}}, 8),
        biases=TokenBiases(
            rows=torch.tensor([0]), token_ids=torch.tensor([5]), values=torch.tensor([100.0])
        ),
        bans=TokenBans(rows=torch.tensor([0]), token_ids=torch.tensor([2])),
    )
    assert sample(logits, params).token_ids.tolist() == [3]


def test_a_row_without_an_allowed_token_is_invalid_alone():
    sampled = sample(torch.zeros(2, 8), SamplingTensors(masks=masks({1: set()}, 8)))
    assert sampled.is_valid.tolist() == [True, False]


def test_both_ways_to_unpack_bits_agree():
    bits = torch.from_numpy(
        np.random.default_rng(1).integers(-(2**31), 2**31, size=(7, 9)).astype(np.int32)
    )
    assert torch.equal(_unpack(bits), _unpack_on_host(bits))
