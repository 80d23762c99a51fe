"""Intervals and tests against counting, closed forms and simulation."""

from itertools import combinations
from math import erfc, sqrt

import numpy as np
import pytest

from jobs.evals.statistics import (
    bootstrap_interval,
    mcnemar_p,
    paired_difference,
    pass_at_k,
    wilson_interval,
)


def test_interval_of_a_share_is_wilsons() -> None:
    assert wilson_interval(95, 100) == pytest.approx((0.8882, 0.9785), abs=1e-3)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(0, 10)[0] == 0.0
    assert wilson_interval(10, 10)[1] == pytest.approx(1.0)


@pytest.mark.parametrize(("num_samples", "num_right"), [(1, 0), (1, 1), (5, 2), (6, 5), (6, 6)])
def test_pass_at_k_counts_every_draw(num_samples: int, num_right: int) -> None:
    verdicts = [index < num_right for index in range(num_samples)]
    for k in range(1, num_samples + 1):
        draws = list(combinations(verdicts, k))
        assert pass_at_k(num_samples, num_right, k) == pytest.approx(
            sum(any(draw) for draw in draws) / len(draws)
        )


def test_pass_at_k_needs_k_samples() -> None:
    with pytest.raises(ValueError, match="pass@3 needs 3 samples, and there are 2"):
        pass_at_k(2, 1, 3)


def test_bootstrap_agrees_with_the_normal_interval_of_many_rows() -> None:
    scores = [1.0] * 300 + [0.0] * 200
    spread = 1.96 * sqrt(0.6 * 0.4 / 500)
    assert bootstrap_interval(scores) == pytest.approx((0.6 - spread, 0.6 + spread), abs=0.004)
    assert bootstrap_interval(scores) == bootstrap_interval(scores[::-1])


def test_bootstrap_works_for_scores_between_0_and_1() -> None:
    scores = np.random.default_rng(1).random(2_000)
    spread = 1.96 * float(scores.std()) / sqrt(len(scores))
    low, high = bootstrap_interval(scores.tolist())
    assert (low, high) == pytest.approx((scores.mean() - spread, scores.mean() + spread), abs=2e-3)


def test_rows_without_spread_get_wilsons_interval() -> None:
    assert bootstrap_interval([1.0] * 20) == wilson_interval(20, 20)
    assert bootstrap_interval([0.0] * 20) == wilson_interval(0, 20)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        low, high = bootstrap_interval((generator.random(80) < 0.7).astype(float).tolist())
        held += low <= 0.7 <= high
    assert 175 <= held <= 198


@pytest.mark.parametrize(
    ("a", "b", "p"),
    [
        (0, 0, 1.0),
        (0, 1, 1.0),
        (0, 6, 0.03125),
        (1, 9, 0.021484375),
        (5, 5, 1.0),
        (10, 2, 0.038574),
    ],
)
def test_mcnemar_is_the_two_sided_sign_test(a: int, b: int, p: float) -> None:
    assert mcnemar_p(a, b) == pytest.approx(p, abs=1e-6)
    assert mcnemar_p(b, a) == mcnemar_p(a, b)


def test_paired_rows_tell_more_than_unpaired_ones() -> None:
    before = [1.0, 0.0] * 100
    after = [1.0, 0.0] * 90 + [1.0, 1.0] * 10
    found = paired_difference(before, after)
    assert found.mean == pytest.approx(0.05)
    assert 0 < found.low < found.mean < found.high < 0.1
    assert found.p < 0.01
    back = paired_difference(after, before)
    assert back.mean == pytest.approx(-found.mean)
    assert back.p < 0.01


def test_no_difference_is_found_where_none_is() -> None:
    generator = np.random.default_rng(3)
    num_found = 0
    for _ in range(200):
        before, after = ((generator.random(60) < 0.5).astype(float).tolist() for _ in range(2))
        num_found += paired_difference(before, after).p < 0.05
    assert num_found <= 22


def test_rows_that_all_changed_alike_are_as_sure_as_their_number_allows() -> None:
    few, many = (paired_difference([0.0] * n, [0.5] * n) for n in (5, 20))
    assert few.p == 0.0625
    assert many.p < 0.001
    assert -1 <= few.low < many.low < 0.5 < many.high < few.high <= 1
    assert paired_difference([0.25, 0.5], [0.5, 1.0]).p == 0.5
    assert paired_difference([0.0], [1.0]).p == 1.0
    assert paired_difference([0.5] * 5, [0.5] * 5).p == 1.0
    assert paired_difference([], []).mean == 0.0
    with pytest.raises(ValueError, match="1 and 2 scores"):
        paired_difference([0.0], [1.0, 1.0])


def test_equal_scores_are_not_certain_ones() -> None:
    low, high = bootstrap_interval([0.5] * 3)
    assert low < 0.3
    assert high > 0.7


def test_mcnemar_of_many_rows_is_quick_and_exact() -> None:
    total, less = 20_000, 9_800
    deviations = (total / 2 - less - 0.5) / (total / 4) ** 0.5
    assert mcnemar_p(less, total - less) == pytest.approx(erfc(deviations / 2**0.5), rel=1e-3)
