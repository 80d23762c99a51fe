"""Log probabilities in Triton: one program takes a row to its end.

Owns: the kernel and its launch. Must not know: requests, sampling parameters. Weights are whole
numbers as in the reference, and their sums are integers, so a row's numbers depend on that row
alone. The likeliest tokens are found among the few that the blocks' maxima leave in question.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.sampling import reference
from kernels.sampling.gpu_candidates import bound_of_maxima, compact, gather
from kernels.sampling.gpu_edits import MAX_VOCAB_SIZE, OPTIONS, edit_and_reduce
from kernels.sampling.tensors import SamplingTensors, TokenLogprobs

__all__ = ["logprobs"]

_TILE = 2048


@triton.jit
def _logprobs_kernel(
    logits_ptr, maxima_ptr, candidates_ptr, token_ids_ptr,
    total_ptr, chosen_ptr, rank_ptr, top_ids_ptr, top_values_ptr, is_valid_ptr,
    stride_logits_row, vocab_size, num_blocks, num_top,
    PADDED_BLOCKS: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """One row: the sum of all weights, how far tokens are below the top, and the likeliest ones."""
    row = tl.program_id(0).to(tl.int64)
    logits = logits_ptr + row * stride_logits_row
    blocks = tl.arange(0, PADDED_BLOCKS)
    is_block = blocks < num_blocks
    maxima = tl.load(maxima_ptr + row * num_blocks + blocks, mask=is_block, other=float("-inf"))
    top = tl.max(maxima, 0)
    is_valid = tl.abs(top) < float("inf")
    tl.store(is_valid_ptr + row, is_valid)
    if (top != top) | (tl.abs(top) == float("inf")):
        return
    chosen = tl.load(logits + tl.load(token_ids_ptr + row)).to(tl.float32) - top
    total = tl.zeros([], tl.int64)
    num_likelier = tl.zeros([], tl.int64)
    for start in range(0, vocab_size, TILE):
        tokens = start + tl.arange(0, TILE)
        x = tl.load(logits + tokens, mask=tokens < vocab_size, other=float("-inf")).to(tl.float32)
        total += tl.sum((tl.exp(x - top) * 34359738368.0 + 0.5).to(tl.int64), 0)
        num_likelier += tl.sum((x - top > chosen).to(tl.int64), 0)
    tl.store(total_ptr + row, total)
    tl.store(chosen_ptr + row, chosen)
    tl.store(rank_ptr + row, num_likelier + 1)
    if num_top == 0:
        return
    candidates = candidates_ptr + row * vocab_size
    bound = bound_of_maxima(maxima, is_block, top, num_top)
    num = compact(logits, candidates, vocab_size, top, 1.0, 0.0, bound, -1.0, TILE)
    last = float("inf")
    last_token = -1
    for rank in range(num_top):
        # The largest after the last one: a smaller value, or the same under a higher id.
        best = float("-inf")
        best_token = vocab_size
        for start in range(0, num, TILE):
            tokens, x = gather(logits, candidates, num, start, TILE)
            x = x - top
            is_left = (x < last) | ((x == last) & (tokens > last_token))
            is_left &= start + tl.arange(0, TILE) < num
            here = tl.max(tl.where(is_left, x, float("-inf")), 0)
            token = tl.min(tl.where(is_left & (x == here), tokens, vocab_size), 0)
            is_better = (here > best) | (best_token == vocab_size)
            best = tl.where(is_better, here, best)
            best_token = tl.where(is_better, token, best_token)
        tl.store(top_ids_ptr + row * num_top + rank, best_token.to(tl.int64))
        tl.store(top_values_ptr + row * num_top + rank, best)
        last = best
        last_token = best_token


def logprobs(logits: Tensor, token_ids: Tensor, num_top: int) -> TokenLogprobs:
    """See `kernels.sampling.Logprobs`. Vocabularies above 2^20 tokens go the reference's way."""
    num_rows, vocab_size = logits.shape
    if vocab_size > MAX_VOCAB_SIZE or logits.dtype == torch.float64:
        return reference.logprobs(logits, token_ids, num_top)
    num_top = min(num_top, vocab_size)
    device = logits.device
    total = torch.ones(num_rows, dtype=torch.int64, device=device)
    chosen = torch.zeros(num_rows, dtype=torch.float32, device=device)
    ranks = torch.ones(num_rows, dtype=torch.int64, device=device)
    top_ids = torch.zeros(num_rows, num_top, dtype=torch.int64, device=device)
    top_values = torch.zeros(num_rows, num_top, dtype=torch.float32, device=device)
    is_valid = torch.empty(num_rows, dtype=torch.bool, device=device)
    if num_rows:
        logits = logits if logits.stride(1) == 1 else logits.contiguous()
        maxima = edit_and_reduce(logits, SamplingTensors())
        shape = logits.shape if num_top else 0
        _logprobs_kernel[(num_rows,)](
            logits, maxima, torch.empty(shape, dtype=torch.int32, device=device), token_ids,
            total, chosen, ranks, top_ids, top_values, is_valid,
            logits.stride(0), vocab_size, maxima.shape[1], num_top,
            PADDED_BLOCKS=triton.next_power_of_2(maxima.shape[1]), TILE=_TILE,
            num_warps=8, **OPTIONS,
        )  # fmt: skip
    log_total = (total.double() / 2.0**35).log_()
    return TokenLogprobs(
        logprobs=(chosen.double() - log_total).float(),
        ranks=ranks,
        top_token_ids=top_ids,
        top_logprobs=(top_values.double() - log_total[:, None]).float(),
        is_valid=is_valid,
    )
