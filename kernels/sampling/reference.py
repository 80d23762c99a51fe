"""The sampling pipeline in plain torch; the steps are numbered in `kernels.sampling`.

Owns: steps 1-10 on any device. Must not know: requests, seeds.

Every reduction over a row is either a maximum or a sum of whole numbers below 2^53 in float64, and
every other operation is element-wise. Both give the same bits whatever the shape of the tensor
around the row, which is what makes a row independent of its neighbours.
"""

import numpy as np
import torch
from torch import Tensor

from kernels.sampling.tensors import Penalties, SampledTokens, SamplingTensors, TokenBiases

__all__ = ["edited_logits", "sample", "token_weights"]

# 2^35 times a vocabulary of 2^18 tokens is 2^53, up to which float64 holds every whole number.
_WEIGHT_SCALE = 2.0**35
_ROWS_AT_ONCE_ON_CPU = 4
_DRAW_BLOCK = 512
_TOPK_SHARE = 64  # topk is faster than sorting up to about this part of the row


def sample(logits: Tensor, params: SamplingTensors) -> SampledTokens:
    """See `kernels.sampling.Sample`."""
    logits = edited_logits(logits, params)
    top, token_ids = logits.max(dim=-1)
    is_valid = torch.isfinite(top)  # max passes NaN on
    token_ids.masked_fill_(~is_valid, 0)
    sampled = SampledTokens(token_ids=token_ids, is_valid=is_valid)
    if params.temperature is None or params.uniform is None:
        return sampled
    rows = torch.nonzero(is_valid & (params.temperature > 0)).squeeze(1)
    if len(rows) == 0:
        return sampled
    # Rows are independent. On a CPU a few at a time keep what lies between the steps in its cache.
    at_once = _ROWS_AT_ONCE_ON_CPU if logits.device.type == "cpu" else len(rows)
    for some_rows in torch.split(rows, at_once):
        weights = token_weights(logits, top, some_rows, params)
        token_ids[some_rows] = _draw(weights, params.uniform[some_rows])
    return sampled


def edited_logits(logits: Tensor, params: SamplingTensors) -> Tensor:
    """Steps 1-4: the float32 logits that greedy rows choose from. [R, V] -> [R, V]."""
    logits = logits.float()
    if params.biases is not None:
        _add_biases(logits, params.biases)
    if params.bans is not None:
        logits[params.bans.rows, params.bans.token_ids] = float("-inf")
    if params.penalties is not None:
        _penalise(logits, params.penalties)
    return logits


def token_weights(logits: Tensor, top: Tensor, rows: Tensor, params: SamplingTensors) -> Tensor:
    """Steps 6-9 for `rows` [n]: what each token weighs in the draw, 0 if it is out.

    logits: [R, V] after step 4; top: [R], the finite maximum of each row. Returns [n, V] float32
    holding whole numbers from 0 to 2^35, which is the weight of the most probable token.
    """
    assert params.temperature is not None
    # The maximum comes off first: a small temperature then overflows to -inf, not to +inf.
    scaled = logits.index_select(0, rows).sub_(top[rows, None])
    top_k_floor = None if params.top_k is None else _top_k_floor(scaled, params.top_k[rows])
    weights = (scaled / params.temperature[rows, None]).exp_()
    if params.min_p is not None:
        weights *= weights >= params.min_p[rows, None]
    if top_k_floor is not None:
        weights *= scaled >= top_k_floor
    weights.mul_(_WEIGHT_SCALE).floor_()
    if params.top_p is not None:
        weights *= weights >= _top_p_floor(weights, params.top_p[rows])
    return weights


def _add_biases(logits: Tensor, biases: TokenBiases) -> None:
    logits[biases.rows, biases.token_ids] += biases.values


