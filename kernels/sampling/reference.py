"""The sampling pipeline in plain torch; the steps are numbered in `kernels.sampling`.

Owns: steps 1-10 and log probabilities on any device. Must not know: requests, seeds.

Every reduction over a row is either a maximum or a sum of whole numbers below 2^53 in float64, and
every other operation is element-wise. Both give the same bits whatever the shape of the tensor
around the row, which is what makes a row independent of its neighbours.
"""

import numpy as np
import torch
from torch import Tensor

from kernels.sampling.tensors import (
    Penalties,
    SampledTokens,
    SamplingTensors,
    TokenBiases,
    TokenLogprobs,
    TokenMasks,
)

__all__ = ["edited_logits", "logprobs", "sample", "token_weights"]

# 2^35 times a vocabulary of 2^18 tokens is 2^53, up to which float64 holds every whole number.
_WEIGHT_SCALE = 2.0**35
# Below this a weight is 0 anyway, and on a CPU the exponential of -inf takes twice the time.
_LEAST_EXPONENT = -60.0
_ROWS_AT_ONCE_ON_CPU = 4
_LOGPROB_ROWS_AT_ONCE = 64
_DRAW_BLOCK = 512
_TOP_BLOCK = 128
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


def logprobs(logits: Tensor, token_ids: Tensor, num_top: int) -> TokenLogprobs:
    """See `kernels.sampling.Logprobs`."""
    at_once = _ROWS_AT_ONCE_ON_CPU if logits.device.type == "cpu" else _LOGPROB_ROWS_AT_ONCE
    parts = [
        _some_logprobs(some_logits, some_ids, num_top)
        for some_logits, some_ids in zip(
            torch.split(logits, at_once), torch.split(token_ids, at_once), strict=True
        )
    ]
    if len(parts) == 1:
        return parts[0]
    return TokenLogprobs(
        logprobs=torch.cat([part.logprobs for part in parts]),
        ranks=torch.cat([part.ranks for part in parts]),
        top_token_ids=torch.cat([part.top_token_ids for part in parts]),
        top_logprobs=torch.cat([part.top_logprobs for part in parts]),
        is_valid=torch.cat([part.is_valid for part in parts]),
    )


def edited_logits(logits: Tensor, params: SamplingTensors) -> Tensor:
    """Steps 1-4: the float32 logits that greedy rows choose from. [R, V] -> [R, V]."""
    logits = logits.float()
    if params.biases is not None:
        _add_biases(logits, params.biases)
    if params.masks is not None:
        _mask(logits, params.masks)
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
    exponents = scaled / params.temperature[rows, None]
    if params.masks is not None:
        exponents.clamp_(min=_LEAST_EXPONENT)
    weights = exponents.exp_()
    if params.min_p is not None:
        weights *= weights >= params.min_p[rows, None]
    if top_k_floor is not None:
        weights *= scaled >= top_k_floor
    weights.mul_(_WEIGHT_SCALE).floor_()
    if params.top_p is not None:
        weights *= weights >= _top_p_floor(weights, params.top_p[rows])
    return weights


def _some_logprobs(logits: Tensor, token_ids: Tensor, num_top: int) -> TokenLogprobs:
    """Rounding weights to whole multiples moves a logarithm by 2e-6 at most, with 2^17 tokens."""
    logits = logits.float()
    top = logits.amax(dim=-1, keepdim=True)
    is_valid = torch.isfinite(top)  # amax passes NaN on
    if not bool(is_valid.all()):  # nothing below has to expect NaN then
        logits, top = torch.where(is_valid, logits, 0.0), torch.where(is_valid, top, 0.0)
    relative = logits - top
    weights = relative.exp().mul_(_WEIGHT_SCALE).round_()
    log_total = (weights.sum(dim=-1, keepdim=True, dtype=torch.float64) / _WEIGHT_SCALE).log_()
    chosen = relative.gather(1, token_ids[:, None])
    # Counted in the weights' own memory, as float32, which holds whole numbers up to 2^24.
    num_likelier = torch.gt(relative, chosen, out=weights).sum(dim=-1)
    top_token_ids = _likeliest(relative, min(num_top, logits.shape[1]))
    return TokenLogprobs(
        logprobs=(chosen.double() - log_total).float().squeeze(1),
        ranks=num_likelier.long() + 1,
        top_token_ids=top_token_ids,
        top_logprobs=(relative.gather(1, top_token_ids).double() - log_total).float(),
        is_valid=is_valid.squeeze(1),
    )


def _likeliest(logits: Tensor, count: int) -> Tensor:
    """The `count` largest of each row, largest first, of equal ones the lowest id first: what topk
    leaves open. [R, V] -> [R, count] int64.

    They all stand in the `count` blocks with the largest maxima, the first ones of equal maxima:
    before a token of any other block come the maxima of these.
    """
    num_rows, num_tokens = logits.shape
    if count == 0 or num_rows == 0:
        return torch.zeros(num_rows, count, dtype=torch.int64, device=logits.device)
    padded = torch.nn.functional.pad(logits, (0, -num_tokens % _TOP_BLOCK), value=float("-inf"))
    blocks = padded.view(num_rows, -1, _TOP_BLOCK)
    best = blocks.amax(dim=-1).sort(dim=-1, descending=True, stable=True).indices[:, :count]
    best = best.sort(dim=-1).values  # so that ids ascend among the candidates
    candidates = blocks.gather(1, best[:, :, None].expand(-1, -1, _TOP_BLOCK)).flatten(1)
    places = candidates.sort(dim=-1, descending=True, stable=True).indices[:, :count]
    return best.gather(1, places // _TOP_BLOCK) * _TOP_BLOCK + places % _TOP_BLOCK


def _add_biases(logits: Tensor, biases: TokenBiases) -> None:
    logits[biases.rows, biases.token_ids] += biases.values


def _mask(logits: Tensor, masks: TokenMasks) -> None:
    """What the masks do not allow becomes -inf; tokens beyond them are not allowed."""
    num_tokens = logits.shape[1]
    is_on_host = logits.device.type == "cpu"
    forbidden = _unpack_on_host(~masks.bits) if is_on_host else _unpack(~masks.bits)
    missing = num_tokens - forbidden.shape[1]
    if missing > 0:
        forbidden = torch.nn.functional.pad(forbidden, (0, missing), value=True)
    forbidden = forbidden[:, :num_tokens]
    if is_on_host:  # in place, a row at a time: copies would cost more than the work
        for row, of_row in zip(masks.rows.tolist(), forbidden, strict=True):
            logits[row].masked_fill_(of_row, float("-inf"))
        return
    values = logits.index_select(0, masks.rows).masked_fill_(forbidden, float("-inf"))
    logits.index_copy_(0, masks.rows, values)


def _unpack(bits: Tensor) -> Tensor:
    """[n, words] int32 -> [n, 32 x words] bool."""
    shifts = torch.arange(32, device=bits.device, dtype=bits.dtype)
    return ((bits[:, :, None] >> shifts) & 1).bool().flatten(1)


def _unpack_on_host(bits: Tensor) -> Tensor:
    """The same by NumPy, which takes a byte at a time."""
    flat = np.unpackbits(bits.numpy().view(np.uint8), axis=1, bitorder="little")
    return torch.from_numpy(flat.view(np.bool_))


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
