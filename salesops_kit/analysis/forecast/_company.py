"""The company's side of a team's forecast: coefficients, the rung that ships, and the gap to reconcile."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from salesops_kit.analysis.forecast._ladder import Forecast, Models
from salesops_kit.analysis.forecast._scores import choices, score, shipped_forecast
from salesops_kit.analysis.forecast._source import WEEKS, Source, origin_key, origin_of
from salesops_kit.settings import NO_TEAM

AHEAD = (0, 1)
# Levels of the conversion's groups that teams share: type, due, stage.
_SHARED_LEVELS = 3


@lru_cache(maxsize=8)
def company_figures(source: Source) -> Mapping[str, Any]:
    """What teams need of the company, as plain numbers.

    ``teams``: how many there are. ``chosen``: the rung that ships, by quarter. ``origins``: by origin and
    horizon the chances of groups down to the stage and the weekly chances' coefficients.
    ``gap_per_variance``: by horizon, how much of the gap between the company's forecast and the sum of
    the teams' each team takes per unit of its forecast's variance.
    """
    chosen = choices(score(source), source)
    origins: dict[str, Any] = {}
    for place, quarter in enumerate(source.quarters[: source.here + 1]):
        for day in {*(origin_of(quarter, week) for week in WEEKS), source.as_of}:
            if quarter.contains(day) and day <= source.as_of:
                _add(origins, source.models(place, day))
    _add(origins, source.models(source.here, source.as_of, 1))
    teams = [team for team in source.history.teams_present if team != NO_TEAM]
    figures: dict[str, Any] = {"teams": len(teams), "chosen": chosen, "origins": origins}
    figures["gap_per_variance"] = {str(ahead): _gap(source, figures, ahead) for ahead in AHEAD}
    return figures


def _add(origins: dict[str, Any], models: Models) -> None:
    view = models.view
    if not view.past:
        return
    shared = {
        key: round(rate, 6)
        for key, rate in models.conversion.rates.items()
        if key.count("|") <= _SHARED_LEVELS
    }
    hazard = models.hazard_model
    coefficients: dict[str, Any] = {}
    if hazard is not None:
        coefficients = {**hazard.figures(), "sizes": [float(value) for value in hazard.design.amounts]}
    origins[origin_key(view.origin, view.ahead)] = {"conversion": shared, "hazard": coefficients}


def _gap(source: Source, figures: Mapping[str, Any], ahead: int) -> float:
    whole = base_forecast(source, None, figures["chosen"], ahead)
    parts = [
        base_forecast(source.of_team(team), figures, figures["chosen"], ahead)
        for team in source.history.teams_present
    ]
    known = [part for part in parts if part is not None]
    if whole is None or not known:
        return 0.0
    variances = [forecast.total.deviation**2 for forecast in known]
    total = whole.total.deviation**2 + sum(variances)
    gap = whole.total.mean - sum(forecast.total.mean for forecast in known)
    return float(gap / total) if total > 0 and np.isfinite(gap) else 0.0


def base_forecast(
    source: Source, company: Mapping[str, Any] | None, chosen: Mapping[str, str], ahead: int
) -> Forecast | None:
    """A scope's own forecast of the report's quarter, or the next, before it is reconciled."""
    models = source.models(source.here, source.as_of, ahead, company)
    name = chosen.get(source.quarters[source.here].label, "") if ahead == 0 else ""
    return shipped_forecast(models, name or "simulation")[1]
