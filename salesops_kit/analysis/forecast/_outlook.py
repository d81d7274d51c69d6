"""What this quarter and the next are likely to book, with a range, apart by what is open and what is not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._company import AHEAD, company_figures
from salesops_kit.analysis.forecast._history import BEST_CASE, COMMIT
from salesops_kit.analysis.forecast._ladder import SIMULATION, Forecast, Models, deal_chances
from salesops_kit.analysis.forecast._scores import choices, score, shipped_forecast
from salesops_kit.analysis.forecast._source import Source, read_source
from salesops_kit.analysis.forecast._targets import targets_by_team
from salesops_kit.estimators.predictive import Predictive
from salesops_kit.estimators.reconciliation import CENT
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import COMPANY, Settings

# Fewer wins than this in past quarters, and the forecast says so.
FEW_WINS = 10
_MONEY = (
    "p10", "p50", "p90", "mean", "booked", "open_deals", "create_and_close", "commit", "best_case",
    "pipeline", "target", "gap",
)  # fmt: skip
COLUMNS = [
    "period", "p10", "p50", "p90", "mean", "booked", "open_deals", "create_and_close", "commit", "best_case",
    "pipeline", "deals", "target", "gap", "chance_of_target", "method", "reason",
]  # fmt: skip


@dataclass(frozen=True)
class Outlook:
    """One scope's forecast of one quarter: its distribution and what the mean is made of."""

    total: Predictive
    booked: float
    open_deals: float
    create_and_close: float
    by_category: tuple[float, float, float]
    deals: int
    method: str
    reason: str = ""


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
    by: Literal["", "team"] = "",
) -> pd.DataFrame:
    """What the quarter and the next are likely to book, as known at the end of ``as_of``.

    One row per ``period`` (the report's quarter, or that of ``as_of``, and the one after it), with ``by``
    "team" per team too, the teams' rows summing to the company's to the cent. In base currency:

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
    rows = []
    for ahead in AHEAD:
        quarter = source.quarters[source.here + ahead]
        whole, each = targets_by_team(plan, quotas, teams, reps, team_memberships, quarter, settings)
        total = whole_outlook(source, reference, ahead)
        rows.append({"team": COMPANY, "period": quarter.label, **_row(total, whole)})
        for team, part in (team_outlooks(source, reference, ahead) if by == "team" else {}).items():
            rows.append({"team": team, "period": quarter.label, **_row(part, each.get(team, np.nan))})
    return pd.DataFrame(rows, columns=[*(["team"] if by == "team" else []), *COLUMNS])


def whole_outlook(source: Source, reference: Mapping[str, Any] | None, ahead: int) -> Outlook:
    """The forecast of all that the source holds: the sum of its teams where it is the company."""
    parts = team_outlooks(source, reference, ahead)
    if len(parts) < 2:
        return reconciled_team(source, reference, ahead)
    figures = reference or company_figures(source)
    return summed(scope_outlook(source, reference, figures, ahead), list(parts.values()))


def team_outlooks(source: Source, reference: Mapping[str, Any] | None, ahead: int) -> dict[str, Outlook]:
    """Each team's reconciled forecast."""
    figures = reference or company_figures(source)
    return {
        team: reconciled_team(source.of_team(team), figures, ahead) for team in source.history.teams_present
    }


def scope_outlook(
    source: Source, reference: Mapping[str, Any] | None, figures: Mapping[str, Any] | None, ahead: int
) -> Outlook:
    """A scope's own forecast, not yet reconciled; ``figures`` say which rung ships."""
    models = source.models(source.here, source.as_of, ahead, reference)
    booked = models.booked
    deals = len(models.view.open_deals.rows)
    if ahead == 0 and source.is_over:
        nothing = (0.0, 0.0, 0.0)
        return Outlook(
            Predictive.of([booked]), booked, 0.0, 0.0, nothing, deals, "", _("The quarter is over.")
        )
    method, forecast = shipped_forecast(models, _chosen(source, figures, ahead))
    if forecast is None:
        missing = float("nan")
        reason = _("No deal is open and no earlier quarter is known, so that nothing can be forecast.")
        return Outlook(Predictive.of([]), booked, missing, missing, (missing,) * 3, deals, "", reason)
    simulated = forecast if method == SIMULATION else shipped_forecast(models, SIMULATION)[1]
    opened, later = _split(forecast, simulated)
    return Outlook(
        forecast.total, booked, opened, later, _by_category(models, opened), deals, method, _reason(models)
    )


