"""Shrinkage against its known answer, Bayes' rule by numeric integration, and simulated groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_kit.estimators.shrinkage import STRONGEST, WEAKEST, Prior, estimate_prior, shrink


def test_known_answer() -> None:
    rate, low, high = shrink([6, 0], [8, 0], Prior(0.30, 20))
    assert rate.round(4).tolist() == [0.4286, 0.3]
    assert (low < rate).all()
    assert (rate < high).all()


def test_credible_interval_is_that_of_the_posterior() -> None:
    rates = (np.arange(200_000) + 0.5) / 200_000
    density = rates ** (0.3 * 20 - 1 + 6) * (1 - rates) ** (0.7 * 20 - 1 + 2)
    below = np.cumsum(density) / density.sum()
    _, low, high = shrink(6, 8, Prior(0.30, 20))
    assert float(low) == pytest.approx(rates[np.searchsorted(below, 0.025)], abs=1e-4)
    assert float(high) == pytest.approx(rates[np.searchsorted(below, 0.975)], abs=1e-4)


@given(st.integers(0, 50), st.integers(0, 50), st.floats(0.05, 0.95), st.floats(1, 500))
def test_lies_between_own_rate_and_prior(won: int, lost: int, mean: float, strength: float) -> None:
    rate = float(shrink(won, won + lost, Prior(mean, strength))[0])
    own = won / (won + lost) if won + lost else mean
    assert min(own, mean) - 1e-12 <= rate <= max(own, mean) + 1e-12


def test_degenerate_and_unknown_priors() -> None:
    assert [float(value) for value in shrink(0, 5, Prior(0.0, 20))] == [0, 0, 0]
    assert [float(value) for value in shrink(5, 5, Prior(1.0, 20))] == [1, 1, 1]
    assert np.isnan(shrink(3, 8, Prior(float("nan"), 20))).all()


def test_prior_strength_tells_like_groups_from_unlike_ones() -> None:
    rng = np.random.default_rng(5)
    n = np.full(60, 100)
    alike = estimate_prior(rng.binomial(n, 0.4), n)
    unlike = estimate_prior(rng.binomial(n, rng.beta(4, 6, size=60)), n)
    apart = estimate_prior([0, 100, 0, 100], [100] * 4)
    assert alike.strength > 200
    assert 6 < unlike.strength < 17
    assert apart.strength < 4
    assert unlike.mean == pytest.approx(0.4, abs=0.06)


def test_prior_without_information_is_the_same_whatever_the_counts() -> None:
    nothing = estimate_prior([], [])
    assert np.isnan(nothing.mean)
    assert nothing.strength == pytest.approx(16, abs=2)
    assert estimate_prior([0, 0], [0, 0]).strength == nothing.strength
    assert estimate_prior([0], [9]).strength == nothing.strength
    assert WEAKEST < estimate_prior([3], [8]).strength < STRONGEST
