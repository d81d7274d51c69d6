"""A difference of proportions within strata, so that what differs between the strata does not enter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from salesops_kit.estimators.intervals import Numbers, z_value


@dataclass(frozen=True)
class StratifiedDifference:
    """The Mantel-Haenszel difference of two proportions with its 95 % limits, and the p-value of none."""

    difference: float
    low: float
    high: float
    p_value: float
    strata: int


def mantel_haenszel(
    successes: Numbers,
    n: Numbers,
    other_successes: Numbers,
    other_n: Numbers,
) -> StratifiedDifference:
    """The first proportion less the second, averaged over strata in which both were seen.

    Each stratum weighs ``n x other_n / (n + other_n)``; the limits use Sato's variance, which holds for
    few large strata and for many small ones, and the p-value is that of the Cochran-Mantel-Haenszel
    test without continuity correction. Strata in which one side has no case say nothing; without any
    other everything is missing, and the p-value is where all cases of each stratum agree.

    >>> found = mantel_haenszel([30, 10], [50, 40], [20, 12], [50, 60])
    >>> round(found.difference, 4), round(found.p_value, 4), found.strata
    (0.1265, 0.0554, 2)
    """
    won, size, other_won, other_size = np.broadcast_arrays(
        *(np.atleast_1d(np.asarray(values, float)) for values in (successes, n, other_successes, other_n))
    )
    both = (size > 0) & (other_size > 0)
    won, size, other_won, other_size = (v[both] for v in (won, size, other_won, other_size))
    missing = float("nan")
    if not both.any():
        return StratifiedDifference(missing, missing, missing, missing, 0)
    total = size + other_size
    weight = (size * other_size / total).sum()
    gap = float(((won * other_size - other_won * size) / total).sum() / weight)
    skew = (
        size**2 * other_won - other_size**2 * won + size * other_size * (other_size - size) / 2
    ) / total**2
    spread = (won * (other_size - other_won) + other_won * (size - won)) / (2 * total)
    variance = max(float((gap * (skew / total**2).sum() + spread.sum()) / weight**2), 0.0)
    half = z_value() * float(np.sqrt(variance))
    all_won = won + other_won
    chance = size * other_size * all_won * (total - all_won) / (total**2 * np.maximum(total - 1, 1))
    p_value = missing
    if chance.sum() > 0:
        excess = (won - size * all_won / total).sum()
        p_value = float(special.chdtrc(1, excess**2 / chance.sum()))
    return StratifiedDifference(gap, gap - half, gap + half, p_value, int(both.sum()))