def _penalise(logits: Tensor, penalties: Penalties) -> None:
    """Read, change and write back only the logits of tokens that occur in the histories.

    A token that occurs several times is read, changed and written several times with one and the
    same value; padding repeats the row's first token. So the order of writing does not matter.
    """
    history = penalties.token_ids.long()  # [P, L]
    positions = torch.arange(history.shape[1], device=history.device)
    is_token = positions < penalties.num_tokens[:, None]
    is_output = is_token & (positions >= penalties.num_prompt_tokens[:, None])
    history = torch.where(is_token, history, history[:, :1])

    counts = torch.zeros(len(history), logits.shape[1], dtype=torch.int32, device=logits.device)
    counts.scatter_add_(1, history, is_output.int())
    count = counts.gather(1, history)  # [P, L], of the token at each place

    rows = penalties.rows[:, None]
    values = logits[rows, history]
    repetition = penalties.repetition[:, None]
    values = torch.where(values > 0, values / repetition, values * repetition)
    values -= penalties.frequency[:, None] * count
    values -= penalties.presence[:, None] * (count > 0)
    logits[rows, history] = values


def _top_k_floor(scaled: Tensor, top_k: Tensor) -> Tensor:
    """The k-th largest value of each row, -inf where top_k is off. [n, V], [n] -> [n, 1]."""
    k = top_k.clamp(max=scaled.shape[1])
    largest = scaled.topk(max(1, int(k.max())), dim=-1).values
    floor = largest.gather(1, (k[:, None] - 1).clamp(min=0))
    return floor.masked_fill(k[:, None] == 0, float("-inf"))


def _top_p_floor(weights: Tensor, top_p: Tensor) -> Tensor:
    """The smallest weight that top_p keeps in each row, 0 where it is off. [n, V], [n] -> [n, 1].

    Tokens under half the average share of what may be cut weigh less than that together, so none
    of them can be needed to reach top_p, and only the others are sorted.
    """
    is_off = top_p[:, None] >= 1
    total = weights.sum(dim=-1, keepdim=True, dtype=torch.float64)
    wanted = total * top_p[:, None].double()
    negligible = (total - wanted) / (2 * weights.shape[1])
    negligible.masked_fill_(is_off, float("inf"))
    num_candidates = int((weights > negligible).sum(dim=-1).max())
    candidates = _largest(weights, max(1, num_candidates)).double()
    mass_before = candidates.cumsum(dim=-1) - candidates
    num_kept = (mass_before < wanted).sum(dim=-1, keepdim=True).clamp(min=1)
    return candidates.gather(1, num_kept - 1).float().masked_fill(is_off, 0)


def _largest(values: Tensor, count: int) -> Tensor:
    """The `count` largest values of each row, descending. [n, V] -> [n, count]."""
    if values.device.type == "cpu" and count * _TOPK_SHARE > values.shape[1]:
        # NumPy sorts with vector instructions: ten times as fast as torch on a whole vocabulary.
        ascending = torch.from_numpy(np.sort(values.numpy(), axis=-1))
        return ascending[:, -count:].flip(-1)
    return values.topk(count, dim=-1).values


def _draw(weights: Tensor, uniform: Tensor) -> Tensor:
    """Step 10: the first token whose cumulative weight exceeds uniform x total. -> [n] int64.

    Sums of blocks find the block first, so that the long running sum is a short one.
    """
    num_rows, num_tokens = weights.shape
    padding = -num_tokens % _DRAW_BLOCK
    blocks = torch.nn.functional.pad(weights, (0, padding)).view(num_rows, -1, _DRAW_BLOCK)
    block_ends = blocks.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)  # [n, num_blocks]
    target = (uniform * block_ends[:, -1])[:, None]
    block = torch.searchsorted(block_ends, target, right=True)
    each_row = torch.arange(num_rows, device=weights.device)[:, None]
    inside = blocks[each_row, block].squeeze(1)  # [n, _DRAW_BLOCK]
    before = block_ends.gather(1, block) - inside.sum(dim=-1, keepdim=True, dtype=torch.float64)
    token_ends = before + inside.cumsum(dim=-1, dtype=torch.float64)
    offset = torch.searchsorted(token_ends, target, right=True)
    return (block * _DRAW_BLOCK + offset).squeeze(1)
