"""Proportions: intervals, differences, tests of homogeneity and the sample a difference needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
# Permutations of a test, and how many tell that a p-value is far above any level of significance.
_PERMUTATIONS, _FIRST, _CLEARLY = 20_000, 2_000, 0.2
_SEED = 20_240_229

Array = npt.NDArray[np.float64]
Numbers = npt.ArrayLike


def z_value(confidence: float = CONFIDENCE) -> float:
    """The normal quantile that leaves ``1 - confidence`` in both tails together.

    >>> round(z_value(0.95), 3)
    1.96
    """
    return float(special.ndtri(0.5 + confidence / 2))


def ratio(numerator: Numbers, denominator: Numbers) -> Array:
    """Numerator over denominator, missing where the denominator is zero or missing."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, float), np.asarray(denominator, float))
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)


def wilson(successes: Numbers, n: Numbers, confidence: float = CONFIDENCE) -> tuple[Array, Array]:
    """The Wilson score interval of a proportion: its lower and upper limit.

    ``n`` of zero gives missing limits. ``successes`` need not be whole, so that an effective sample
    size can be used for weighted data.

    >>> low, high = wilson(30, 80)
    >>> round(float(low), 3), round(float(high), 3)
    (0.277, 0.485)
    """
    z = z_value(confidence)
    share = ratio(successes, n)
    size = np.where(np.isnan(share), 1.0, np.broadcast_to(np.asarray(n, float), share.shape))
    centre = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    # Rounding may leave a tiny negative variance where the share is 0 or 1.
    spread = np.sqrt(np.maximum(share * (1 - share) / size + z**2 / (4 * size**2), 0))
    half = z * spread / (1 + z**2 / size)
    # At the edges the limit is the share itself, which rounding would miss by a hair.
    low = np.where(share <= 0, 0.0, np.maximum(centre - half, 0))
    return low, np.where(share >= 1, 1.0, np.minimum(centre + half, 1))


def difference(
    successes: Numbers,
    n: Numbers,
    other_successes: Numbers,
    other_n: Numbers,
    confidence: float = CONFIDENCE,
) -> tuple[Array, Array, Array]:
    """The first proportion less the second, with Newcombe's hybrid score interval.

    Returns difference, lower and upper limit; all missing where either sample is empty. The samples
    must be independent: compare a team with the others, not with a total that holds the team.

    >>> [round(float(value), 4) for value in difference(56, 70, 48, 80)]
    [0.2, 0.0524, 0.3339]
    """
    here, there = ratio(successes, n), ratio(other_successes, other_n)
    low, high = wilson(successes, n, confidence)
    other_low, other_high = wilson(other_successes, other_n, confidence)
    gap = here - there
    below = np.sqrt((here - low) ** 2 + (other_high - there) ** 2)
    above = np.sqrt((high - here) ** 2 + (there - other_low) ** 2)
    return gap, gap - below, gap + above


def median_interval(values: Numbers) -> tuple[float, float]:
    """The 95 % limits of the median from order statistics, exact for any distribution.

    Missing where there are too few values for any pair of them to reach that confidence.

    >>> median_interval(range(1, 11))
    (2.0, 9.0)
    """
    ordered = np.sort(np.asarray(values, float))
    tail, count = (1 - CONFIDENCE) / 2, len(ordered)
    # One and a bit above the quantile of the binomial, which is missing for a handful of values.
    below = min(int(np.nan_to_num(special.bdtrik(tail, count, 0.5))) + 2, count)
    # P(fewer than `below` values lie under the median) must not exceed half of what is left out.
    while below > 0 and special.bdtr(below - 1, count, 0.5) > tail:
        below -= 1
    if below == 0:
        return float("nan"), float("nan")
    return float(ordered[below - 1]), float(ordered[count - below])


@dataclass(frozen=True)
class Homogeneity:
    """Whether groups differ in a proportion at all.

    ``p_value`` is missing when fewer than two groups hold data or all of them succeed or fail.
    """

    p_value: float
    statistic: float
    df: int
    groups: int
    method: Literal["chi-square", "fisher", "permutation", "none"]

    @property
    def evidence(self) -> bool:
        """Whether the difference is significant at 5 %; never when nothing could be tested."""
        return bool(self.p_value < SIGNIFICANCE)


