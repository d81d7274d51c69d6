"""The forecast of the quarter by team and by rep in one table, as other analyses read it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.forecast._reps import rep_outlooks
from salesops_kit.analysis.forecast._scope_outlook import Outlook, team_outlooks, whole_outlook
from salesops_kit.analysis.forecast._source import read_source
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

_MONEY = ("booked", "open_deals", "create_and_close", "mean", "p10", "p50", "p90")
_COLUMNS = ["by", "part", *_MONEY, "method", "reason"]


@table(units=dict.fromkeys(_MONEY, "money"))
def landing(
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
    """Where the quarter lands, for the scope, each of its teams and each of its reps.

    The figures of ``forecast.outlook`` for the report's quarter (without one, that of ``as_of``): one row
    for the scope (``by`` empty), one per team (``by`` "team") and one per rep with a booking in it or an open
    deal (``by`` "owner_id"); ``part`` is the team or the owner id, missing for the scope and for deals
    without an owner. ``mean`` = ``booked`` + ``open_deals`` + ``create_and_close``; the means of the teams
    and those of the reps sum to the scope's to the cent. ``p10``, ``p50`` and ``p90`` are the part's own.
    """
    source = read_source(
        opportunity_states, opportunities, stages, forecast_calls, team_memberships,
        as_of=as_of, period=period, settings=settings,
    )  # fmt: skip
    rows = [_row("", None, whole_outlook(source, reference, 0))]
    rows += [_row("team", team, found) for team, found in team_outlooks(source, reference, 0).items()]
    rows += [
        _row("owner_id", owner or None, found) for owner, found in rep_outlooks(source, reference).items()
    ]
    return pd.DataFrame(rows, columns=_COLUMNS)


def _row(by: str, part: str | None, found: Outlook) -> dict[str, Any]:
    total = found.total
    return {
        "by": by, "part": part, "booked": found.booked, "open_deals": found.open_deals,
        "create_and_close": found.create_and_close, "mean": round(total.mean, 2),
        "p10": total.quantile(0.1), "p50": total.quantile(0.5), "p90": total.quantile(0.9),
        "method": found.method, "reason": found.reason,
    }  # fmt: skip
