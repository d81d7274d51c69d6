"""Bookings quarter by quarter and week by week, with where the coming ones are likely to land."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._company import AHEAD
from salesops_kit.analysis.forecast._history import Floats
from salesops_kit.analysis.forecast._scope_outlook import whole_outlook
from salesops_kit.analysis.forecast._source import Source, read_source
from salesops_kit.analysis.forecast._targets import targets_by_team
from salesops_kit.analysis.forecast._view import View
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.predictive import Predictive
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

_QUANTILES = {"low": 0.1, "inner_low": 0.25, "median": 0.5, "inner_high": 0.75, "high": 0.9}
_MONEY = ("actual", "likely", *_QUANTILES, "target")
_MOST_QUARTERS = 40


@table(units=dict.fromkeys(_MONEY, "money"))
def quarters(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    stages: ir.Table | None = None,
    forecast_calls: ir.Table | None = None,
    team_memberships: ir.Table | None = None,
    plan: ir.Table | None = None,
    quotas: ir.Table | None = None,
    teams: ir.Table | None = None,
    reps: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    reference: Mapping[str, Any] | None = None,
    past: int = 6,
) -> pd.DataFrame:
    """Bookings of past quarters, and the forecast of this one and the next.

    One row per ``period``: the last ``past`` quarters that had begun after the data's first day with what
    they booked (``actual``, as known at ``as_of``), then the report's quarter and the one after it with
    ``likely``, the expected value of ``forecast.outlook``, the ``median``, ``low`` and ``high`` (P10 and
    P90), ``inner_low`` and ``inner_high`` (P25 and P75); the report's quarter has an ``actual`` instead
    when it is over. ``target`` as in ``forecast.outlook``; missing where there is none. Raises
    :class:`InputError` when ``past`` is not between 0 and 40.
    """
    if not 0 <= past <= _MOST_QUARTERS:
        raise InputError(
            Problem("out of range", column="past", expected=f"0 to {_MOST_QUARTERS}", got=str(past))
        )
    source = read_source(
        opportunity_states, opportunities, stages, forecast_calls, team_memberships,
        as_of=as_of, period=period, settings=settings,
    )  # fmt: skip
    view = View(source.history, source.quarters, source.here, source.as_of)
    begun = [q for q in source.quarters[: source.here] if q.start.toordinal() > source.history.first]
    rows = [
        {"period": q.label, "actual": view.booked(q)} for q in begun[len(begun) - min(past, len(begun)) :]
    ]
    shown = [source.quarters[source.here + ahead] for ahead in AHEAD]
    for ahead, quarter in zip(AHEAD, shown, strict=True):
        found = whole_outlook(source, reference, ahead)
        if source.has_ended(ahead):
            rows.append({"period": quarter.label, "actual": found.booked})
        else:
            rows.append({"period": quarter.label, **_spread(found.total)})
    result = pd.DataFrame(rows, columns=["period", *_MONEY])
    by_label = {quarter.label: quarter for quarter in source.quarters}
    result["target"] = [
        targets_by_team(plan, quotas, teams, reps, team_memberships, by_label[label], settings)[0]
        for label in result["period"]
    ]
    return result


@table(units=dict.fromkeys(_MONEY, "money"))
def weeks(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    stages: ir.Table | None = None,
    forecast_calls: ir.Table | None = None,
    team_memberships: ir.Table | None = None,
    plan: ir.Table | None = None,
    quotas: ir.Table | None = None,
    teams: ir.Table | None = None,
    reps: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    reference: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Bookings of the quarter by the end of each week, and where the coming weeks are likely to stand.

    One row per week of the report's quarter (``period`` its number): ``actual``, what was booked with a
    close date by its end (of the week of ``as_of``: by that day), missing for weeks to come. These have
    ``likely`` and its range as in ``forecast.quarters``: what is booked, and of the rest that
    ``forecast.outlook`` expects the share that past quarters had booked by that week of what they booked
    after this day (without a past quarter: the share of the days); that this share varies too is left out.
    The last row is the outlook itself, with the ``target``.
    """
    source = read_source(
        opportunity_states, opportunities, stages, forecast_calls, team_memberships,
        as_of=as_of, period=period, settings=settings,
    )  # fmt: skip
    here = source.quarters[source.here]
    ends = [week.last_day.toordinal() for week in settings.fiscal.weeks(here)]
    today = source.as_of.toordinal()
    view = View(source.history, source.quarters, source.here, source.as_of)
    seen = view.booked_by(here, [min(end, today) for end in ends])
    found = whole_outlook(source, reference, 0)
    shares = _shares(view, source, ends)
    rows: list[dict[str, Any]] = []
    for place, (end, booked, share) in enumerate(zip(ends, seen, shares, strict=True), start=1):
        begins = ends[place - 2] if place > 1 else here.start.toordinal() - 1
        is_last = place == len(ends)
        if begins < today and not (is_last and today < end):
            rows.append({"period": str(place), "actual": booked})
        else:
            draws = found.booked + (found.total.draws - found.booked) * share
            rows.append({"period": str(place), **_spread(Predictive.of(draws))})
    result = pd.DataFrame(rows, columns=["period", *_MONEY])
    goal = targets_by_team(plan, quotas, teams, reps, team_memberships, here, settings)[0]
    result.loc[len(result) - 1, "target"] = goal
    result.attrs["quarter"] = here.label
    if not view.past:
        result.attrs["notes"] = [_("No past quarter says how bookings come in; they are spread evenly.")]
    return result


def _spread(total: Predictive) -> dict[str, float]:
    return {"likely": total.mean, **{name: total.quantile(share) for name, share in _QUANTILES.items()}}


def _shares(view: View, source: Source, ends: Sequence[int]) -> Floats:
    """Of what a quarter books after today the share that is booked by the end of each week."""
    here = source.quarters[source.here]
    today, last = source.as_of.toordinal(), here.last_day.toordinal()
    even = np.clip((np.array(ends) - today) / max(last - today, 1), 0, 1)
    came = np.zeros(len(ends))
    rest = 0.0
    for past in view.past:
        # Weeks are counted from the quarter's end, as business is, so that quarters of other lengths match.
        days = [past.quarter.last_day.toordinal() - (last - end) for end in ends]
        booked = view.booked_by(past.quarter, [past.day, *days])
        came += np.maximum(booked[1:] - booked[0], 0)
        rest += float(booked[-1] - booked[0])
    return np.clip(came / rest, 0, 1) if rest > 0 else even
