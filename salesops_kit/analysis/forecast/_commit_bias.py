"""What each rep's commit brought in the past, pulled to what all reps' did."""

from __future__ import annotations

import datetime as dt

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._calls import commit_by_owner
from salesops_kit.analysis.forecast._source import read_source
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

_COLUMNS = ["owner_id", "committed", "factor", "team_factor", "corrected"]


@table(units={"committed": "money", "corrected": "money", "factor": "ratio", "team_factor": "ratio"})
def commit_bias(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    stages: ir.Table | None = None,
    forecast_calls: ir.Table | None = None,
    team_memberships: ir.Table | None = None,
    reps: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
) -> pd.DataFrame:
    """What each rep commits to beyond what is booked, corrected by what such commits brought before.

    One row per rep with a standing commit: ``committed``, the rep's latest Commit call for the quarter less
    what he or she has booked in it (without calls: open Commit deals due); ``factor``, won in the rest of
    past quarters / committed on their same day, pulled to ``team_factor``, the same of all reps together,
    as if three more of the rep's quarters had brought that; ``corrected`` = committed x factor. Above 1
    the rep commits to less than comes. Factors are missing before the first past commit.
    """
    source = read_source(
        opportunity_states, opportunities, stages, forecast_calls, team_memberships,
        as_of=as_of, period=period, settings=settings,
    )  # fmt: skip
    models = source.models(source.here, source.as_of)
    view, found = models.view, models.roll_up
    told = commit_by_owner(view, source.calls, view.target, view.today)
    overall = found.overall if found else np.nan
    rows = [
        (owner, value, factor, overall, value * factor)
        for owner, value in sorted(told.items())
        for factor in [found.bias.get(owner, overall) if found else np.nan]
    ]
    result = pd.DataFrame(rows, columns=_COLUMNS)
    result = result.sort_values(["committed", "owner_id"], ascending=[False, True], ignore_index=True)
    if source.calls is None:
        result.attrs["notes"] = [_("The data has no forecast calls; open deals in Commit stand for them.")]
    return with_rep_names(result, reps)
