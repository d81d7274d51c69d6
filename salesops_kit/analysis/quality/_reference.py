"""Whether the company's declared totals tie, in numbers that a team's page may hold."""

from __future__ import annotations

import datetime as dt
from typing import Any

import ibis.expr.types as ir

from salesops_kit.analysis.quality._tie_out import tie_out
from salesops_kit.data.engine import collect
from salesops_kit.periods import Period
from salesops_kit.registry import reference
from salesops_kit.settings import NO_TEAM, Settings


@reference
def company_reference(
    opportunity_states: ir.Table,
    control_totals: ir.Table,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
) -> dict[str, Any]:
    """``teams`` with a deal, ``declared`` totals of the period, and how many of them ``tied``."""
    ties = tie_out(
        opportunity_states, control_totals, as_of=as_of, period=period, settings=settings, reference=None
    )
    named = opportunity_states.filter(opportunity_states.team != NO_TEAM)
    teams = int(collect(named.aggregate(n=named.team.nunique()))["n"].iloc[0])
    return {"teams": teams, "declared": len(ties), "tied": int(ties["is_tied"].sum())}
