"""Rung 1: the same quarter of the year before, and how far such quarters were apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import special

from salesops_kit.analysis.forecast._history import Floats
from salesops_kit.estimators.predictive import Predictive

# Before any pair of quarters was seen: how far they differ as a share, and what that counts for in pairs.
SPREAD, STRENGTH = 0.30, 2.0
# Nothing is further from a forecast than this, as a logarithm: 4.5 times it, or that part of it. Without a
# limit a log-t has no mean, and what is drawn of it for a few misses has one far above its median.
LIMIT = 1.5
# The middles of 400 equal parts, at which a distribution is drawn.
MIDDLES = (np.arange(400) + 0.5) / 400


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
    """A distribution of log-t shape whose mean is ``base``, as wide as past misses (logarithms of ratios)."""
    shape = np.exp(np.clip(log_t(misses, prior, strength, MIDDLES), -LIMIT, LIMIT))
    return Predictive.of(max(base, 0.0) * shape / shape.mean())


def log_t(misses: Sequence[float], prior: float, strength: float, shares: Floats) -> Floats:
    """The quantiles of Student's t at each of ``shares``, as wide as past misses and centred at 0.

    The variance is that of the misses around zero and of a prior that counts as ``strength`` of them.
    """
    squares = np.clip(np.asarray(misses, float), -LIMIT, LIMIT) ** 2
    variance = (float(squares.sum()) + strength * prior**2) / (len(squares) + strength)
    # Student's t, since the variance itself is known from a few misses only.
    return np.asarray(np.sqrt(variance) * special.stdtrit(len(squares) + strength, shares))
