"""What everybody forecasts of a quarter today, by team: what a seal puts down."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.forecast._call_scores import MODEL
from salesops_kit.analysis.forecast._calls import LEVELS
from salesops_kit.analysis.forecast._scope_outlook import Outlook, team_outlooks, whole_outlook
from salesops_kit.analysis.forecast._source import Source, read_source
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import COMPANY, Settings

_COLUMNS = ["team", "caller", "call", "low", "high"]


@table(units=dict.fromkeys(["call", "low", "high"], "money"))
def standing(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    stages: ir.Table | None = None,
    forecast_calls: ir.Table | None = None,
    team_memberships: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    reference: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """What everybody forecasts of the quarter at the end of ``as_of``.

    One row per ``team`` (all together: "company") and ``caller``: ``rep`` and ``manager``, the sum of
    everybody's latest Commit call; ``executive``, for the company alone; and ``model``, the expected value
    of ``forecast.outlook`` with ``low`` and ``high`` (P10 and P90). Who has not called has no row, nor has
    a model that can forecast nothing.
    """
    source = read_source(
        opportunity_states, opportunities, stages, forecast_calls, team_memberships,
        as_of=as_of, period=period, settings=settings,
    )  # fmt: skip
    rows = _rows(COMPANY, source, whole_outlook(source, reference, 0), LEVELS)
    for team, found in team_outlooks(source, reference, 0).items():
        rows += _rows(team, source.of_team(team), found, LEVELS[:-1])
    return pd.DataFrame(rows, columns=_COLUMNS)


def _rows(team: str, source: Source, found: Outlook, levels: tuple[str, ...]) -> list[dict[str, Any]]:
    label, today = source.quarters[source.here].label, source.as_of.toordinal()
    told = (
        {}
        if source.calls is None
        else {level: source.calls.standing(label, today, level) for level in levels}
    )
    rows = [
        {"team": team, "caller": level, "call": round(sum(called.values()), 2), "low": None, "high": None}
        for level, called in told.items()
        if called
    ]
    total = found.total
    if total.draws.size:
        limits = {"low": round(total.quantile(0.1), 2), "high": round(total.quantile(0.9), 2)}
        rows.append({"team": team, "caller": MODEL, "call": round(total.mean, 2), **limits})
    return rows
