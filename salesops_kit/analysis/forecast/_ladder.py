"""The ladder: one interface for all rungs, from a year ago's quarter to the simulation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from salesops_kit.analysis.forecast import _boosted, _conversion, _hazard, _later
from salesops_kit.analysis.forecast._calls import Calls, RollUp, roll_up
from salesops_kit.analysis.forecast._conformal import conformal
from salesops_kit.analysis.forecast._conversion import RECENCY, Conversion
from salesops_kit.analysis.forecast._history import Floats
from salesops_kit.analysis.forecast._later import Later
from salesops_kit.analysis.forecast._naive import SPREAD, STRENGTH, seasonal_naive
from salesops_kit.analysis.forecast._series import past_misses, quarter_total
from salesops_kit.analysis.forecast._simulation import later_draws, open_draws, shocks
from salesops_kit.analysis.forecast._view import DUE, OVERDUE, PastQuarter, View, due
from salesops_kit.estimators.predictive import Predictive

SEASONAL_NAIVE, COMMIT, STAGE_WEIGHTED = "seasonal_naive", "commit", "stage_weighted"
COMMIT_CORRECTED, CONVERSION, SERIES = "commit_corrected", "conversion", "smoothing"
HAZARD, BOOSTED, SIMULATION, SHIPPED = "hazard", "boosted", "simulation", "shipped"
# Wins that the ratio of money to deals must rest on to count half.
VALUE_STRENGTH = 20.0
# The correlation of deals before any quarter was seen, and what that counts for in quarters.
CORRELATION, CORRELATION_STRENGTH = 0.05, 6.0
COMMON_LATER = 0.5


@dataclass(frozen=True)
class Forecast:
    """One rung's forecast of a quarter: its distribution, of which ``booked`` is certain.

    ``open_mean`` is expected of open deals, ``later_mean`` of create-and-close; missing where the rung does
    not tell them apart. ``chance`` is that of each open deal.
    """

    total: Predictive
    booked: float
    open_mean: float = float("nan")
    later_mean: float = float("nan")
    chance: Floats | None = None


@dataclass(frozen=True)
class Models:
    """What the rungs fit for one view; each is fitted when it is first asked for, and once."""

    view: View
    calls: Calls | None = None
    days: tuple[int, ...] = ()
    default_rates: Floats | None = None

    @cached_property
    def booked(self) -> float:
        """Bookings of the target as known at the origin."""
        return self.view.booked(self.view.target)

    @cached_property
    def conversion(self) -> Conversion:
        """Rung 3's groups."""
        return _conversion.fit(self.view, self.view.past)

    @cached_property
    def past_chances(self) -> list[Floats]:
        """The chance that rung 3 gives to the deals of each past quarter."""
        return [self._past_chance(each) for each in self.view.past]

    def _past_chance(self, past: PastQuarter) -> Floats:
        if not len(past.deals.rows):
            return np.zeros(0)
        found = _conversion.groups(self.view.history, past.deals.rows, past.day, past.quarter)
        return self.conversion.of(found)

    @cached_property
    def value_factor(self) -> float:
        """Money that came from open deals / money expected of them, over past quarters."""
        expected = brought = wins = 0.0
        for past, chance in zip(self.view.past, self.past_chances, strict=True):
            weight = RECENCY ** (past.ago - 1)
            expected += weight * float((chance * past.deals.rows.amount).sum())
            brought += weight * float(past.deals.won_amount.sum())
            wins += weight * float(past.deals.won.sum())
        raw = brought / expected if expected > 0 else 1.0
        return 1 + (raw - 1) * wins / (wins + VALUE_STRENGTH)

    @cached_property
    def correlation(self) -> float:
        """The latent correlation of deals that explains how far past quarters were from what was expected."""
        excess = scale = 0.0
        scales = []
        for past, chance in zip(self.view.past, self.past_chances, strict=True):
            density = np.exp(-(special.ndtri(np.clip(chance, 1e-6, 1 - 1e-6)) ** 2) / 2) / np.sqrt(2 * np.pi)
            scales.append(float(density.sum()) ** 2)
            excess += float((past.deals.won.sum() - chance.sum()) ** 2 - (chance * (1 - chance)).sum())
            scale += scales[-1]
        if not scale > 0:
            return CORRELATION
        usual = CORRELATION_STRENGTH * float(np.mean(scales))
        return float(np.clip((excess + CORRELATION * usual) / (scale + usual), 0.005, 0.5))

    @cached_property
    def shared_variance(self) -> float:
        """The correlation that this quarter is drawn with: the mean of the past, from which it departs, is
        itself known from few quarters only, and adds the variance of one of them over their number."""
        weights = np.array([RECENCY ** (past.ago - 1) for past in self.view.past])
        if not len(weights):
            return self.correlation
        return min(self.correlation * (1 + float((weights**2).sum() / weights.sum() ** 2)), 0.5)

    @cached_property
    def later(self) -> Later:
        """Create-and-close."""
        return _later.fit(self.view)

    @cached_property
    def hazard(self) -> Floats | None:
        """Rung 5's chances."""
        fitted = self.hazard_model
        return None if fitted is None else fitted.chance(self.view)

    @cached_property
    def hazard_model(self) -> _hazard.Hazard | None:
        """Rung 5, fitted on the same day of past quarters and the days given of this one."""
        start = self.view.quarters[self.view.here].start.toordinal()
        recent = [day for day in self.days if start <= day < self.view.today]
        return _hazard.fit(self.view, [*(past.day for past in self.view.past), *recent])

    @cached_property
    def stage_rates(self) -> Floats:
        """The CRM's probability of each stage; where it has none, the share won, as known at the origin, of
        closed deals that were open in the stage on the same day of past quarters."""
        history, closings = self.view.history, self.view.closings
        ended = np.zeros(len(history.deals))
        ended[closings.deal] = np.where(closings.is_won, 1.0, -1.0)
        given = self.default_rates if self.default_rates is not None else np.full(len(history.stages), np.nan)
        rates = given.copy()
        for code in np.flatnonzero(np.isnan(rates)):
            seen = [past.deals.rows.deal[past.deals.rows.stage == code] for past in self.view.past]
            outcome = ended[np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *seen]))]
            rates[code] = (outcome > 0).sum() / max((outcome != 0).sum(), 1)
        return rates

    @cached_property
    def roll_up(self) -> RollUp | None:
        """Rung 2."""
        return roll_up(self.view, self.calls)

    @property
    def amounts(self) -> Floats:
        """What each open deal would bring."""
        return self.view.open_deals.rows.amount * self.value_factor


