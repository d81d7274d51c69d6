"""The Mantel-Haenszel difference against statsmodels, a slow sum and a simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import StratifiedTable

from salesops_kit.estimators.intervals import difference
from salesops_kit.estimators.stratified import mantel_haenszel


@pytest.mark.parametrize("seed", range(8))
def test_the_test_is_that_of_statsmodels_and_the_difference_a_weighted_mean(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, other_n = rng.integers(2, 80, 6), rng.integers(2, 80, 6)
    won, other_won = rng.binomial(n, 0.4), rng.binomial(other_n, 0.5)
    found = mantel_haenszel(won, n, other_won, other_n)
    tables = [
        np.array([[a, m - a], [b, k - b]]) for a, m, b, k in zip(won, n, other_won, other_n, strict=True)
    ]
    expected = StratifiedTable(tables).test_null_odds(correction=False)
    assert found.p_value == pytest.approx(expected.pvalue)
    weights = [m * k / (m + k) for m, k in zip(n, other_n, strict=True)]
    gaps = [a / m - b / k for a, m, b, k in zip(won, n, other_won, other_n, strict=True)]
    assert found.difference == pytest.approx(np.average(gaps, weights=weights))
    assert found.low < found.difference < found.high
    back = mantel_haenszel(other_won, other_n, won, n)
    assert (back.difference, back.low, back.high) == pytest.approx(
        (-found.difference, -found.high, -found.low)
    )


def test_one_large_stratum_is_the_plain_difference() -> None:
    found = mantel_haenszel([300], [1000], [400], [1000])
    gap, low, high = difference(300, 1000, 400, 1000)
    assert (found.difference, found.low, found.high) == pytest.approx(
        (float(gap), float(low), float(high)), abs=1e-3
    )


def test_strata_that_say_nothing_are_left_out() -> None:
    alone = mantel_haenszel([3, 5], [9, 10], [0, 4], [0, 10])
    assert alone == mantel_haenszel([5], [10], [4], [10])
    nothing = mantel_haenszel([3], [9], [0], [0])
    assert nothing.strata == 0
    assert math.isnan(nothing.difference) and math.isnan(nothing.p_value)  # noqa: PT018
    same = mantel_haenszel([4, 0], [4, 3], [5, 0], [5, 2])
    assert same.difference == 0
    assert math.isnan(same.p_value)


def test_a_good_stratum_does_not_pass_for_a_difference() -> None:
    # Within each stratum both win alike; together the first seems better, as it has more of the good one.
    assert mantel_haenszel([81, 2], [90, 10], [9, 18], [10, 90]).difference == pytest.approx(0)


def test_the_limits_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(3)
    n, other_n, base = np.array([15, 40, 8, 60]), np.array([30, 12, 25, 60]), np.array([0.2, 0.4, 0.5, 0.3])
    held = 0
    for _turn in range(1000):
        found = mantel_haenszel(rng.binomial(n, base + 0.1), n, rng.binomial(other_n, base), other_n)
        held += found.low <= 0.1 <= found.high
    assert 930 <= held <= 970
