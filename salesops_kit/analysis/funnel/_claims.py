"""Which of many differences are more than chance, allowing for how many were looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from salesops_kit.estimators.intervals import (
    SIGNIFICANCE,
    Array,
    Numbers,
    benjamini_hochberg,
    difference,
    fisher_exact,
    ratio,
    two_sided_p,
)

CLAIM = ["p_value", "adjusted_p_value", "evidence"]
LEAST_EXPECTED = 5
# Rounding must not make the whole company a sample that differs from itself.
_LEAST_VARIANCE = 1e-12


def reports_alike(
    rates: pd.DataFrame, reference: Mapping[str, Any] | None, figures: Mapping[str, Any]
) -> int:
    """In how many teams' reports the same comparisons are made: 1 where the rows hold the whole company.

    Six teams that look at five stages each make thirty comparisons, whichever report one reads.
    """
    company = sum(stage["at_risk"] for stages in figures.values() for stage in stages.values())
    if not reference or rates["at_risk"].sum() >= company:
        return 1
    return max(int(reference.get("teams", 1)), 1)


def with_claims(rates: pd.DataFrame, reports: int = 1) -> pd.DataFrame:
    """Adds ``p_value``, ``adjusted_p_value`` and ``evidence`` to rows with ``difference`` and its variance.

    The p-value tests the difference against zero; the adjusted one allows for all rows
    (Benjamini-Hochberg) and for the ``reports`` in which as many rows are looked at (Bonferroni);
    ``evidence`` holds where it is below 0.05.
    """
    result = rates.copy()
    spread = result["difference_variance"].where(result["difference_variance"] > _LEAST_VARIANCE)
    result["p_value"] = two_sided_p(result["difference"], spread)
    adjusted = benjamini_hochberg(result["p_value"].to_numpy(float)) * reports
    result["adjusted_p_value"] = np.minimum(adjusted, 1.0)
    result["evidence"] = result["adjusted_p_value"] < SIGNIFICANCE
    return result


def against_the_others(successes: Numbers, n: Numbers) -> pd.DataFrame:
    """Each group's proportion less that of all other groups together.

    Columns: ``difference`` with Newcombe's 95 % limits ``difference_low`` and ``difference_high``,
    ``p_value`` (chi-square without continuity correction, Fisher's exact test where an expected count is
    below 5), ``adjusted_p_value`` (Benjamini-Hochberg over the groups) and ``evidence``: adjusted below
    0.05, and the limits leave out zero. A group without deals, or alone, is compared with nothing.

    >>> found = against_the_others([60, 30, 30], [100, 100, 100])
    >>> found["difference"].round(2).tolist(), found["evidence"].tolist()
    ([0.3, -0.15, -0.15], [True, True, True])
    """
    won, size = np.asarray(successes, float), np.asarray(n, float)
    other_won, other_size = won.sum() - won, size.sum() - size
    gap, low, high = difference(won, size, other_won, other_size)
    result = pd.DataFrame({"difference": gap, "difference_low": low, "difference_high": high})
    result["p_value"] = _two_group_p(won, size, other_won, other_size)
    result["adjusted_p_value"] = benjamini_hochberg(result["p_value"].to_numpy(float))
    leaves_zero_out = (result["difference_low"] > 0) | (result["difference_high"] < 0)
    result["evidence"] = (result["adjusted_p_value"] < SIGNIFICANCE) & leaves_zero_out
    return result


def _two_group_p(won: Array, size: Array, other_won: Array, other_size: Array) -> Array:
    total, total_won = size + other_size, won + other_won
    share = ratio(total_won, total)
    expected = np.minimum(size, other_size) * np.minimum(share, 1 - share)
    excess = won - size * share
    p_values = special.chdtrc(1, ratio(excess**2 * total, size * other_size * share * (1 - share)))
    p_values = np.where((size > 0) & (other_size > 0), p_values, np.nan)
    for place in np.flatnonzero((expected < LEAST_EXPECTED) & ~np.isnan(p_values)):
        lost, other_lost = size[place] - won[place], other_size[place] - other_won[place]
        cells = np.array([[won[place], lost], [other_won[place], other_lost]]).round().astype(int)
        p_values[place] = fisher_exact(cells)
    return np.asarray(p_values, float)
