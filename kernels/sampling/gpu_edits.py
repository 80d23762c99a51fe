"""Editing logits in Triton, and what every other sampling kernel begins with: the maxima of blocks.

Owns: steps 2 to 4 of the pipeline, and the largest of each `BLOCK` logits. Must not know: requests,
how tokens are drawn. The vocabulary is cut into chunks, so that few rows fill the device too.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.sampling.tensors import Penalties, SamplingTensors, TokenMasks

__all__ = ["BLOCK", "MAX_VOCAB_SIZE", "OPTIONS", "edit_and_reduce", "with_pairs"]

BLOCK = 128  # logits that share a maximum
MAX_VOCAB_SIZE = 2**20  # the maxima of a row are one tile
# What eager torch computes: a product is rounded before something is subtracted from it.
OPTIONS: dict[str, Any] = {"enable_fp_fusion": False}

_CHUNK = 4096


@triton.jit
def _edit_pairs_kernel(
    logits_ptr, rows_ptr, tokens_ptr, values_ptr, stride_logits_row, num_pairs,
    HAS_VALUES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Add to pairs (row, token), each once, or without values ban them."""
    pairs = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    is_there = pairs < num_pairs
    rows = tl.load(rows_ptr + pairs, mask=is_there, other=0)
    place = (
        logits_ptr + rows * stride_logits_row + tl.load(tokens_ptr + pairs, mask=is_there, other=0)
    )
    value = tl.full([BLOCK], float("-inf"), tl.float32)
    if HAS_VALUES:
        value = tl.load(place, mask=is_there, other=0.0)
        value += tl.load(values_ptr + pairs, mask=is_there, other=0.0)
    tl.store(place, value, mask=is_there)


