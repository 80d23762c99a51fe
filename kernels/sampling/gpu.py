"""Sampling in Triton: from logits to tokens without waiting for the host.

Owns: the kernel that draws, and its launch. Must not know: requests, seeds.

There are two kernels. The first edits the logits where masks or penalties ask for it and leaves the
largest of each 128 of them. In the second, one program takes a row to its end. What top-k and top-p
keep is found among candidates: the k-th largest of the blocks' maxima is a bound for the k-th
largest logit, and what top-p cannot need weighs less than a known share, so candidates are few.
Weights are whole numbers as in the reference, and their sums are integers: no order of summation
matters, and a row's token depends on that row alone.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.sampling import reference
from kernels.sampling.gpu_candidates import (
    bound_of_candidates,
    bound_of_maxima,
    compact,
    gather,
    heavy_total,
    least_weight,
    magnitude,
    weights_of,
)
from kernels.sampling.gpu_edits import BLOCK, MAX_VOCAB_SIZE, OPTIONS, edit_and_reduce, with_pairs
from kernels.sampling.tensors import SampledTokens, SamplingTensors

__all__ = ["sample"]

_TILE = 2048


@triton.jit
def _total_weight(logits, vocab_size, top, temperature, min_p, TILE: tl.constexpr):
    total = tl.zeros([], tl.int64)
    for start in range(0, vocab_size, TILE):
        tokens = start + tl.arange(0, TILE)
        x = tl.load(logits + tokens, mask=tokens < vocab_size, other=float("-inf"))
        total += tl.sum(weights_of(x.to(tl.float32), top, temperature, min_p), 0)
    return total


@triton.jit
def _draw_any(logits, vocab_size, top, temperature, min_p, uniform, total, TILE: tl.constexpr):
    """Step 10 over the whole row."""
    target = uniform * total.to(tl.float64)
    token = -1
    running = tl.zeros([], tl.int64)
    start = 0
    while (start < vocab_size) & (token < 0):
        tokens = start + tl.arange(0, TILE)
        x = tl.load(logits + tokens, mask=tokens < vocab_size, other=float("-inf"))
        weights = weights_of(x.to(tl.float32), top, temperature, min_p)
        end = running + tl.sum(weights, 0)
        if end.to(tl.float64) > target:
            ends = running + tl.cumsum(weights, 0)
            token = tl.min(tl.where(ends.to(tl.float64) > target, tokens, vocab_size), 0)
        running = end
        start += TILE
    return token


@triton.jit
def _draw_some(
    logits, candidates, vocab_size, maxima, is_block, top, temperature, min_p, uniform, total,
    top_k, top_p, TILE: tl.constexpr,
):  # fmt: skip
    """Steps 8 to 10 where top_k or top_p are on; `total` counts only without top_k."""
    bound = 0x7FFFFFFF
    negligible = tl.zeros([], tl.float64)
    if top_k > 0:
        bound = bound_of_maxima(maxima, is_block, top, top_k)
    else:
        negligible = total.to(tl.float64)
        negligible = (negligible - negligible * top_p.to(tl.float64)) / (2 * vocab_size)
    num = compact(
        logits, candidates, vocab_size, top, temperature, min_p, bound, negligible, TILE
    )  # fmt: skip
    if top_k > 0:
        bound = bound_of_candidates(logits, candidates, num, top, top_k, TILE)
    least = tl.full([], 1, tl.int64)
    if top_p < 1:
        if top_k > 0:
            total = heavy_total(
                logits, candidates, num, top, temperature, min_p, bound, least, TILE
            )  # fmt: skip
        wanted = total.to(tl.float64) * top_p.to(tl.float64)
        least = least_weight(
            logits, candidates, num, top, temperature, min_p, bound, wanted, TILE
        )  # fmt: skip
    kept = heavy_total(logits, candidates, num, top, temperature, min_p, bound, least, TILE)
    target = uniform * kept.to(tl.float64)
    token = -1
    running = tl.zeros([], tl.int64)
    start = 0
    while (start < num) & (token < 0):
        tokens, x = gather(logits, candidates, num, start, TILE)
        weights = weights_of(x, top, temperature, min_p)
        is_in = (magnitude(x, top) <= bound) & (weights >= least)
        weights = tl.where(is_in, weights, 0)
        ends = running + tl.cumsum(weights, 0)
        place = tl.min(tl.where(ends.to(tl.float64) > target, tokens, vocab_size), 0)
        token = tl.where(place < vocab_size, place, -1)
        running += tl.sum(weights, 0)
        start += TILE
    return token


@triton.jit
def _draw_kernel(
    logits_ptr, maxima_ptr, candidates_ptr, temperature_ptr, uniform_ptr,
    min_p_ptr, top_k_ptr, top_p_ptr, token_ids_ptr, is_valid_ptr,
    stride_logits_row, vocab_size, num_blocks,
    HAS_TEMPERATURE: tl.constexpr, HAS_MIN_P: tl.constexpr, HAS_TOP_K: tl.constexpr,
    HAS_TOP_P: tl.constexpr, PADDED_BLOCKS: tl.constexpr,
    BLOCK: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Steps 5 to 10 of one row."""
    row = tl.program_id(0).to(tl.int64)
    logits = logits_ptr + row * stride_logits_row
    blocks = tl.arange(0, PADDED_BLOCKS)
    is_block = blocks < num_blocks
    maxima = tl.load(maxima_ptr + row * num_blocks + blocks, mask=is_block, other=float("-inf"))
    top = tl.max(maxima, 0)
    is_valid = tl.abs(top) < float("inf")
    first = tl.min(tl.where((maxima == top) & is_block, blocks, num_blocks), 0)
    tokens = first * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(logits + tokens, mask=tokens < vocab_size, other=float("-inf")).to(tl.float32)
    greedy = tl.min(tl.where(x == top, tokens, vocab_size), 0)
    tl.store(is_valid_ptr + row, is_valid)
    tl.store(token_ids_ptr + row, tl.where(is_valid, greedy, 0).to(tl.int64))
    if not HAS_TEMPERATURE:
        return
    temperature = tl.load(temperature_ptr + row)
    if (temperature <= 0) | (top != top) | (tl.abs(top) == float("inf")):
        return
    min_p = 0.0
    if HAS_MIN_P:
        min_p = tl.load(min_p_ptr + row)
    uniform = tl.load(uniform_ptr + row)
    top_k = tl.zeros([], tl.int64)
    if HAS_TOP_K:
        top_k = tl.load(top_k_ptr + row)
    top_p = tl.full([], 1.0, tl.float32)
    if HAS_TOP_P:
        top_p = tl.load(top_p_ptr + row)
    total = tl.zeros([], tl.int64)
    if top_k == 0:
        total = _total_weight(logits, vocab_size, top, temperature, min_p, TILE)
    is_cut = (top_k > 0) | (top_p < 1)
    token = -1
    if HAS_TOP_K or HAS_TOP_P:  # noqa: SIM102 - without either, nothing inside is compiled
        if is_cut:
            token = _draw_some(
                logits, candidates_ptr + row * vocab_size, vocab_size, maxima, is_block, top,
                temperature, min_p, uniform, total, top_k, top_p, TILE,
            )  # fmt: skip
    if is_cut == 0:
        token = _draw_any(logits, vocab_size, top, temperature, min_p, uniform, total, TILE)
    tl.store(token_ids_ptr + row, tl.where(token < 0, greedy, token).to(tl.int64))


