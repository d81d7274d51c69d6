"""Rung 1: the same quarter of the year before, and how far such quarters were apart."""

from __future__ import annotations

import numpy as np
from scipy import special

from salesops_kit.analysis.forecast._history import Floats
from salesops_kit.estimators.predictive import Predictive

# Before any pair of quarters was seen: how far they differ as a share, and what that counts for in pairs.
SPREAD, STRENGTH = 0.30, 2.0
_POINTS = 400


def seasonal_naive(totals: Floats, season: int = 4) -> Predictive:
    """A year ago's value, spread as values a year apart differed; the latest value in the first year.

    ``totals`` are those of the quarters before the target, oldest first, missing where unknown. The spread
    is log-t around last year's value. Without any value nothing is forecast.
    """
    known = totals[~np.isnan(totals)]
    if not len(known):
        return Predictive.of([])
    step = season if len(totals) >= season and not np.isnan(totals[-season]) else 1
    base = totals[-season] if step == season else known[-1]
    pairs = [
        np.log(after / before)
        for before, after in zip(totals[:-step], totals[step:], strict=True)
        if before > 0 and after > 0
    ]
    return spread_around(float(base), pairs, SPREAD, STRENGTH)


def spread_around(base: float, misses: list[float], prior: float, strength: float) -> Predictive:
    """A distribution of log-t shape whose mean is ``base``, as wide as past misses (logarithms of ratios).

    The variance is that of the misses around zero and of a prior that counts as ``strength`` of them.
    """
    squares = np.clip(np.asarray(misses, float), -1.5, 1.5) ** 2
    variance = (float(squares.sum()) + strength * prior**2) / (len(squares) + strength)
    # Student's t, since the variance itself is known from a few misses only.
    even = special.stdtrit(len(squares) + strength, (np.arange(_POINTS) + 0.5) / _POINTS)
    shape = np.exp(np.sqrt(variance) * even)
    return Predictive.of(max(base, 0.0) * shape / shape.mean())
