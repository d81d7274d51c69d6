"""The company's side of a team's forecast: coefficients, the rung that ships, and the gap to reconcile."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._coefficients import coefficients
from salesops_kit.analysis.forecast._ladder import Forecast
from salesops_kit.analysis.forecast._scores import (
    COLUMNS,
    as_figures,
    choices,
    outcomes,
    score,
    shipped_forecast,
)
from salesops_kit.analysis.forecast._source import WEEKS, Source, origin_key, origin_of, week_before
from salesops_kit.settings import NO_TEAM

AHEAD = (0, 1)
# Of a larger company no past origin is scored for the teams: each of them has deals enough of its own.
MOST_DEALS = 500_000


def company_figures(source: Source) -> Mapping[str, Any]:
    """What teams need of the company, as plain numbers: those of the report's day also on an earlier one.

    ``teams``: how many there are. ``chosen``: the rung that ships, by quarter. ``origins``: by origin and
    horizon the chances of groups down to the stage and the weekly chances' coefficients.
    ``backtest``: the scores of each method at each past origin, ``said``: what became of chances, as
    :func:`outcomes` has it. ``gap_per_variance``: by origin (the day itself, and the week before it) and
    horizon how much of the gap between the company's forecast and the sum of the teams' each team takes per
    unit of its forecast's variance. Beyond ``MOST_DEALS`` deals there is no ``backtest`` and no ``said``,
    and the simulation ships.
    """
    return _figures(source.latest or source)


@lru_cache(maxsize=8)
def _figures(source: Source) -> Mapping[str, Any]:
    is_large = len(source.history.deals) > MOST_DEALS
    scored = pd.DataFrame(columns=COLUMNS) if is_large else score(source)
    teams = [team for team in source.history.teams_present if team != NO_TEAM]
    figures: dict[str, Any] = {
        "teams": len(teams),
        "chosen": {} if is_large else choices(source),
        "origins": _origins(source, is_large=is_large),
    }
    if not is_large:
        figures["backtest"] = as_figures(scored)
        figures["said"] = {name: column.tolist() for name, column in outcomes(source).items()}
    figures["gap_per_variance"] = {
        origin_key(day, ahead): _gap(source.standing_on(day), figures, ahead)
        for day, ahead in _moments(source)
    }
    return figures


def _moments(source: Source) -> list[tuple[dt.date, int]]:
    """The days and horizons for which this report shows a forecast."""
    before = week_before(source.as_of, source.quarters[source.here])
    return [*((source.as_of, ahead) for ahead in AHEAD), *([(before, 0)] if before < source.as_of else [])]


def _origins(source: Source, *, is_large: bool) -> dict[str, Any]:
    """What was learnt at each origin, from the fits of the backtest where it has them."""
    found = dict(source.learnt)
    moments = [
        (place, day, 0)
        for place, quarter in enumerate(source.quarters[: source.here + 1])
        for day in sorted(origin_of(quarter, week) for week in WEEKS)
        if day <= source.as_of and not is_large
    ]
    for place, day, ahead in [*moments, *((source.here, day, ahead) for day, ahead in _moments(source))]:
        key = origin_key(day, ahead)
        if key not in found:
            models = source.models(place, day, ahead)
            if models.view.past:
                found[key] = coefficients(models)
    return found


def _gap(source: Source, figures: Mapping[str, Any], ahead: int) -> float:
    whole = base_forecast(source, None, figures["chosen"], ahead)
    parts = [
        base_forecast(source.of_team(team), figures, figures["chosen"], ahead)
        for team in source.history.teams_present
    ]
    known = [part for part in parts if part is not None]
    # Of a team that cannot be forecast what is booked is certain, and nobody else's to make up for.
    certain = sum(
        source.of_team(team).models(source.here, source.as_of, ahead, figures).booked
        for team, part in zip(source.history.teams_present, parts, strict=True)
        if part is None
    )
    if whole is None or not known:
        return 0.0
    variances = [forecast.total.deviation**2 for forecast in known]
    total = whole.total.deviation**2 + sum(variances)
    gap = whole.total.mean - certain - sum(forecast.total.mean for forecast in known)
    return float(gap / total) if total > 0 and np.isfinite(gap) else 0.0


def base_forecast(
    source: Source, company: Mapping[str, Any] | None, chosen: Mapping[str, str], ahead: int
) -> Forecast | None:
    """A scope's own forecast of the report's quarter, or the next, before it is reconciled."""
    models = source.models(source.here, source.as_of, ahead, company)
    name = chosen.get(source.quarters[source.here].label, "") if ahead == 0 else ""
    return shipped_forecast(models, name or "simulation")[1]