def sample(logits: Tensor, params: SamplingTensors) -> SampledTokens:
    """See `kernels.sampling.Sample`. Vocabularies above 2^20 tokens go the reference's way."""
    num_rows, vocab_size = logits.shape
    if vocab_size > MAX_VOCAB_SIZE or logits.dtype == torch.float64:
        return reference.sample(logits, params)
    token_ids = torch.empty(num_rows, dtype=torch.int64, device=logits.device)
    is_valid = torch.empty(num_rows, dtype=torch.bool, device=logits.device)
    sampled = SampledTokens(token_ids=token_ids, is_valid=is_valid)
    if not num_rows:
        return sampled
    logits = with_pairs(logits, params)
    maxima = edit_and_reduce(logits, params)
    is_cut = params.top_k is not None or params.top_p is not None
    candidates = torch.empty(logits.shape if is_cut else 0, dtype=torch.int32, device=logits.device)
    _draw_kernel[(num_rows,)](
        logits, maxima, candidates, params.temperature, params.uniform,
        params.min_p, params.top_k, params.top_p, token_ids, is_valid,
        logits.stride(0), vocab_size, maxima.shape[1],
        HAS_TEMPERATURE=params.temperature is not None, HAS_MIN_P=params.min_p is not None,
        HAS_TOP_K=params.top_k is not None, HAS_TOP_P=params.top_p is not None,
        PADDED_BLOCKS=triton.next_power_of_2(maxima.shape[1]), BLOCK=BLOCK, TILE=_TILE,
        num_warps=8, **OPTIONS,
    )  # fmt: skip
    return sampled
