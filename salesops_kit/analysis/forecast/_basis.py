"""What a forecast rests on: the method, the past that it learnt from, and what it assumes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._scope_outlook import whole_outlook
from salesops_kit.analysis.forecast._source import read_source
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

_COLUMNS = ["fact", "value", "unit"]


@table()
def basis(
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
    """What the quarter's forecast rests on, one ``fact`` per row with its ``value`` and ``unit``.

    ``past_quarters`` that were known from their beginning and had ended; ``past_wins`` of them after the same
    day; ``open_deals`` now; ``value_factor``, money that came / money expected of open deals over past
    quarters; ``correlation``, how much deals go together (latent); ``new_deals_per_week`` over the last half
    year; ``later_share``, the part of new deals that past quarters won before they ended; ``callers``, who
    has called this quarter; ``is_pooled``, 1 where the company's figures steady a team's. ``attrs``:
    ``method`` and ``reason`` of ``forecast.outlook``.
    """
    source = read_source(
        opportunity_states, opportunities, stages, forecast_calls, team_memberships,
        as_of=as_of, period=period, settings=settings,
    )  # fmt: skip
    models = source.models(source.here, source.as_of, 0, reference)
    found, view, later = whole_outlook(source, reference, 0), models.view, models.later
    label, today = source.quarters[source.here].label, source.as_of.toordinal()
    callers = 0 if source.calls is None else len(source.calls.standing(label, today, "rep"))
    wins = sum(int(past.deals.won.sum()) + len(past.later) for past in view.past)
    facts = [
        ("past_quarters", len(view.past), "quarters"),
        ("past_wins", wins, "deals"),
        ("open_deals", len(view.open_deals.rows), "deals"),
        ("value_factor", models.value_factor if view.past else np.nan, "ratio"),
        ("correlation", models.correlation if view.past else np.nan, "number"),
        ("new_deals_per_week", later.rate * 7, "number"),
        ("later_share", later.share if view.past else np.nan, "rate"),
        ("callers", callers, "people"),
        ("is_pooled", float(bool(view.company)), "flag"),
    ]
    result = pd.DataFrame(facts, columns=_COLUMNS)
    result.attrs.update(method=found.method, reason=found.reason)
    return result
