"""Scores of forecasts against known answers and independent implementations; cents that add up."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from salesops_kit.estimators.predictive import Predictive, bias, mase, pinball, wape
from salesops_kit.estimators.reconciliation import to_cents

DEALS = ((100, 0.5), (50, 0.8), (200, 0.1))


def every_outcome() -> Predictive:
    """The exact distribution of the three deals as 100 equally likely values."""
    values: list[float] = []
    for won in product((0, 1), repeat=3):
        chance = np.prod([p if w else 1 - p for w, (_a, p) in zip(won, DEALS, strict=True)])
        amount = sum(a for w, (a, _p) in zip(won, DEALS, strict=True) if w)
        values += [amount] * round(100 * chance)
    return Predictive.of(values)


def test_three_deals() -> None:
    total = every_outcome()
    assert len(total.draws) == 100
    assert total.mean == pytest.approx(110)
    assert total.deviation == pytest.approx(80.62, abs=0.005)
    assert total.at_least(150) == pytest.approx(0.46)
    assert total.crps(150) == pytest.approx(26.22, abs=0.005)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.floats(-1e6, 1e6))
def test_crps_is_the_integral_of_the_squared_difference_of_distributions(
    values: list[float], actual: float
) -> None:
    points = np.sort(np.array([*values, actual]))
    slow = 0.0
    for low, high in pairwise(points):
        share = np.mean(np.array(values) <= low)
        slow += (high - low) * (share - (actual <= low)) ** 2
    assert Predictive.of(values).crps(actual) == pytest.approx(slow, rel=1e-9, abs=1e-4)


def test_crps_of_a_normal_distribution() -> None:
    even = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    exact, _error = integrate.quad(lambda x: (stats.norm.cdf(x) - (x >= 0.7)) ** 2, -9, 9, points=[0.7])
    assert Predictive.of(even).crps(0.7) == pytest.approx(exact, abs=1e-3)


def test_crps_is_twice_the_mean_pinball_loss() -> None:
    draws = np.random.default_rng(1).gamma(2, 100, 4_000)
    total = Predictive.of(draws)
    shares = (np.arange(1, 1_000)) / 1_000
    losses = [float(pinball(250, total.quantile(share), share)) for share in shares]
    assert 2 * np.mean(losses) == pytest.approx(total.crps(250), rel=2e-3)


def test_unknown_is_not_zero() -> None:
    nothing = Predictive.of([])
    assert np.isnan([nothing.mean, nothing.quantile(0.5), nothing.crps(1.0), nothing.at_least(1.0)]).all()
    assert np.isnan([wape([0, 0], [1, 1]), bias([], []), mase([1], [2], [1])]).all()


def test_accuracy_of_four_quarters() -> None:
    actual, forecast = [100, 120, 90, 110], [110, 115, 100, 100]
    assert wape(actual, forecast) == pytest.approx(0.0833, abs=5e-5)
    assert bias(actual, forecast) == pytest.approx(0.0119, abs=5e-5)
    assert mase(actual, forecast, [120, 100, 110, 90]) == pytest.approx((35 / 4) / 20)


@given(st.lists(st.floats(-1e7, 1e7), min_size=1, max_size=9))
def test_cents_sum_to_the_rounded_sum(parts: list[float]) -> None:
    total, cents = to_cents(parts)
    assert sum(cents, Decimal(0)) == total
    assert all(abs(float(cent) - part) <= 0.0100001 for cent, part in zip(cents, parts, strict=True))