@triton.jit
def _count_tokens_kernel(
    counts_ptr, history_ptr, num_prompt_ptr, num_tokens_ptr, stride_history_row, vocab_size,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """How often each token is in a row's output, and a high bit if its prompt has it."""
    row = tl.program_id(0).to(tl.int64)
    places = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    is_token = places < tl.load(num_tokens_ptr + row)
    is_output = is_token & (places >= tl.load(num_prompt_ptr + row))
    token = tl.load(history_ptr + row * stride_history_row + places, mask=is_token, other=0)
    count = counts_ptr + row * vocab_size + token.to(tl.int64)
    ones = tl.full([BLOCK], 1, tl.int32)
    tl.atomic_add(count, ones, mask=is_output)
    tl.atomic_or(count, ones << 30, mask=is_token & (is_output == 0))


@triton.jit
def _maxima_kernel(
    logits_ptr, maxima_ptr, mask_index_ptr, bits_ptr, penalty_index_ptr, counts_ptr,
    repetition_ptr, presence_ptr, frequency_ptr,
    stride_logits_row, num_words, vocab_size, num_blocks,
    HAS_MASKS: tl.constexpr, HAS_PENALTIES: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Steps 3 and 4 in place, and the largest logit of each BLOCK: infinity where one is NaN."""
    row = tl.program_id(0).to(tl.int64)
    blocks = tl.program_id(1) * (CHUNK // BLOCK) + tl.arange(0, CHUNK // BLOCK)
    tokens = blocks[:, None] * BLOCK + tl.arange(0, BLOCK)[None, :]  # [CHUNK / BLOCK, BLOCK]
    is_there = tokens < vocab_size
    place = logits_ptr + row * stride_logits_row + tokens
    x = tl.load(place, mask=is_there, other=float("-inf")).to(tl.float32)
    if HAS_MASKS:
        index = tl.load(mask_index_ptr + row).to(tl.int64)
        if index >= 0:
            word = tl.load(
                bits_ptr + index * num_words + tokens // 32,
                mask=is_there & (tokens // 32 < num_words), other=0,
            )  # fmt: skip
            x = tl.where((word >> (tokens % 32)) & 1 != 0, x, float("-inf"))
    if HAS_PENALTIES:
        index = tl.load(penalty_index_ptr + row).to(tl.int64)
        if index >= 0:
            seen = tl.load(counts_ptr + index * vocab_size + tokens, mask=is_there, other=0)
            count = (seen & ((1 << 30) - 1)).to(tl.float32)
            repetition = tl.load(repetition_ptr + index)
            changed = tl.where(x > 0, tl.div_rn(x, repetition + tl.zeros_like(x)), x * repetition)
            changed -= tl.load(frequency_ptr + index) * count
            changed -= tl.load(presence_ptr + index) * tl.where(count > 0, 1.0, 0.0)
            x = tl.where(seen != 0, changed, x)
    if HAS_MASKS or HAS_PENALTIES:
        tl.store(place, x, mask=is_there)
    maxima = tl.max(tl.where(x != x, float("inf"), x), 1)
    tl.store(maxima_ptr + row * num_blocks + blocks, maxima, mask=blocks < num_blocks)


def with_pairs(logits: Tensor, params: SamplingTensors) -> Tensor:
    """Steps 1 to 3 as far as single tokens go. What will be edited becomes float32."""
    if logits.stride(1) != 1:
        logits = logits.contiguous()
    edits = (params.biases, params.bans, params.masks, params.penalties)
    if all(edit is None for edit in edits):
        return logits
    logits = logits.float()
    block = 128
    if params.biases is not None and len(params.biases.rows):
        pairs = params.biases
        _edit_pairs_kernel[(triton.cdiv(len(pairs.rows), block),)](
            logits, pairs.rows, pairs.token_ids, pairs.values, logits.stride(0), len(pairs.rows),
            HAS_VALUES=True, BLOCK=block,
        )  # fmt: skip
    if params.bans is not None and len(params.bans.rows):
        bans = params.bans
        _edit_pairs_kernel[(triton.cdiv(len(bans.rows), block),)](
            logits, bans.rows, bans.token_ids, None, logits.stride(0), len(bans.rows),
            HAS_VALUES=False, BLOCK=block,
        )  # fmt: skip
    return logits


def edit_and_reduce(logits: Tensor, params: SamplingTensors) -> Tensor:
    """Steps 3 and 4, in place; the maxima of each row's blocks."""
    num_rows, vocab_size = logits.shape
    num_blocks = triton.cdiv(vocab_size, BLOCK)
    maxima = torch.empty(num_rows, num_blocks, dtype=torch.float32, device=logits.device)
    masks, penalties = params.masks, params.penalties
    bits = masks.bits.contiguous() if masks is not None else None
    _maxima_kernel[(num_rows, triton.cdiv(vocab_size, _CHUNK))](
        logits, maxima, _places(masks, num_rows), bits, _places(penalties, num_rows),
        _counts(penalties, vocab_size),
        *((penalties.repetition, penalties.presence, penalties.frequency) if penalties is not None
          else (None, None, None)),
        logits.stride(0), bits.shape[1] if bits is not None else 0, vocab_size, num_blocks,
        HAS_MASKS=masks is not None, HAS_PENALTIES=penalties is not None,
        CHUNK=_CHUNK, BLOCK=BLOCK, num_warps=8, **OPTIONS,
    )  # fmt: skip
    return maxima


def _places(edits: TokenMasks | Penalties | None, num_rows: int) -> Tensor | None:
    """Where each row stands among those edited, -1 where it does not. [R] int32."""
    if edits is None:
        return None
    rows = edits.rows
    places = torch.full((num_rows,), -1, dtype=torch.int32, device=rows.device)
    numbers = torch.arange(len(rows), dtype=torch.int32, device=rows.device)
    return places.scatter_(0, rows, numbers)


def _counts(penalties: Penalties | None, vocab_size: int) -> Tensor | None:
    """[P, V] int32: how often each token was output, and 2^30 if the prompt has it."""
    if penalties is None:
        return None
    num_rows, length = penalties.token_ids.shape
    history = penalties.token_ids.contiguous()
    counts = torch.zeros(num_rows, vocab_size, dtype=torch.int32, device=history.device)
    if counts.numel():
        block = 256
        _count_tokens_kernel[(num_rows, triton.cdiv(length, block))](
            counts, history, penalties.num_prompt_tokens, penalties.num_tokens,
            history.stride(0), vocab_size, BLOCK=block,
        )  # fmt: skip
    return counts