def _totals(view: View) -> Floats:
    """Bookings of the quarters before the origin's, oldest first, missing before the data begins."""
    return np.array(
        [
            view.booked(quarter) if quarter.start.toordinal() > view.history.first else np.nan
            for quarter in view.quarters[: view.here]
        ]
    )


def _seasonal_naive(models: Models) -> Forecast:
    view = models.view
    totals = _totals(view)
    if view.ahead:
        totals = np.append(totals, np.nan)
    total = seasonal_naive(totals)
    return Forecast(total, models.booked)


def _commit(models: Models) -> Forecast | None:
    found = models.roll_up
    return None if found is None else Forecast(Predictive.of([found.raw]), models.booked)


def _commit_corrected(models: Models) -> Forecast | None:
    found = models.roll_up
    return None if found is None else Forecast(found.total, models.booked)


def _stage_weighted(models: Models) -> Forecast:
    view = models.view
    rows = view.open_deals.rows
    where = due(rows, view.target)
    is_due = (where == DUE) | ((where == OVERDUE) & (view.ahead == 0))
    expected = models.stage_rates[rows.stage] * is_due
    total = models.booked + open_draws(expected, rows.amount, 0.0, shocks())
    return Forecast(Predictive.of(total), models.booked, float((expected * rows.amount).sum()), 0.0, expected)


def _by_conversion(models: Models) -> Forecast | None:
    if not models.view.past:
        return None
    return simulate(models, _conversion.chances(models.view, models.conversion))


def _by_hazard(models: Models) -> Forecast | None:
    return None if models.hazard is None else simulate(models, models.hazard)


def _by_trees(models: Models) -> Forecast | None:
    chance = _boosted.chances(models.view, models.view.past)
    return None if chance is None else simulate(models, chance)


def _series(models: Models) -> Forecast | None:
    view = models.view
    if not view.past:
        return None
    point = quarter_total(view, view.today, view.target)
    remaining = conformal(point - models.booked, past_misses(view), SPREAD, STRENGTH)
    return Forecast(remaining.shifted(models.booked), models.booked)


def simulate(models: Models, chance: Floats, amounts: Floats | None = None) -> Forecast:
    """Open deals of given chances and create-and-close, drawn under one shock.

    Every rung that gives chances is drawn so: independent deals would make its range too narrow.
    """
    shock = shocks()
    money = models.amounts if amounts is None else amounts
    opened = open_draws(chance, money, models.shared_variance, shock)
    later = later_draws(models.later.deals, models.later.spread, models.later.amounts, shock, COMMON_LATER)
    return Forecast(
        Predictive.of(models.booked + opened + later),
        models.booked,
        float((chance * money).sum()),
        models.later.mean,
        chance,
    )


def deal_chances(models: Models) -> Floats:
    """The chances that the simulation draws from: the mean of rungs 3 and 5."""
    by_group = _conversion.chances(models.view, models.conversion)
    return by_group if models.hazard is None else (by_group + models.hazard) / 2


def _simulation(models: Models) -> Forecast | None:
    if not models.view.past and not len(models.view.open_deals.rows):
        return None
    return simulate(models, deal_chances(models))


@dataclass(frozen=True)
class Rung:
    """One method: its name, its number on the ladder (0: shown beside it, never shipped) and its forecast."""

    name: str
    number: int
    forecast: Callable[[Models], Forecast | None]


RUNGS = (
    Rung(SEASONAL_NAIVE, 1, _seasonal_naive),
    Rung(COMMIT, 0, _commit),
    Rung(COMMIT_CORRECTED, 2, _commit_corrected),
    Rung(STAGE_WEIGHTED, 0, _stage_weighted),
    Rung(CONVERSION, 3, _by_conversion),
    Rung(SERIES, 4, _series),
    Rung(HAZARD, 5, _by_hazard),
    Rung(BOOSTED, 6, _by_trees),
    Rung(SIMULATION, 7, _simulation),
)
