"""What a team's page may know of the company: whether its totals tie, and how long its stages take."""

from __future__ import annotations

import datetime as dt
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.quality._deal_checks import YEAR
from salesops_kit.analysis.quality._tie_out import tie_out
from salesops_kit.data.engine import collect
from salesops_kit.estimators.stage_times import SHARES, stage_times
from salesops_kit.periods import Period
from salesops_kit.registry import reference
from salesops_kit.settings import NO_TEAM, Settings


@reference
def company_reference(
    opportunity_states: ir.Table,
    control_totals: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
) -> dict[str, Any]:
    """``teams`` with a deal, ``declared`` totals of the period, how many of them ``tied``, and
    ``stage_days``: per share of visits (p50, p75, p90), pipeline and stage the days by which it had left,
    in the year that ends with ``as_of``."""
    ties = tie_out(
        opportunity_states, control_totals, as_of=as_of, period=period, settings=settings, reference=None
    )
    named = opportunity_states.filter(opportunity_states.team != NO_TEAM)
    teams = int(collect(named.aggregate(n=named.team.nunique()))["n"].iloc[0])
    times = stage_times(opportunity_states, as_of - YEAR, as_of)
    days: dict[str, dict[str, dict[str, float]]] = {name: {} for name in SHARES}
    for row in times.itertuples():
        for name, of in days.items():
            if pd.notna(getattr(row, name)):
                of.setdefault(str(row.pipeline), {})[str(row.stage)] = float(getattr(row, name))
    return {"teams": teams, "declared": len(ties), "tied": int(ties["is_tied"].sum()), "stage_days": days}
