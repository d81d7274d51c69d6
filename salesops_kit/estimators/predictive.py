"""Predictive distributions as equally likely draws, and the scores of forecasts against what came."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salesops_kit.estimators.intervals import Array, Numbers


@dataclass(frozen=True)
class Predictive:
    """A distribution as equally likely values in ascending order; no value at all means unknown."""

    draws: Array

    @classmethod
    def of(cls, values: Numbers) -> Predictive:
        """From values in any order."""
        return cls(np.sort(np.atleast_1d(np.asarray(values, float))))

    @property
    def mean(self) -> float:
        """The expected value; missing where nothing is known."""
        return float(self.draws.mean()) if self.draws.size else float("nan")

    @property
    def deviation(self) -> float:
        """The standard deviation, of the draws as a whole population."""
        return float(self.draws.std()) if self.draws.size else float("nan")

    def quantile(self, share: float) -> float:
        """The smallest draw that at least ``share`` of the draws do not exceed.

        >>> Predictive.of([3, 1, 2, 4]).quantile(0.5)
        2.0
        """
        if not self.draws.size:
            return float("nan")
        place = int(np.ceil(share * self.draws.size - 1e-9)) - 1
        return float(self.draws[max(place, 0)])

    def at_least(self, value: float) -> float:
        """The probability of reaching a value."""
        if not self.draws.size or np.isnan(value):
            return float("nan")
        return float(1 - np.searchsorted(self.draws, value, side="left") / self.draws.size)

    def crps(self, actual: float) -> float:
        """The continuous ranked probability score: E|X - actual| - E|X - X'| / 2, in the unit of X.

        For a point it is the absolute error.

        >>> Predictive.of([100.0]).crps(130.0)
        30.0
        """
        count = self.draws.size
        if not count or np.isnan(actual):
            return float("nan")
        weights = 2 * np.arange(1, count + 1) - count - 1
        spread = float((weights * self.draws).sum()) / count**2
        return float(np.abs(self.draws - actual).mean()) - spread

    def shifted(self, by: float) -> Predictive:
        """The distribution moved by an amount."""
        return Predictive(self.draws + by)


def pinball(actual: Numbers, forecast: Numbers, share: float) -> Array:
    """The quantile loss: ``share`` x what lies above the forecast, (1 - share) x what lies below.

    >>> [round(float(pinball(y, 120, 0.9)), 6) for y in (130, 100)]
    [9.0, 2.0]
    """
    above = np.asarray(actual, float) - np.asarray(forecast, float)
    return np.where(above >= 0, share * above, (share - 1) * above)


def wape(actual: Numbers, forecast: Numbers) -> float:
    """Sum of absolute errors / sum of actuals; missing without an actual above 0.

    >>> round(wape([100, 120, 90, 110], [110, 115, 100, 100]), 4)
    0.0833
    """
    truth, guess = np.asarray(actual, float), np.asarray(forecast, float)
    return float(np.abs(guess - truth).sum() / truth.sum()) if truth.sum() > 0 else float("nan")


def bias(actual: Numbers, forecast: Numbers) -> float:
    """Sum of forecasts less actuals / sum of actuals: above 0 the forecasts were too high.

    >>> round(bias([100, 120, 90, 110], [110, 115, 100, 100]), 4)
    0.0119
    """
    truth, guess = np.asarray(actual, float), np.asarray(forecast, float)
    return float((guess - truth).sum() / truth.sum()) if truth.sum() > 0 else float("nan")


def mase(actual: Numbers, forecast: Numbers, naive: Numbers) -> float:
    """Mean absolute error / that of the naive forecasts of the same actuals; missing where that is 0."""
    truth = np.asarray(actual, float)
    base = float(np.abs(np.asarray(naive, float) - truth).mean()) if truth.size else 0.0
    return float(np.abs(np.asarray(forecast, float) - truth).mean() / base) if base > 0 else float("nan")