def _chosen(source: Source, figures: Mapping[str, Any] | None, ahead: int) -> str:
    if ahead:
        return SIMULATION
    label = source.quarters[source.here].label
    chosen = figures["chosen"] if figures else choices(score(source), source)
    return str(chosen.get(label, SIMULATION))


def reconciled_team(source: Source, figures: Mapping[str, Any] | None, ahead: int) -> Outlook:
    """A team's forecast moved by its share of the gap, its mean a whole number of cents."""
    base = scope_outlook(source, figures, figures, ahead)
    gap = float(((figures or {}).get("gap_per_variance") or {}).get(str(ahead), 0.0))
    if not base.total.draws.size:
        return base
    return moved(base, base.total.mean + gap * base.total.deviation**2)


def moved(base: Outlook, mean: float) -> Outlook:
    """The forecast with another mean, rounded to the cent and never below what is booked."""
    wanted = round(max(mean, base.booked) / float(CENT)) * float(CENT)
    draws = base.total.draws
    rest, left = draws - base.booked, wanted - base.booked
    spread = float(rest.mean())
    # Stretched rather than shifted, so that nothing falls below what is booked.
    draws = (
        base.booked + rest * (left / spread)
        if spread > 0 and rest.min() >= 0
        else draws - draws.mean() + wanted
    )
    scale = (
        left / (base.open_deals + base.create_and_close)
        if base.open_deals + base.create_and_close > 0
        else 0.0
    )
    return Outlook(
        Predictive.of(draws),
        base.booked,
        base.open_deals * scale,
        base.create_and_close * scale,
        (base.by_category[0] * scale, base.by_category[1] * scale, base.by_category[2] * scale),
        base.deals,
        base.method,
        base.reason,
    )


def summed(base: Outlook, parts: list[Outlook]) -> Outlook:
    """The company's forecast with the mean that its teams sum to."""
    known = [part for part in parts if part.total.draws.size]
    if not known or not base.total.draws.size:
        return base
    cents = sum(round(part.total.mean / float(CENT)) for part in known)
    total = moved(base, cents * float(CENT))
    opened = sum(part.open_deals for part in known)
    later = sum(part.create_and_close for part in known)
    categories = tuple(sum(part.by_category[place] for part in known) for place in range(3))
    return Outlook(
        total.total, base.booked, opened, later, (categories[0], categories[1], categories[2]),
        base.deals, base.method, base.reason,
    )  # fmt: skip


def _split(forecast: Forecast, simulated: Forecast | None) -> tuple[float, float]:
    """What the mean expects of open deals and of create-and-close."""
    rest = forecast.total.mean - forecast.booked
    if simulated is None:
        return rest, 0.0
    opened, later = simulated.open_mean, simulated.later_mean
    share = opened / (opened + later) if opened + later > 0 else 1.0
    return rest * share, rest * (1 - share)


def _by_category(models: Models, opened: float) -> tuple[float, float, float]:
    """What open deals bring, by Commit, Best Case and all others."""
    rows = models.view.open_deals.rows
    value = deal_chances(models) * rows.amount
    if not value.sum() > 0:
        return (0.0, 0.0, opened)
    names = np.array(models.view.history.categories)[rows.category]
    share = value * opened / value.sum()
    commit, best = float(share[names == COMMIT].sum()), float(share[names == BEST_CASE].sum())
    return commit, best, opened - commit - best


def _reason(models: Models) -> str:
    won = sum(int(past.deals.won.sum()) + len(past.later) for past in models.view.past)
    if not models.view.past:
        return _("No earlier quarter is known from its beginning, so that the forecast is wide.")
    if won < FEW_WINS:
        return _("Only {count} past wins are known, so that the forecast is wide.").format(count=won)
    return ""


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
