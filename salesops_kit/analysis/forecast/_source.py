"""What all tables of the forecast read: the histories of a scope, its calls and its fiscal quarters."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import ibis.expr.operations as ops
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._calls import Calls, read_calls
from salesops_kit.analysis.forecast._history import Floats, History, read_history
from salesops_kit.analysis.forecast._ladder import Models
from salesops_kit.analysis.forecast._view import View
from salesops_kit.data.engine import collect
from salesops_kit.estimators.states import is_true
from salesops_kit.periods import Period, prior_as_of
from salesops_kit.settings import NO_TEAM, Settings

WEEKS = (1, 5, 9, 12)


@dataclass(frozen=True, eq=False)
class Source:
    """One scope as of a day, compared by identity. ``here`` is the place of the report's quarter, ``latest``
    the scope as of the report's own day where this is an earlier one."""

    history: History
    calls: Calls | None
    default_rates: Floats
    quarters: tuple[Period, ...]
    here: int
    as_of: dt.date
    grid: tuple[int, ...]
    latest: Source | None = None

    def models(
        self, place: int, origin: dt.date, ahead: int = 0, company: Mapping[str, Any] | None = None
    ) -> Models:
        """The models that forecast quarter ``place + ahead`` from what was known at the end of a day."""
        pooled = company if company is not None and self.is_one_team else {}
        figures = (pooled.get("origins") or {}).get(origin_key(origin, ahead))
        view = View(self.history, self.quarters, place, origin, ahead, figures)
        return Models(view, self.calls, self.grid, self.default_rates)

    @cached_property
    def scored(self) -> dict[Any, pd.DataFrame]:
        """Scores of past origins, kept by whoever computed them."""
        return {}

    @cached_property
    def versions(self) -> dict[Any, pd.DataFrame]:
        """The same scores, and those against what the past quarters were thought to have booked earlier."""
        return {}

    @cached_property
    def said(self) -> dict[Any, list[pd.DataFrame]]:
        """The chances that deals were given at the origins that have been scored, and what came."""
        return {}

    @cached_property
    def outlooks(self) -> dict[Any, Any]:
        """Forecasts of the scope's teams, kept by whoever computed them."""
        return {}

    @cached_property
    def learnt(self) -> dict[str, Any]:
        """What was learnt at the origins that have been scored, by :func:`origin_key`."""
        return {}

    @property
    def is_one_team(self) -> bool:
        """Whether all deals are one team's, so that it is pulled to the company's figures."""
        # Several teams together are no small team: what they are pulled to would be mostly themselves.
        return len(self.history.teams_present) < 2

    def standing_on(self, day: dt.date) -> Source:
        """The same as of an earlier day of the quarter: the day itself or :func:`week_before` it."""
        if day not in self._earlier:
            self._earlier[day] = replace(self, as_of=day, latest=self.latest or self)
        return self._earlier[day]

    @cached_property
    def _earlier(self) -> dict[dt.date, Source]:
        return {}

    def is_all_of(self, company: Mapping[str, Any] | None) -> bool:
        """Whether the scope is the company that the figures are of: only then it has all of its teams."""
        named = [team for team in self.history.teams_present if team != NO_TEAM]
        return company is not None and len(named) == company["teams"]

    @cached_property
    def _teams(self) -> dict[str, Source]:
        return {}

    def of_team(self, team: str) -> Source:
        """The same for one of the scope's teams, as its own slice would give it; made once."""
        if team not in self._teams:
            self._teams[team] = self._cut(team)
        return self._teams[team]

    def _cut(self, team: str) -> Source:
        calls = None if self.calls is None else self.calls.of_team(team)
        if calls is not None and calls.rows.empty:
            calls = None
        return replace(self, history=self.history.of_team(team), calls=calls, latest=None)

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be booked in the report's quarter."""
        return self.has_ended(0)

    def has_ended(self, ahead: int) -> bool:
        """The same of the quarter so many after the report's."""
        return self.as_of >= self.quarters[self.here + ahead].last_day

    def actual(self, place: int, known: dt.date | None = None) -> float:
        """Bookings of a quarter as known at ``as_of``, or at the end of an earlier day."""
        moment = place, min(known or self.as_of, self.as_of)
        if moment not in self._actuals:
            view = View(self.history, self.quarters, place, moment[1])
            self._actuals[moment] = view.booked(self.quarters[place])
        return self._actuals[moment]

    @cached_property
    def _actuals(self) -> dict[tuple[int, dt.date], float]:
        return {}


def origin_key(origin: dt.date, ahead: int) -> str:
    """How the company's figures name an origin and a horizon."""
    return f"{origin.isoformat()}+{ahead}"


def week_before(as_of: dt.date, quarter: Period) -> dt.date:
    """The day that a forecast is compared with: a week earlier, but not before the quarter."""
    return max(as_of - dt.timedelta(days=7), quarter.start)


def origin_of(quarter: Period, week: int) -> dt.date:
    """The last day of a week of the quarter."""
    return min(quarter.start + dt.timedelta(days=7 * week - 1), quarter.last_day)


def read_source(
    states: ir.Table,
    opportunities: ir.Table | None,
    stages: ir.Table | None,
    forecast_calls: ir.Table | None,
    memberships: ir.Table | None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
) -> Source:
    """The source of a scope; equal tables are read once in a process."""
    tables = (states, opportunities, stages, forecast_calls, memberships)
    return _read(*(None if table is None else table.op() for table in tables), as_of, period, settings)


@lru_cache(maxsize=8)
def _read(
    states: ops.Relation,
    opportunities: ops.Relation | None,
    stages: ops.Relation | None,
    forecast_calls: ops.Relation | None,
    memberships: ops.Relation | None,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
) -> Source:
    fiscal = settings.fiscal
    rows = states.to_expr()
    first = collect(rows.aggregate(first=rows.valid_from_date.min()))["first"].iloc[0]
    here = period or fiscal.quarter_of(as_of)
    begin = min(here.start if pd.isna(first) else pd.Timestamp(first).date(), here.start)
    quarters = fiscal.quarters(begin, here.last_day)
    place = len(quarters) - 1
    for _ in range(2):
        quarters.append(fiscal.next(quarters[-1]))
    grid = [origin_of(quarter, week) for quarter in quarters[: place + 1] for week in WEEKS]
    before = week_before(as_of, here)
    same = [prior_as_of(day, here, quarter) for quarter in quarters[:place] for day in (as_of, before)]
    days = [day for day in (*grid, *same, before) if day < as_of]
    history = read_history(rows, opportunities.to_expr() if opportunities is not None else None, days, as_of)
    calls = read_calls(
        None if forecast_calls is None else forecast_calls.to_expr(),
        None if memberships is None else memberships.to_expr(),
        settings,
    )
    rates = _default_rates(history, None if stages is None else stages.to_expr())
    ordinals = tuple(sorted({day.toordinal() for day in grid if day < as_of}))
    return Source(history, calls, rates, tuple(quarters), place, as_of, ordinals)


def _default_rates(history: History, stages: ir.Table | None) -> Floats:
    """The probability that the CRM gives each stage of the history, missing where it gives none."""
    known: dict[tuple[str, str], float] = {}
    if stages is not None:
        listed = stages.filter(~is_true(stages.is_closed))
        frame = collect(listed.select("pipeline", "stage", "default_probability"))
        known = {
            ("" if pd.isna(row.pipeline) else str(row.pipeline), str(row.stage)): float(
                row.default_probability
            )
            for row in frame.itertuples()
            if not pd.isna(row.default_probability)
        }
    return np.array([known.get(key, np.nan) for key in history.stages], dtype=float)
