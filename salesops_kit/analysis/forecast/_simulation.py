"""Draws of what open deals and create-and-close bring, with a shock that all deals share."""

from __future__ import annotations

import numpy as np
from scipy import special

from salesops_kit.analysis.forecast._history import Floats

DRAWS = 2_000
SEED = 20_260_731
# The deals that are drawn one by one; given the shock, the sum of all smaller ones is as good as normal.
SINGLE = 250
_SHOCKS = np.linspace(-4.5, 4.5, 37)


def shocks(count: int = DRAWS, seed: int = SEED) -> Floats:
    """Standard normal shocks, evenly spread over their distribution, in a random order."""
    even = special.ndtri((np.arange(count) + 0.5) / count)
    return np.random.default_rng(seed).permutation(even)


def shifted_chance(chance: Floats, correlation: float, shock: Floats) -> Floats:
    """The chance of each deal given the shock; rows are shocks, columns deals.

    A deal is won when a standard normal falls below its threshold. Of that normal the share
    ``correlation`` of the variance is common to all deals, so that the mean over shocks is ``chance``.
    """
    limit = special.ndtri(np.clip(chance, 1e-9, 1 - 1e-9))
    moved = limit[None, :] + np.sqrt(correlation) * shock[:, None]
    return special.ndtr(moved / np.sqrt(1 - correlation))


def open_draws(chance: Floats, amount: Floats, correlation: float, shock: Floats, seed: int = SEED) -> Floats:
    """What open deals bring in each draw: each is won or not, at its amount."""
    if not len(chance):
        return np.zeros(len(shock))
    random = np.random.default_rng(seed + 1)
    order = np.argsort(-(chance * (1 - chance) * amount**2), kind="stable")
    single, rest = order[:SINGLE], order[SINGLE:]
    given = shifted_chance(chance[single], correlation, shock)
    total = np.asarray((random.random(given.shape) < given) @ amount[single])
    if len(rest):
        on_grid = shifted_chance(chance[rest], correlation, _SHOCKS)
        mean = np.interp(shock, _SHOCKS, on_grid @ amount[rest])
        variance = np.interp(shock, _SHOCKS, (on_grid * (1 - on_grid)) @ amount[rest] ** 2)
        total = total + np.maximum(mean + np.sqrt(variance) * random.standard_normal(len(shock)), 0)
    return total


def later_draws(
    deals: float, spread: float, amounts: Floats, shock: Floats, strength: float, seed: int = SEED
) -> Floats:
    """What deals bring that are not open yet: a number of wins, each of an amount that was seen before.

    The number has the mean ``deals``; its rate varies by ``spread`` (as a share of the mean), of which the
    share ``strength`` follows the shock.
    """
    if not len(amounts) or not deals > 0:
        return np.zeros(len(shock))
    random = np.random.default_rng(seed + 2)
    own = random.standard_normal(len(shock))
    common = np.sqrt(strength) * shock + np.sqrt(1 - strength) * own
    sigma = np.sqrt(np.log1p(spread**2))
    count = random.poisson(deals * np.exp(sigma * common - sigma**2 / 2))
    picked = random.integers(0, len(amounts), int(count.sum()))
    ends = np.cumsum(count)
    sums = np.concatenate([[0.0], np.cumsum(amounts[picked])])
    return np.asarray(sums[ends] - sums[ends - count])
