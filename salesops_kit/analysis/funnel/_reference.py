"""The company's funnel figures that a team is compared with and shrunk to."""

from __future__ import annotations

import datetime as dt
import functools
import operator
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.funnel._stages import HORIZON_DAYS, stage_rates
from salesops_kit.analysis.funnel._transitions import (
    MOVED_ON,
    StageCounts,
    Window,
    count_transitions,
    window,
)
from salesops_kit.analysis.funnel._win_rate import closed_counts
from salesops_kit.estimators.dimensions import Dimension, join_dimensions
from salesops_kit.estimators.intervals import ratio, z_value
from salesops_kit.estimators.outcomes import excluded_reasons, qualified_positions
from salesops_kit.estimators.shrinkage import estimate_prior
from salesops_kit.estimators.states import falls_in, is_true, known_states
from salesops_kit.periods import DAY, Period
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
    ``first_day`` and ``last_day`` as ordinal numbers, ``mean_won_amount`` of the deals won in them with its
    95 % limits ``_low`` and ``_high``, and ``figures``, which hold per pipeline and stage
    ``at_risk``, ``next`` and ``moved_on`` (share within the horizon) with ``_variance``, 95 % limits
    ``_low`` and ``_high``, and ``_strength``,
    ``best_moved_on`` (the highest rate that is credible: the largest lower limit among teams with at
    least 10 deals, not below the company's own rate) and ``downstream_win_rate`` (won among the
    ``downstream_closed`` deals that were closed in the same days and had got past the stage). Unknown
    figures are None.
    """
    reasons = excluded_reasons(opportunities, settings)
    tables = {"opportunity_states": opportunity_states, "opportunities": opportunities}
    windows = {str(quarters): window(as_of, period, settings, quarters) for quarters in TRAILING_QUARTERS}
    known = known_states(opportunity_states, as_of)
    known = known.filter(is_true(known.is_closed))
    inside = {
        f"in_{name}": falls_in(known.close_date, period if name == "0" else _span(days))
        for name, days in windows.items()
    }
    closed = known.mutate(**inside).filter(functools.reduce(operator.or_, inside.values()))
    closed = join_dimensions(closed, (), tables, ["loss_reason"] if reasons else [])
    positions = qualified_positions(stages, settings)
    all_sums = closed_counts(closed, reasons, positions, ["team", "pipeline", "reached_position", *inside])
    sums = all_sums[all_sums["in_0"].astype(bool)]
    won, lost = int(sums["won"].sum()), int(sums["lost"].sum())
    by_team = sums.groupby("team")[["won", "lost"]].sum()
    prior = estimate_prior(by_team["won"], by_team["won"] + by_team["lost"])

    dimension = Dimension("team", "opportunity_states", "team", column_in_rows="dimension_0")
    rows = join_dimensions(opportunity_states, [dimension], tables)
    whole = join_dimensions(opportunity_states, (), tables)
    listed: dict[str, Any] = {}
    seen = set(by_team.index[(by_team["won"] + by_team["lost"]) > 0])
    for name, days in windows.items():
        counts = count_transitions(rows, stages, days, [dimension], settings)
        seen |= set(counts.totals["team"])
        recent = all_sums[all_sums[f"in_{name}"].astype(bool)]
        listed[name] = {
            "first_day": None if days.start is None else days.start.toordinal(),
            "last_day": days.last.toordinal(),
            **_mean_won_amount(recent),
            "figures": _stage_figures(counts, count_transitions(whole, stages, days, (), settings), recent),
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


def _stage_figures(
    team_counts: StageCounts, counts: StageCounts, closed: pd.DataFrame
) -> dict[str, dict[str, Any]]:
    """The figures per pipeline and stage. The company is counted by itself: a deal that two teams had in
    one stage is one deal of the company."""
    by_team, company = stage_rates(team_counts, HORIZON_DAYS), stage_rates(counts, HORIZON_DAYS)
    figures: dict[str, dict[str, Any]] = {}
    for row in company.to_dict("records"):
        pipeline, stage = str(row["pipeline"]), str(row["stage"])
        teams = by_team[(by_team["pipeline"] == pipeline) & (by_team["stage"] == stage)]
        figure: dict[str, Any] = {"at_risk": int(row["at_risk"])}
        for cause in ("next", MOVED_ON):
            figure[cause] = _plain(row[f"{cause}_rate"])
            for kind in ("variance", "low", "high"):
                figure[f"{cause}_{kind}"] = _plain(row[f"{cause}_{kind}"])
            known = teams[teams[f"{cause}_rate"].notna()]
            successes = known[f"{cause}_rate"] * known["at_risk"]
            figure[f"{cause}_strength"] = estimate_prior(successes, known["at_risk"]).strength
        large = teams[teams["at_risk"] >= FEWEST_FOR_BEST]
        figure["best_moved_on"] = _plain(np.nanmax([row[f"{MOVED_ON}_rate"], *large[f"{MOVED_ON}_low"], -1]))
        if (figure["best_moved_on"] or 0) < 0:
            figure["best_moved_on"] = None
        won, size = _downstream(closed, pipeline, int(row["stage_position"]))
        figure["downstream_win_rate"] = _plain(ratio(won, size))
        figure["downstream_closed"] = size
        figures.setdefault(pipeline, {})[stage] = figure
    return figures


def _downstream(closed: pd.DataFrame, pipeline: str, position: int) -> tuple[int, int]:
    """Of the closed deals of a pipeline that got past the position: how many were won, and all."""
    own = closed[closed["pipeline"] == pipeline]
    won = int(own["won"].sum())
    return won, won + int(own.loc[own["reached_position"] > position, "lost"].sum())


def _mean_won_amount(closed: pd.DataFrame) -> dict[str, float | None]:
    """The mean amount of the deals won, with normal 95 % limits, not below zero."""
    size, total = closed["won_with_amount"].sum(), closed["won_amount"].sum()
    mean = ratio(total, size)
    variance = ratio(closed["won_square"].sum() - size * np.nan_to_num(mean) ** 2, size - 1)
    half = z_value() * np.sqrt(ratio(np.maximum(variance, 0), size))
    return {
        "mean_won_amount": _plain(mean),
        "mean_won_amount_low": _plain(np.maximum(mean - half, 0)),
        "mean_won_amount_high": _plain(mean + half),
    }


def _span(days: Window) -> Period | None:
    """The days of a window as a period; None without a first day."""
    return None if days.start is None else Period(days.start, days.last + DAY, "")


def _plain(value: Any) -> float | None:
    number = float(value)
    return None if np.isnan(number) else number
