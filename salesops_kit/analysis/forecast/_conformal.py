"""The range around a forecast from its own past misses: conformal where they reach, log-t beyond."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from salesops_kit.analysis.forecast._history import Floats
from salesops_kit.analysis.forecast._naive import LIMIT, MIDDLES, log_t
from salesops_kit.estimators.predictive import Predictive

# Misses from which the range is theirs: four bound the middle 80 %.
FEWEST = 4


def miss(came: float, expected: float) -> float:
    """How far off a forecast was: the logarithm of what came / what was expected, within the limit."""
    return float(np.clip(np.log(came / expected), -LIMIT, LIMIT)) if came > 0 else -LIMIT


def spread(misses: Sequence[float], shares: Floats, prior: float, strength: float) -> Floats:
    """The quantiles of the next miss at each of ``shares``, symmetric around 0.

    If the next miss is like the ``n`` past ones, in whatever order they came, it is at most as large as
    the i-th smallest of them with probability i / (n + 1): these are the quantiles of its size, with
    straight lines between them. Beyond the largest, and altogether with fewer than ``FEWEST``, they rise
    as those of :func:`log_t`. None is beyond the limit.
    """
    size = np.abs(2 * shares - 1)
    ranked = np.sort(np.abs(misses)) if len(misses) >= FEWEST else np.zeros(0)
    known = len(ranked) / (len(ranked) + 1)
    inner = np.interp(size, np.linspace(0, known, len(ranked) + 1), [0.0, *ranked])
    begin = log_t(misses, prior, strength, np.array([(1 + known) / 2]))
    tail = log_t(misses, prior, strength, (1 + np.maximum(size, known)) / 2) - begin
    return np.sign(shares - 0.5) * np.minimum(inner + tail, LIMIT)


def conformal(base: float, misses: Sequence[float], prior: float, strength: float) -> Predictive:
    """A distribution whose median is ``base``, as wide as past misses were; its mean lies above."""
    return Predictive.of(max(base, 0.0) * np.exp(spread(misses, MIDDLES, prior, strength)))
