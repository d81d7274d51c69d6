"""Create-and-close: what past quarters won from deals that were not open yet on the same day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from salesops_kit.analysis.forecast._conversion import RECENCY
from salesops_kit.analysis.forecast._history import Floats
from salesops_kit.analysis.forecast._view import View

# Arrivals of so many days before the origin tell how many are still to come.
TRAILING_DAYS = 182
# How far the number of such wins differs from what is usual, before any quarter was seen, and what that
# counts for in quarters.
SPREAD, SPREAD_STRENGTH = 0.25, 4.0


@dataclass(frozen=True)
class Later:
    """``deals``: wins expected, ``share`` of the arrivals of the days left, which come at ``rate`` a day.

    ``amounts``: what such wins brought, ``spread``: how far their number varies.
    """

    deals: float
    amounts: Floats
    spread: float
    share: float = 0.0
    rate: float = 0.0

    @property
    def mean(self) -> float:
        """The money expected."""
        return self.deals * float(self.amounts.mean()) if len(self.amounts) else 0.0


def fit(view: View) -> Later:
    """Arrivals still to come x the share of such arrivals that past quarters won in time.

    Arrivals come at the rate of the half year before the origin. Won deals that were open before, as far
    as they were closed or elsewhere on the day, count among them. Before any such
    win was seen, they bring what deals that are open now would.
    """
    past = view.past
    weight = np.array([RECENCY ** (each.ago - 1) for each in past])
    won = np.array([len(each.later) for each in past], dtype=float)
    born = np.array([each.born for each in past], dtype=float)
    days = max((view.target.end.toordinal() - 1) - view.today, 0)
    since = max(view.today - TRAILING_DAYS, view.history.first)
    rate = view.born(since, view.today) / max(view.today - since, 1)
    # Half a win among one arrival more, so that none seen is not none possible.
    share = (float((weight * won).sum()) + 0.5) / (float((weight * born).sum()) + 1.0) if len(past) else 0.0
    usual = share * born
    excess = ((won - usual) ** 2 - usual) / np.maximum(usual, 1.0) ** 2
    known = usual > 0
    squared = (float(excess[known].sum()) + SPREAD_STRENGTH * SPREAD**2) / (known.sum() + SPREAD_STRENGTH)
    amounts = np.concatenate([np.zeros(0), *(each.later for each in past[-12:])])
    if not len(amounts):
        amounts = view.open_deals.rows.amount
    return Later(share * rate * days, amounts, float(np.sqrt(np.clip(squared, 0.01, 1.0))), share, rate)