def homogeneity(successes: Numbers, n: Numbers) -> Homogeneity:
    """Tests whether all groups share one proportion; empty groups are left out.

    Pearson's chi-square without continuity correction when at most a fifth of the expected counts
    lie below 5 and none below 1 (Cochran's rule); else Fisher's exact test for two groups and a
    permutation test of the chi-square statistic (seeded) for more: 20,000 permutations, but 2,000 where
    these give a p-value above 0.2.

    >>> test = homogeneity([6, 3], [10, 10])
    >>> test.method, round(test.p_value, 3)
    ('fisher', 0.37)
    """
    sizes = np.asarray(n, float).round().astype(int)
    won = np.asarray(successes, float).round().astype(int)[sizes > 0]
    sizes = sizes[sizes > 0]
    total, total_won = int(sizes.sum()), int(won.sum())
    df = max(len(sizes) - 1, 0)
    if df == 0 or total_won in (0, total):
        return Homogeneity(float("nan"), float("nan"), df, len(sizes), "none")
    expected_won = sizes * (total_won / total)
    expected = np.concatenate([expected_won, sizes - expected_won])
    statistic = float(_chi_square(won, sizes, expected_won))
    if expected.min() >= 1 and (expected < 5).mean() <= 0.2:
        return Homogeneity(float(special.chdtrc(df, statistic)), statistic, df, len(sizes), "chi-square")
    if len(sizes) == 2:
        p_value = fisher_exact(np.column_stack([won, sizes - won]))
        return Homogeneity(p_value, statistic, df, 2, "fisher")
    rng, drawn, at_least = np.random.default_rng(_SEED), 0, 0
    for size in (_FIRST, _PERMUTATIONS - _FIRST):
        draws = rng.multivariate_hypergeometric(sizes, total_won, size=size, method="marginals")
        at_least += int((_chi_square(draws, sizes, expected_won) >= statistic * (1 - 1e-12)).sum())
        drawn += size
        if at_least > _CLEARLY * drawn:
            break
    return Homogeneity((at_least + 1) / (drawn + 1), statistic, df, len(sizes), "permutation")


def _chi_square(won: npt.NDArray[np.int_], sizes: npt.NDArray[np.int_], expected: Array) -> Array:
    squared = (won - expected) ** 2
    return np.asarray((squared / expected + squared / (sizes - expected)).sum(axis=-1))


def fisher_exact(counts: npt.NDArray[np.int_]) -> float:
    """The two-sided p-value of Fisher's exact test of a table of two by two counts."""
    # To import it takes longer than all else that a batch's driver has to do before its first report.
    from scipy import stats

    return float(stats.fisher_exact(counts).pvalue)


def benjamini_hochberg(p_values: Sequence[float] | Array) -> Array:
    """P-values adjusted for the false discovery rate; missing ones stay missing and are not counted.

    >>> benjamini_hochberg([0.01, 0.04, 0.03, float("nan")]).round(4).tolist()
    [0.03, 0.04, 0.04, nan]
    """
    raw = np.asarray(p_values, float)
    adjusted = np.full(raw.shape, np.nan)
    known = np.flatnonzero(~np.isnan(raw))
    falling = known[np.argsort(-raw[known])]
    ranks = np.arange(len(falling), 0, -1)
    adjusted[falling] = np.minimum.accumulate(np.minimum(raw[falling] * len(falling) / ranks, 1))
    return adjusted


def two_sided_p(estimate: Numbers, variance: Numbers) -> Array:
    """The normal p-value of an estimate against zero; missing where the variance is not positive."""
    spread = np.asarray(variance, float)
    return 2 * special.ndtr(-np.abs(ratio(estimate, np.sqrt(np.where(spread > 0, spread, np.nan)))))


def deals_needed(rate: Numbers, other_rate: Numbers, power: float = 0.8) -> Array:
    """Deals per group for a difference of this size to be visible: at 5 %, two-sided, with ``power``.

    The usual normal approximation for two independent groups of one size, rounded up. Missing where
    the rates are equal or unknown.

    >>> float(deals_needed(0.5, 0.6))
    388.0
    """
    one, two = np.broadcast_arrays(np.asarray(rate, float), np.asarray(other_rate, float))
    middle = (one + two) / 2
    z_test, z_power = z_value(1 - SIGNIFICANCE), float(special.ndtri(power))
    root = z_test * np.sqrt(2 * middle * (1 - middle)) + z_power * np.sqrt(one * (1 - one) + two * (1 - two))
    return np.ceil(ratio(root**2, (one - two) ** 2))
