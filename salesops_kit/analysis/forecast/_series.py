"""Rung 4: exponential smoothing of monthly bookings, with a range from its own past misses."""

from __future__ import annotations

import warnings
from functools import lru_cache

import numpy as np
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tools.sm_exceptions import ConvergenceWarning

from salesops_kit.analysis.forecast._history import Floats

# Months that a season, and that a trend, must be seen for.
SEASONAL_MONTHS, TREND_MONTHS = 25, 10
FEWEST_MONTHS = 4


def smoothed(months: Floats, ahead: int) -> Floats:
    """The next ``ahead`` months by exponential smoothing, at least 0 each.

    Of a level alone, with a damped trend and, after two years, with a quarterly season (period 3) or that of
    the year (period 12), additive errors, the one with the least AICc. Fewer than four months, or months
    that are all alike, give their mean.
    """
    return np.array(_smoothed(tuple(float(value) for value in months), ahead))


@lru_cache(maxsize=4096)
def _smoothed(months: tuple[float, ...], ahead: int) -> tuple[float, ...]:
    values = np.array(months)
    scale = float(np.abs(values).mean()) if len(values) else 0.0
    if len(values) < FEWEST_MONTHS or np.ptp(values) == 0 or not scale > 0:
        return (float(values.mean()) if len(values) else 0.0,) * ahead
    options: list[dict[str, object]] = [{}]
    if len(values) >= TREND_MONTHS:
        options += [{"seasonal": "add", "seasonal_periods": 3}]
    if len(values) >= SEASONAL_MONTHS:
        options += [{"seasonal": "add", "seasonal_periods": 12}]
    best, score = None, np.inf
    for option in options:
        with warnings.catch_warnings():
            # A fit that stops early is compared by its AICc like any other.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            fitted = ETSModel(values / scale, error="add", **option).fit(disp=False, maxiter=60)
        if np.isfinite(fitted.aicc) and fitted.aicc < score:
            best, score = fitted, float(fitted.aicc)
    if best is None:
        return (float(values.mean()),) * ahead
    return tuple(float(value) for value in np.maximum(best.forecast(ahead), 0) * scale)
