"""What this quarter and the next are likely to book, with a range, apart by what is open and what is not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Literal

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._company import AHEAD
from salesops_kit.analysis.forecast._reps import rep_outlooks
from salesops_kit.analysis.forecast._scope_outlook import Outlook, team_outlooks, whole_outlook
from salesops_kit.analysis.forecast._source import Source, read_source
from salesops_kit.analysis.forecast._targets import targets_by_team
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.estimators.targets import owner_targets
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import COMPANY, Settings

_MONEY = (
    "p10", "p50", "p90", "mean", "booked", "open_deals", "create_and_close", "commit", "best_case",
    "pipeline", "target", "gap",
)  # fmt: skip
COLUMNS = [
    "period", "p10", "p50", "p90", "mean", "booked", "open_deals", "create_and_close", "commit", "best_case",
    "pipeline", "deals", "target", "gap", "chance_of_target", "method", "reason",
]  # fmt: skip


@table(units={**dict.fromkeys(_MONEY, "money"), "deals": "deals", "chance_of_target": "rate"})
def outlook(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    stages: ir.Table | None = None,
    forecast_calls: ir.Table | None = None,
    team_memberships: ir.Table | None = None,
    plan: ir.Table | None = None,
    quotas: ir.Table | None = None,
    teams: ir.Table | None = None,
    reps: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    reference: Mapping[str, Any] | None = None,
    by: Literal["", "team", "owner_id"] = "",
) -> pd.DataFrame:
    """What the quarter and the next are likely to book, as known at the end of ``as_of``.

    One row per ``period`` (the report's quarter, or that of ``as_of``, and the one after it), with ``by``
    "team" per team too, the teams' rows summing to the company's to the cent, and by rep (``by``
    "owner_id", with ``rep_name``) per rep with a booking in it or an open deal, for the report's quarter
    alone. In base currency:

    - ``mean``, the expected value, and ``p10``, ``p50``, ``p90`` of the forecast of the ``method`` that
      ships: the simplest one that past quarters did not beat (``forecast.backtest``), the company's
      choice on a team's page; the next quarter is always the simulation's;
    - ``mean`` = ``booked`` (won with a close date in it) + ``open_deals`` (expected of open deals) +
      ``create_and_close`` (of deals that the scope does not have open yet). A method that forecasts
      only the sum is split as the simulation splits it;
    - ``commit``, ``best_case`` and ``pipeline`` split ``open_deals`` by forecast category (any other
      category, or none, is pipeline); ``deals``, how many are open;
    - ``target`` (as in ``pipeline.landing``), ``gap`` = mean - target, and ``chance_of_target``, the share of
      the distribution at or above it; missing without a target.

    Company and teams are reconciled by minimum trace with the variances of their own forecasts: a team's
    mean takes its share of the gap between the company's forecast and the sum of the teams', which
    is among the company's figures; without these a team's forecast stands alone. No value falls below
    what is booked. A quarter that is over is what it booked. With nothing open and no past quarter the
    forecast is missing, and ``reason`` says why; it also says when few past wins make it wide.
    """
    source = read_source(
        opportunity_states, opportunities, stages, forecast_calls, team_memberships,
        as_of=as_of, period=period, settings=settings,
    )  # fmt: skip
    if by == "owner_id":
        return _by_rep(source, reference, quotas, reps)
    rows = []
    for ahead in AHEAD:
        quarter = source.quarters[source.here + ahead]
        whole, each = targets_by_team(plan, quotas, teams, reps, team_memberships, quarter, settings)
        total = whole_outlook(source, reference, ahead)
        rows.append({"team": COMPANY, "period": quarter.label, **_row(total, whole)})
        for team, part in (team_outlooks(source, reference, ahead) if by == "team" else {}).items():
            rows.append({"team": team, "period": quarter.label, **_row(part, each.get(team, np.nan))})
    return pd.DataFrame(rows, columns=[*(["team"] if by == "team" else []), *COLUMNS])


def _by_rep(
    source: Source, reference: Mapping[str, Any] | None, quotas: ir.Table | None, reps: ir.Table | None
) -> pd.DataFrame:
    quarter = source.quarters[source.here]
    goals = owner_targets(quotas, quarter).set_index("owner_id")["target"]
    rows = [
        {"owner_id": owner or None, "period": quarter.label, **_row(found, float(goals.get(owner, np.nan)))}
        for owner, found in rep_outlooks(source, reference).items()
    ]
    return with_rep_names(pd.DataFrame(rows, columns=["owner_id", *COLUMNS]), reps)


def _row(found: Outlook, target: float) -> dict[str, Any]:
    total = found.total
    return {
        "p10": total.quantile(0.1), "p50": total.quantile(0.5), "p90": total.quantile(0.9),
        "mean": round(total.mean, 2) if total.draws.size else np.nan,
        "booked": found.booked, "open_deals": found.open_deals, "create_and_close": found.create_and_close,
        "commit": found.by_category[0], "best_case": found.by_category[1], "pipeline": found.by_category[2],
        "deals": found.deals, "target": target, "gap": total.mean - target,
        "chance_of_target": total.at_least(target), "method": found.method, "reason": found.reason,
    }  # fmt: skip
