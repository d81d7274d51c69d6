"""Stages ranked by the revenue that a better conversion would keep."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.funnel._stages import (
    HORIZON_DAYS,
    not_compared,
    reference_number,
    reference_window,
    stage_rates,
    with_reference,
)
from salesops_kit.analysis.funnel._transitions import MOVED_ON, count_transitions, window
from salesops_kit.estimators.intervals import SIGNIFICANCE, benjamini_hochberg, deals_needed, two_sided_p
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

_RESULT = [
    "pipeline",
    "stage",
    "stage_position",
    "entrants",
    "at_risk",
    "moved_on_rate",
    "low",
    "high",
    "reference_rate",
    "difference",
    "difference_low",
    "difference_high",
    "p_value",
    "adjusted_p_value",
    "evidence",
    "deals_needed",
    "best_rate",
    "downstream_win_rate",
    "mean_won_amount",
    "revenue_lost",
]


@table(
    units={
        **dict.fromkeys(["entrants", "at_risk", "deals_needed"], "deals"),
        **dict.fromkeys(["moved_on_rate", "low", "high", "reference_rate"], "rate"),
        **dict.fromkeys(["difference", "difference_low", "difference_high"], "rate"),
        **dict.fromkeys(["best_rate", "downstream_win_rate"], "rate"),
        **dict.fromkeys(["mean_won_amount", "revenue_lost"], "money"),
    }
)
def bottlenecks(
    opportunity_states: ir.Table,
    stages: ir.Table,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    reference: Mapping[str, Any] | None = None,
    trailing_quarters: int = 0,
) -> pd.DataFrame:
    """Which stage costs most revenue, against what the company's teams show to be possible.

    One row per pipeline and open stage that a deal was in, the largest ``revenue_lost`` first:
    entrants x (``best_rate`` - ``moved_on_rate``, at least 0) x ``downstream_win_rate`` x
    ``mean_won_amount``, in base currency. ``moved_on_rate`` (0-1, with 95 % limits ``low``, ``high``) is
    the competing-risks share that moves to any later stage, or is won, within 180 days; ``best_rate``,
    ``downstream_win_rate`` and ``mean_won_amount`` come from the company.

    ``difference`` is the scope's rate less the company's, with 95 % limits; ``p_value`` tests it against
    zero, ``adjusted_p_value`` allows for the number of stages tested (Benjamini-Hochberg), and
    ``evidence`` holds where that is below 0.05. ``deals_needed`` are the deals per group with which a
    difference of this size would show. All that needs a reference is missing without one; the whole
    company differs from itself by nothing and has no p-value.
    """
    days = window(as_of, period, settings, trailing_quarters)
    counts = count_transitions(opportunity_states, stages, days, (), settings)
    company = reference_window(reference, days, trailing_quarters, HORIZON_DAYS)
    result = with_reference(stage_rates(counts, HORIZON_DAYS), MOVED_ON, company)
    result = result.rename(columns={f"{MOVED_ON}_low": "low", f"{MOVED_ON}_high": "high"})
    # The whole company is not a sample to compare with itself; rounding must not make it one.
    spread = result["difference_variance"].where(result["difference_variance"] > 1e-12)
    result["p_value"] = two_sided_p(result["difference"], spread)
    result["adjusted_p_value"] = benjamini_hochberg(result["p_value"].to_numpy(float))
    result["evidence"] = result["adjusted_p_value"] < SIGNIFICANCE
    needed = deals_needed(result[f"{MOVED_ON}_rate"], result["reference_rate"])
    result["deals_needed"] = np.where(result["p_value"].notna(), needed, np.nan)
    figures = [
        company.get(pipeline, {}).get(stage, {})
        for pipeline, stage in zip(result["pipeline"], result["stage"], strict=True)
    ]
    result["best_rate"] = [reference_number(figure, "best_moved_on") for figure in figures]
    result["downstream_win_rate"] = [reference_number(figure, "downstream_win_rate") for figure in figures]
    result["mean_won_amount"] = reference_number(reference, "mean_won_amount")
    gap = (result["best_rate"] - result[f"{MOVED_ON}_rate"]).clip(lower=0)
    result["revenue_lost"] = (
        result["entrants"] * gap * result["downstream_win_rate"] * result["mean_won_amount"]
    )
    result = result.sort_values(
        ["revenue_lost", "pipeline", "stage_position"], ascending=[False, True, True], ignore_index=True
    )[_RESULT]
    result.attrs["notes"] = _notes(result, reference, compared=bool(company))
    return result


def _notes(result: pd.DataFrame, reference: Mapping[str, Any] | None, *, compared: bool) -> list[str]:
    if not reference:
        return [_("Without the company's figures no stage can be compared.")]
    if not compared:
        return [not_compared()]
    if result["p_value"].notna().any() and not result["evidence"].any():
        return [_("No evidence of a difference from the company in any stage.")]
    return []
