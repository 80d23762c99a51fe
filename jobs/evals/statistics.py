"""What scores of a sample of rows say about all rows there could be.

Owns: intervals, pass@k, paired tests. Must not know: rows, answers, files. Everything is over rows:
samples of one row are not independent of each other. Random numbers come from a fixed seed, so that
the same scores give the same intervals.

pass@k is the unbiased estimator of Chen et al., Evaluating Large Language Models Trained on Code
(2021); the intervals of a share without spread are Wilson's (1927).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt

import numpy as np
import numpy.typing as npt

__all__ = [
    "Difference",
    "bootstrap_interval",
    "mcnemar_p",
    "paired_difference",
    "pass_at_k",
    "wilson_interval",
]

_Z = 1.959964
_NUM_RESAMPLES = 10_000
_DRAWS_AT_ONCE = 4_000_000
_SEED = 20_260_101

Floats = npt.NDArray[np.float64]


def wilson_interval(num_right: float, total: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share, 0..1."""
    if not total:
        return (0.0, 1.0)
    share, square = num_right / total, _Z * _Z
    middle = share + square / (2 * total)
    spread = _Z * sqrt(share * (1 - share) / total + square / (4 * total * total))
    scale = 1 + square / total
    return (max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale))


def bootstrap_interval(scores: Sequence[float]) -> tuple[float, float]:
    """The 95% percentile interval of the mean of scores in 0..1, one for each row.

    Where all are the same, resampling knows no spread: Wilson's interval stands there.
    """
    values = np.asarray(scores, dtype=np.float64)
    if len(values) == 0 or (values == values[0]).all():
        return wilson_interval(float(values.sum()), len(values))
    low, high = np.quantile(_resampled_means(values), [0.025, 0.975])
    return float(low), float(high)


def pass_at_k(num_samples: int, num_right: int, k: int) -> float:
    """The chance that of k samples, drawn from `num_samples` of which `num_right` are right, at
    least one is. Raises ValueError unless 1 <= k <= num_samples.
    """
    if not 1 <= k <= num_samples or not 0 <= num_right <= num_samples:
        raise ValueError(f"pass@{k} needs {k} samples, and there are {num_samples}")
    misses: float = comb(num_samples - num_right, k) / comb(num_samples, k)
    return 1.0 - misses


def mcnemar_p(num_only_a: int, num_only_b: int) -> float:
    """The exact two-sided McNemar test: how likely is so uneven a split of the rows that only one
    side has right, if each side were as likely to have them?
    """
    total, less = num_only_a + num_only_b, min(num_only_a, num_only_b)
    if total == 0:
        return 1.0
    tail = ways = 1
    for count in range(less):
        ways = ways * (total - count) // (count + 1)
        tail += ways
    p: float = 2 * tail / 2**total
    return min(1.0, p)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The mean of paired differences, its 95% bootstrap interval, and the two-sided bootstrap
    p-value of the hypothesis that there is none.
    """

    mean: float
    low: float
    high: float
    p: float


def paired_difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Of b over a, row by row, by a paired bootstrap. Raises ValueError for unequal lengths.

    A bootstrap of few rows is too sure of itself. Where m rows changed, no test can do better than
    2 of the 2^m ways in which their signs could have fallen; p is never below that.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} scores cannot be paired")
    changes = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
    if len(changes) == 0 or (changes == changes[0]).all():
        mean = float(changes[0]) if len(changes) else 0.0
        if mean == 0.0:
            return Difference(mean=0.0, low=0.0, high=0.0, p=1.0)
        low, high = wilson_interval(len(changes) * (mean + 1) / 2, len(changes))
        p = max(2 / (_NUM_RESAMPLES + 1), _least_p(changes))
        return Difference(mean=mean, low=2 * low - 1, high=2 * high - 1, p=p)
    means = _resampled_means(changes)
    low, high = np.quantile(means, [0.025, 0.975])
    # The resampled means lie around the mean; where they cross 0 is how far 0 is from it.
    beyond = min(int((means <= 0).sum()), int((means >= 0).sum()))
    p = min(1.0, max(2 * (beyond + 1) / (len(means) + 1), _least_p(changes)))
    return Difference(mean=float(changes.mean()), low=float(low), high=float(high), p=p)


def _least_p(changes: Floats) -> float:
    """Of an exact test of signs."""
    least: float = 2.0 ** (1 - int(np.count_nonzero(changes)))
    return min(1.0, least)


def _resampled_means(values: Floats) -> Floats:
    """[_NUM_RESAMPLES] means of resamples with replacement. Scores take few values, so the counts
    of each are drawn instead of the rows.
    """
    distinct, counts = np.unique(values, return_counts=True)
    generator = np.random.default_rng(_SEED)
    shares = counts / counts.sum()
    at_once = max(1, _DRAWS_AT_ONCE // len(distinct))
    means = [
        generator.multinomial(len(values), shares, size=min(at_once, _NUM_RESAMPLES - done))
        @ distinct
        for done in range(0, _NUM_RESAMPLES, at_once)
    ]
    found: Floats = np.concatenate(means) / len(values)
    return found
