"""Draws of what open deals and create-and-close bring, with a shock that all deals share."""

from __future__ import annotations

import numpy as np
from scipy import special

from salesops_kit.analysis.forecast._history import Floats

DRAWS = 2_000
SEED = 20_260_731
# The deals that are drawn one by one; given the shock, the sum of all smaller ones is as good as normal.
SINGLE = 250
# Of more deals than this beyond those, deals of about the same chance are taken together.
MOST_CHANCES = 2_000
# Of more deals than this a draw's sum is as good as normal.
MOST_LATER = 2_000
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
        usual, money, squares = _alike(chance[rest], amount[rest])
        on_grid = shifted_chance(usual, correlation, _SHOCKS)
        mean = np.interp(shock, _SHOCKS, on_grid @ money)
        variance = np.interp(shock, _SHOCKS, (on_grid * (1 - on_grid)) @ squares)
        total = total + np.maximum(mean + np.sqrt(variance) * random.standard_normal(len(shock)), 0)
    return total


def _alike(chance: Floats, amount: Floats) -> tuple[Floats, Floats, Floats]:
    """Chances, sums of amounts and of their squares; many deals are taken together by steps of chance, each
    at the mean chance of its money, so that no money is lost."""
    squares = amount**2
    if len(chance) <= MOST_CHANCES:
        return chance, amount, squares
    step = np.minimum((chance * MOST_CHANCES).astype(np.int64), MOST_CHANCES - 1)
    count = np.bincount(step, minlength=MOST_CHANCES)

    def summed(values: Floats) -> Floats:
        return np.asarray(np.bincount(step, values, MOST_CHANCES), dtype=float)

    money, square, total, weighted = map(summed, (amount, squares, chance, chance * amount))
    usual = np.divide(total, count, out=np.zeros(MOST_CHANCES), where=count > 0)
    usual = np.divide(weighted, money, out=usual, where=money > 0)
    kept = count > 0
    return np.clip(usual, 0, 1)[kept], money[kept], square[kept]


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
    if deals > MOST_LATER:
        noise = np.sqrt(count * amounts.var()) * random.standard_normal(len(shock))
        return np.maximum(count * amounts.mean() + noise, 0.0)
    picked = random.integers(0, len(amounts), int(count.sum()))
    ends = np.cumsum(count)
    sums = np.concatenate([[0.0], np.cumsum(amounts[picked])])
    return np.asarray(sums[ends] - sums[ends - count])
