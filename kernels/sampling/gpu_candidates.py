"""What the tokens of a row weigh, and which few of them matter: parts of Triton kernels.

Owns: weights, and the searches for the bounds of top-k and top-p. Must not know: launches,
requests. A row's candidates are written down once, in the order of ids; a search then goes over
them bit by bit. How near a logit is to the top of its row is compared as the bits of the
difference, an integer of the same order.
"""

import triton
import triton.language as tl

__all__ = [
    "bound_of_candidates",
    "bound_of_maxima",
    "compact",
    "gather",
    "heavy_total",
    "least_weight",
    "magnitude",
    "weights_of",
]


@triton.jit
def magnitude(x, top):
    """How far below the top, as an integer of the same order: a float's bits."""
    return tl.abs(x - top).to(tl.int32, bitcast=True)


@triton.jit
def weights_of(x, top, temperature, min_p):
    """Steps 6 and 7: whole numbers up to 2^35."""
    exponents = tl.div_rn(x - top, temperature + tl.zeros_like(x))
    weights = tl.exp(exponents)
    weights = tl.where(weights >= min_p, weights, 0.0)
    return (weights * 34359738368.0).to(tl.int64)


@triton.jit
def gather(logits, candidates, num, start, TILE: tl.constexpr):
    """A tile of the candidates: token ids, and their logits, -inf beyond the end."""
    places = start + tl.arange(0, TILE)
    tokens = tl.load(candidates + places, mask=places < num, other=0x7FFFFFFF)
    x = tl.load(logits + tokens, mask=places < num, other=float("-inf")).to(tl.float32)
    return tokens, x


@triton.jit
def bound_of_maxima(maxima, is_block, top, count):
    """No more than `count` - 1 blocks are nearer to the top than this: a bound for the magnitude
    of the count-th largest logit.
    """
    magnitudes = tl.where(is_block, magnitude(maxima, top), 0x7FFFFFFF)
    bound = 0
    for bit in range(31):
        trial = bound | (1 << (30 - bit))
        num_nearer = tl.sum((magnitudes < trial).to(tl.int32), 0)
        bound = tl.where(num_nearer < count, trial, bound)
    return bound


@triton.jit
def bound_of_candidates(logits, candidates, num, top, count, BLOCK: tl.constexpr):
    """The magnitude of the count-th largest of the candidates; the largest there is if there are
    fewer.
    """
    bound = 0
    for bit in range(31):
        trial = bound | (1 << (30 - bit))
        num_nearer = 0
        for start in range(0, num, BLOCK):
            _, x = gather(logits, candidates, num, start, BLOCK)
            is_nearer = (magnitude(x, top) < trial) & (start + tl.arange(0, BLOCK) < num)
            num_nearer += tl.sum(is_nearer.to(tl.int32), 0)
        bound = tl.where(num_nearer < count, trial, bound)
    return bound


@triton.jit
def heavy_total(
    logits, candidates, num, top, temperature, min_p, bound, least, BLOCK: tl.constexpr
):  # fmt: skip
    """What the candidates weigh together that are near enough and weigh at least `least`."""
    total = tl.zeros([], tl.int64)
    for start in range(0, num, BLOCK):
        _, x = gather(logits, candidates, num, start, BLOCK)
        weights = weights_of(x, top, temperature, min_p)
        is_in = (magnitude(x, top) <= bound) & (weights >= least)
        total += tl.sum(tl.where(is_in, weights, 0), 0)
    return total


@triton.jit
def least_weight(
    logits, candidates, num, top, temperature, min_p, bound, wanted, BLOCK: tl.constexpr
):  # fmt: skip
    """Step 9: the largest number such that the weights from it on reach `wanted`, at most 2^35."""
    least = tl.zeros([], tl.int64)
    for bit in range(36):
        trial = least | (tl.full([], 1, tl.int64) << (35 - bit))
        total = heavy_total(
            logits, candidates, num, top, temperature, min_p, bound, trial, BLOCK
        )  # fmt: skip
        least = tl.where(total.to(tl.float64) >= wanted, trial, least)
    return tl.minimum(least, 34359738368)


@triton.jit
def compact(
    logits, candidates, vocab_size, top, temperature, min_p, bound, negligible, BLOCK: tl.constexpr
):  # fmt: skip
    """Write down, in the order of ids, the tokens that are near enough and weigh enough."""
    num = 0
    for start in range(0, vocab_size, BLOCK):
        tokens = start + tl.arange(0, BLOCK)
        x = tl.load(logits + tokens, mask=tokens < vocab_size, other=float("-inf")).to(tl.float32)
        weights = weights_of(x, top, temperature, min_p).to(tl.float64)
        is_in = (magnitude(x, top) <= bound) & (weights > negligible) & (tokens < vocab_size)
        places = num + tl.cumsum(is_in.to(tl.int32), 0) - 1
        tl.store(candidates + places, tokens, mask=is_in)
        num += tl.sum(is_in.to(tl.int32), 0)
    tl.debug_barrier()  # other threads read what these wrote
    return num
