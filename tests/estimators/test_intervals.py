"""Proportions against known answers, statsmodels and exact enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    power_proportions_2indep,
    proportion_confint,
)

from salesops_kit.estimators.intervals import (
    benjamini_hochberg,
    deals_needed,
    difference,
    homogeneity,
    median_interval,
    ratio,
    two_sided_p,
    wilson,
)

counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(("won", "n", "low", "high"), [(3, 8, 0.137, 0.694), (30, 80, 0.277, 0.485)])
def test_wilson_known_answers(won: int, n: int, low: float, high: float) -> None:
    assert [round(float(limit), 3) for limit in wilson(won, n)] == [low, high]


@given(counts)
def test_wilson_is_that_of_statsmodels(sample: tuple[int, int]) -> None:
    won, n = sample
    assert np.array(wilson(won, n)) == pytest.approx(proportion_confint(won, n, method="wilson"), abs=1e-12)
    assert 0 <= wilson(won, n)[0] <= won / n <= wilson(won, n)[1] <= 1


@given(counts, counts)
def test_difference_is_newcombes(one: tuple[int, int], other: tuple[int, int]) -> None:
    gap, low, high = (float(value) for value in difference(*one, *other))
    assert (low, high) == pytest.approx(confint_proportions_2indep(*one, *other, method="newcomb"), abs=1e-9)
    assert low <= gap + 1e-12
    assert gap <= high + 1e-12
    back = [float(value) for value in difference(*other, *one)]
    assert back == pytest.approx([-gap, -high, -low], abs=1e-12)


def test_nothing_counted_is_missing_never_zero() -> None:
    assert np.isnan(wilson([0, 0], [0, 0])).all()
    assert np.isnan(difference(0, 0, 3, 8)).all()
    assert np.isnan(ratio([1, 0], 0)).all()
    assert ratio([1, 3], [2, 4]).tolist() == [0.5, 0.75]


def test_fisher_known_answer_and_order_of_groups() -> None:
    test = homogeneity([6, 3], [10, 10])
    assert (test.method, round(test.p_value, 3), test.evidence) == ("fisher", 0.370, False)
    assert homogeneity([3, 6], [10, 10]).p_value == test.p_value


def test_chi_square_where_counts_allow() -> None:
    won, n = np.array([30, 50, 45]), np.array([100, 110, 90])
    expected = stats.chi2_contingency(np.column_stack([won, n - won]), correction=False)
    test = homogeneity([*won, 0], [*n, 0])
    assert (test.method, test.df, test.groups) == ("chi-square", 2, 3)
    assert (test.p_value, test.statistic) == pytest.approx((expected.pvalue, expected.statistic))
    assert test.evidence


def test_permutation_is_near_the_exact_p_value() -> None:
    won, n = [3, 0, 1], [4, 4, 4]
    table = [
        (draw, math.prod(math.comb(size, k) for size, k in zip(n, draw, strict=True)))
        for draw in itertools.product(range(5), repeat=3)
        if sum(draw) == sum(won)
    ]

    def squared(draw: tuple[int, ...]) -> float:
        return sum((k - 4 / 3) ** 2 for k in draw)

    extreme = sum(ways for draw, ways in table if squared(draw) >= squared(tuple(won)) - 1e-9)
    test = homogeneity(won, n)
    assert test.method == "permutation"
    assert test.p_value == pytest.approx(extreme / sum(ways for _, ways in table), abs=0.012)
    assert homogeneity(won, n) == test


@pytest.mark.parametrize(("won", "n"), [([], []), ([3], [8]), ([0, 0], [5, 9]), ([5, 9], [5, 9]), ([0], [0])])
def test_nothing_to_test_is_no_evidence(won: list[int], n: list[int]) -> None:
    test = homogeneity(won, n)
    assert test.method == "none"
    assert math.isnan(test.p_value)
    assert not test.evidence


def test_benjamini_hochberg_by_hand() -> None:
    adjusted = benjamini_hochberg([0.01, float("nan"), 0.02, 0.5, 0.03])
    assert adjusted.round(4).tolist()[0] == 0.04
    assert adjusted[2] == adjusted[4] == pytest.approx(0.04)
    assert np.isnan(adjusted[1])
    assert adjusted[3] == 0.5
    assert np.isnan(benjamini_hochberg([float("nan")])).all()
    assert benjamini_hochberg([]).size == 0


def test_p_value_of_an_estimate() -> None:
    assert two_sided_p([1.959964, -1.959964, 0.0], [1.0, 1.0, 4.0]).round(6).tolist() == [0.05, 0.05, 1.0]
    assert np.isnan(two_sided_p([1.0, 1.0], [0.0, float("nan")])).all()


def test_deals_needed_reach_the_power() -> None:
    needed = float(deals_needed(0.3, 0.4))
    assert needed == 356
    power = power_proportions_2indep(0.1, 0.3, needed, return_results=False)
    assert power == pytest.approx(0.8, abs=0.01)
    assert float(deals_needed(0.4, 0.3)) == needed
    assert np.isnan(deals_needed([0.3, float("nan")], 0.3)).all()


def test_median_interval_covers_as_often_as_it_says() -> None:
    for n in (6, 10, 57):
        low, high = median_interval(range(1, n + 1))
        # The median lies between two order statistics with a binomial probability.
        covered = stats.binom.cdf(high - 1, n, 0.5) - stats.binom.cdf(low - 1, n, 0.5)
        narrower = stats.binom.cdf(high - 2, n, 0.5) - stats.binom.cdf(low, n, 0.5)
        assert covered >= 0.95 > narrower
    assert all(np.isnan(median_interval(values)).all() for values in ([], [1.0], [1, 2, 3, 4, 5]))
