"""What one scope knew at the end of one day: the only thing that a rung of the ladder may look at."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salesops_kit.analysis.forecast._history import Floats, History, Ints, Stretches
from salesops_kit.periods import Period, prior_as_of

# Where a deal's close date lies: before the quarter, in it, later, unknown.
OVERDUE, DUE, LATER, UNDATED = 0, 1, 2, 3


@dataclass(frozen=True)
class Deals:
    """Open deals on a day, one element each; ``won`` and ``won_amount`` are what the quarter brought."""

    rows: Stretches
    day: int
    won: NDArray[np.bool_]
    won_amount: Floats


@dataclass(frozen=True)
class PastQuarter:
    """One earlier quarter as it stood as far into it as the origin is into its own.

    ``later`` are the amounts of create-and-close, ``later_owner`` whose they were.
    """

    quarter: Period
    day: int
    ago: int
    deals: Deals
    booked: float
    later: Floats
    later_owner: Ints
    born: int

    @property
    def total(self) -> float:
        """All bookings of the quarter, as known at the origin."""
        return self.booked + float(self.deals.won_amount.sum()) + float(self.later.sum())


@dataclass(frozen=True)
class View:
    """The past as known at the end of ``origin``, and the quarter to forecast.

    ``quarters`` are consecutive; ``here`` is the place of the one that holds the origin, ``ahead`` says
    how many quarters later the target is. ``company`` holds the company's coefficients for this origin.
    Every label is what was known at the origin: a deal that was won later is still open here.
    """

    history: History
    quarters: Sequence[Period]
    here: int
    origin: dt.date
    ahead: int = 0
    company: Mapping[str, Any] | None = None

    @property
    def today(self) -> int:
        """The origin as an ordinal."""
        return self.origin.toordinal()

    @property
    def target(self) -> Period:
        """The quarter that is forecast."""
        return self.quarters[self.here + self.ahead]

    def standing(self, day: int) -> Stretches:
        """The deals that were open at the end of a day; the history must have been read for it."""
        if day not in self.history.days:
            raise ValueError(f"the history was not read for {dt.date.fromordinal(day)}")
        rows = self.history.open
        return rows.take((rows.begins <= day) & (rows.ends > day))

    @cached_property
    def closings(self) -> Stretches:
        """How deals that are closed at the origin stand at the origin."""
        rows = self.history.closed
        return rows.take((rows.begins <= self.today) & (rows.ends > self.today))

    @cached_property
    def bookings(self) -> Stretches:
        """Won deals as known at the origin."""
        return self.closings.take(self.closings.is_won)

    def won_in(self, quarter: Period) -> Stretches:
        """Won deals with a close date in a quarter, as known at the origin."""
        return self.bookings.take(_inside(self.bookings.close_day, quarter))

    def booked(self, quarter: Period) -> float:
        """Bookings of a quarter as known at the origin."""
        return float(self.won_in(quarter).amount.sum())

    def booked_by(self, quarter: Period, days: Sequence[int]) -> Floats:
        """Bookings of a quarter with a close date by each of the days, as known at the origin."""
        rows = self.won_in(quarter)
        order = np.argsort(rows.close_day, kind="stable")
        sums = np.concatenate([[0.0], np.cumsum(rows.amount[order])])
        return np.asarray(sums[np.searchsorted(rows.close_day[order], days, side="right")])

    @cached_property
    def open_deals(self) -> Deals:
        """The deals that are open at the origin; nothing of them is won."""
        rows = self.standing(self.today)
        return Deals(rows, self.today, np.zeros(len(rows), dtype=bool), np.zeros(len(rows)))

    @cached_property
    def past(self) -> list[PastQuarter]:
        """Earlier quarters whose end the origin knows, oldest first, each on its same day."""
        found = []
        present = self.quarters[self.here]
        for place in range(self.here):
            start, target = self.quarters[place], self.quarters[place + self.ahead]
            if start.start.toordinal() <= self.history.first or target.last_day > self.origin:
                continue
            day = prior_as_of(self.origin, present, start).toordinal()
            found.append(self.as_it_stood(day, target, self.here - place))
        return found

    def as_it_stood(self, day: int, target: Period, ago: int) -> PastQuarter:
        """What was open on an earlier day, and what the target had brought by the origin."""
        rows = self.standing(day)
        won = self.won_in(target)
        count = len(self.history.deals)
        amount, is_won = np.zeros(count), np.zeros(count, dtype=bool)
        amount[won.deal], is_won[won.deal] = won.amount, True
        was_open = np.zeros(count, dtype=bool)
        was_open[rows.deal] = True
        before = self.booked_then(day, target)
        rest = ~was_open[won.deal] & ~before[won.deal]
        return PastQuarter(
            quarter=target,
            day=day,
            ago=ago,
            deals=Deals(rows, day, is_won[rows.deal], amount[rows.deal]),
            booked=float(won.amount[before[won.deal] & ~was_open[won.deal]].sum()),
            later=won.amount[rest],
            later_owner=won.owner[rest],
            born=self.born(day, target.end.toordinal() - 1),
        )

    def booked_then(self, day: int, target: Period) -> NDArray[np.bool_]:
        """Which deals were bookings of the target at the end of a day."""
        result = np.zeros(len(self.history.deals), dtype=bool)
        result[self.booked_on(target, day).deal] = True
        return result

    def booked_on(self, target: Period, day: int) -> Stretches:
        """The bookings of a quarter as known at the end of a day."""
        rows = self.history.closed
        return rows.take(
            rows.is_won & (rows.begins <= day) & (rows.ends > day) & _inside(rows.close_day, target)
        )

    def born(self, after: int, until: int) -> int:
        """Deals that the scope got after one day, up to another or the origin."""
        days = self.history.born_days
        last = min(until, self.today)
        return int(np.searchsorted(days, last, side="right") - np.searchsorted(days, after, side="right"))


def due(rows: Stretches, target: Period) -> Ints:
    """Where each deal's close date lies with respect to a quarter."""
    start, end = target.start.toordinal(), target.end.toordinal()
    return np.select(
        [rows.close_day < 0, rows.close_day < start, rows.close_day < end], [UNDATED, OVERDUE, DUE], LATER
    )


def _inside(days: Ints, quarter: Period) -> NDArray[np.bool_]:
    return (days >= quarter.start.toordinal()) & (days < quarter.end.toordinal())
