"""The company's forecast figures that a team's forecast is pulled and reconciled to."""

from __future__ import annotations

import datetime as dt
from typing import Any

import ibis.expr.types as ir

from salesops_kit.analysis.forecast._company import company_figures
from salesops_kit.analysis.forecast._source import read_source
from salesops_kit.periods import Period
from salesops_kit.registry import reference
from salesops_kit.settings import Settings


@reference
def company_reference(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    stages: ir.Table | None = None,
    forecast_calls: ir.Table | None = None,
    team_memberships: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
) -> dict[str, Any]:
    """The company's chances, the method that ships and the gap that teams share.

    See :func:`company_figures`. Nothing in it names a deal, a person or a team.
    """
    source = read_source(
        opportunity_states, opportunities, stages, forecast_calls, team_memberships,
        as_of=as_of, period=period, settings=settings,
    )  # fmt: skip
    return dict(company_figures(source))
