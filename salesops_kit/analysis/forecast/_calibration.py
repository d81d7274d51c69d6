"""Whether deals that were given a chance were won that often."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.forecast._scores import GROUPS, outcomes
from salesops_kit.analysis.forecast._source import read_source
from salesops_kit.estimators.intervals import wilson
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

_COLUMNS = ["chance_from", "chance_to", "predicted", "observed", "low", "high", "forecasts", "deals"]


@table(
    units={**dict.fromkeys(["chance_from", "chance_to", "predicted", "observed", "low", "high"], "rate"),
           "forecasts": "forecasts", "deals": "deals"}
)  # fmt: skip
def calibration(
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
    """How often deals were won that were given a chance of being won in the quarter.

    One row per group of chances (``chance_from`` to below ``chance_to``) that open deals were given, with
    what was known then, at the ends of weeks 1, 5, 9 and 12 of past quarters: ``forecasts`` of
    ``deals`` deals, ``predicted``, their mean chance, and ``observed``, the share that its quarter won.
    ``low`` and ``high`` are 95 % Wilson limits of the observed share as if each deal had been seen once,
    since forecasts of one deal are not independent. Empty without a past quarter to look at.
    """
    source = read_source(
        opportunity_states, opportunities, stages, forecast_calls, team_memberships,
        as_of=as_of, period=period, settings=settings,
    )  # fmt: skip
    found = outcomes(source, reference)
    limits = [0.0, *GROUPS, 1.0]
    group = found["group"].astype("int64")
    low, high = wilson(found["observed"] * found["deals"], found["deals"])
    result = (
        found.rename(columns={"n": "forecasts"})
        .assign(
            chance_from=group.map(lambda place: limits[place]),
            chance_to=group.map(lambda place: limits[place + 1]),
            low=low,
            high=high,
        )[_COLUMNS]
        .astype({"forecasts": "int64", "deals": "int64"})
    )
    if result.empty:
        result.attrs["empty"] = _("No past quarter can be looked at: the history is too short.")
    return result
