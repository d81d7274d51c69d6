"""The company's funnel figures that a team is compared with and shrunk to."""

from __future__ import annotations

import datetime as dt
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.funnel._outcomes import closed_or_open, excluded_reasons, qualified_positions
from salesops_kit.analysis.funnel._stages import HORIZON_DAYS, stage_rates
from salesops_kit.analysis.funnel._transitions import (
    MOVED_ON,
    StageCounts,
    count_transitions,
    window,
)
from salesops_kit.analysis.funnel._win_rate import closed_counts
from salesops_kit.estimators.competing_risks import add_counts
from salesops_kit.estimators.dimensions import Dimension, join_dimensions
from salesops_kit.estimators.intervals import ratio
from salesops_kit.estimators.shrinkage import estimate_prior
from salesops_kit.periods import Period
from salesops_kit.registry import reference
from salesops_kit.settings import NO_TEAM, Settings

# A team with fewer deals in a stage says too little to be a mark for the others.
FEWEST_FOR_BEST = 10
# The windows that teams are compared over: the period itself, and the year that ends with it.
TRAILING_QUARTERS = (0, 4)


@reference
def company_reference(
    opportunity_states: ir.Table,
    stages: ir.Table,
    opportunities: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
) -> dict[str, Any]:
    """The company's win rate and stage conversion, with how far its teams differ.

    ``teams``: teams that closed a deal or had one in a stage. ``win_rate``: ``won``, ``lost``, ``rate``
    and ``prior_strength`` (beta-binomial over teams). ``mean_won_amount``. ``horizon_days``.
    ``stages``: for the period (``"0"``) and for the four quarters that end with it (``"4"``) the
    ``first_day`` and ``last_day`` as ordinal numbers and ``figures``, which hold per pipeline and stage
    ``at_risk``, ``next`` and ``moved_on`` (share within the horizon) with ``_variance`` and ``_strength``,
    ``best_moved_on`` (the highest rate that is credible: the largest lower limit among teams with at
    least 10 deals, not below the company's own rate) and ``downstream_win_rate`` (won among closed
    deals that got past the stage). Unknown figures are None.
    """
    reasons = excluded_reasons(opportunities, settings)
    tables = {"opportunity_states": opportunity_states, "opportunities": opportunities}
    closed = join_dimensions(
        closed_or_open(opportunity_states, as_of, period), (), tables, ["loss_reason"] if reasons else []
    )
    positions = qualified_positions(stages, settings)
    sums = closed_counts(closed, reasons, positions, ["team", "pipeline", "reached_position"])
    won, lost = int(sums["won"].sum()), int(sums["lost"].sum())
    by_team = sums.groupby("team")[["won", "lost"]].sum()
    prior = estimate_prior(by_team["won"], by_team["won"] + by_team["lost"])

    dimension = Dimension("team", "opportunity_states", "team", column_in_rows="dimension_0")
    rows = join_dimensions(opportunity_states, [dimension], tables)
    listed: dict[str, Any] = {}
    seen = set(by_team.index[(by_team["won"] + by_team["lost"]) > 0])
    for quarters in TRAILING_QUARTERS:
        days = window(as_of, period, settings, quarters)
        counts = count_transitions(rows, stages, days, [dimension], settings)
        seen |= set(counts.totals["team"])
        listed[str(quarters)] = {
            "first_day": None if days.start is None else days.start.toordinal(),
            "last_day": days.last.toordinal(),
            "figures": _stage_figures(counts, sums),
        }
    return {
        "teams": len(seen - {NO_TEAM}),
        "win_rate": {
            "won": won,
            "lost": lost,
            "rate": _plain(ratio(won, won + lost)),
            "prior_strength": prior.strength,
        },
        "mean_won_amount": _plain(ratio(sums["won_amount"].sum(), sums["won_with_amount"].sum())),
        "horizon_days": HORIZON_DAYS,
        "stages": listed,
    }


def _stage_figures(team_counts: StageCounts, closed: pd.DataFrame) -> dict[str, dict[str, Any]]:
    by_team = stage_rates(team_counts, HORIZON_DAYS)
    company = stage_rates(_without_team(team_counts), HORIZON_DAYS)
    figures: dict[str, dict[str, Any]] = {}
    for row in company.to_dict("records"):
        pipeline, stage = str(row["pipeline"]), str(row["stage"])
        teams = by_team[(by_team["pipeline"] == pipeline) & (by_team["stage"] == stage)]
        figure: dict[str, Any] = {"at_risk": int(row["at_risk"])}
        for cause in ("next", MOVED_ON):
            figure[cause] = _plain(row[f"{cause}_rate"])
            figure[f"{cause}_variance"] = _plain(row[f"{cause}_variance"])
            known = teams[teams[f"{cause}_rate"].notna()]
            successes = known[f"{cause}_rate"] * known["at_risk"]
            figure[f"{cause}_strength"] = estimate_prior(successes, known["at_risk"]).strength
        large = teams[teams["at_risk"] >= FEWEST_FOR_BEST]
        figure["best_moved_on"] = _plain(np.nanmax([row[f"{MOVED_ON}_rate"], *large[f"{MOVED_ON}_low"], -1]))
        if (figure["best_moved_on"] or 0) < 0:
            figure["best_moved_on"] = None
        figure["downstream_win_rate"] = downstream_win_rate(closed, pipeline, int(row["stage_position"]))
        figures.setdefault(pipeline, {})[stage] = figure
    return figures


def downstream_win_rate(closed: pd.DataFrame, pipeline: str, position: int) -> float | None:
    """Won among the closed deals of a pipeline that got past the position; None when there is none."""
    own = closed[closed["pipeline"] == pipeline]
    won = own["won"].sum()
    lost = own.loc[own["reached_position"] > position, "lost"].sum()
    return _plain(ratio(won, won + lost))


def _without_team(counts: StageCounts) -> StageCounts:
    keys = [name for name in counts.keys if name != "team"]
    values = [
        name for name in counts.ages.columns if name not in {*counts.keys, "age", "entered", "left", "events"}
    ]
    ages = add_counts([counts.ages.drop(columns="team")], values, keys)
    totals = counts.totals.drop(columns="team").groupby(keys, as_index=False, dropna=False).sum()
    return StageCounts(ages, totals, tuple(keys))


def _plain(value: Any) -> float | None:
    number = float(value)
    return None if np.isnan(number) else number
