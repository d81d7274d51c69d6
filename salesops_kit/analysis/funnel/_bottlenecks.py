"""Stages ranked by the revenue that a better conversion would keep."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.funnel._claims import reports_alike, with_claims
from salesops_kit.analysis.funnel._grouping import grouping
from salesops_kit.analysis.funnel._stages import (
    HORIZON_DAYS,
    not_compared,
    reference_number,
    reference_window,
    stage_rates,
    with_reference,
)
from salesops_kit.analysis.funnel._transitions import MOVED_ON, STAGE_KEYS, count_transitions, window
from salesops_kit.data.record import RECORDED, Record
from salesops_kit.estimators.dimensions import join_dimensions, tables_by_name
from salesops_kit.estimators.intervals import Array, deals_needed, wilson
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
    "revenue_lost_low",
    "revenue_lost_high",
]


@table(
    units={
        **dict.fromkeys(["entrants", "at_risk", "deals_needed"], "deals"),
        **dict.fromkeys(["moved_on_rate", "low", "high", "reference_rate"], "rate"),
        **dict.fromkeys(["difference", "difference_low", "difference_high"], "rate"),
        **dict.fromkeys(["best_rate", "downstream_win_rate"], "rate"),
        **dict.fromkeys(
            ["mean_won_amount", "revenue_lost", "revenue_lost_low", "revenue_lost_high"], "money"
        ),
    }
)
def bottlenecks(
    opportunity_states: ir.Table,
    stages: ir.Table,
    opportunities: ir.Table | None = None,
    accounts: ir.Table | None = None,
    reps: ir.Table | None = None,
    teams: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    record: Record = RECORDED,
    reference: Mapping[str, Any] | None = None,
    by: str = "",
    trailing_quarters: int = 0,
) -> pd.DataFrame:
    """Which stage costs most revenue, against what the company's teams show to be possible.

    One row per group of ``by``, pipeline and open stage that a deal was in, the largest ``revenue_lost``
    first: entrants x (``best_rate`` - ``moved_on_rate``, at least 0) x ``downstream_win_rate`` x
    ``mean_won_amount``, in base currency. ``moved_on_rate`` (0-1, with 95 % limits ``low``, ``high``) is
    the competing-risks share that moves to any later stage, or is won, within 180 days; ``best_rate``,
    ``downstream_win_rate`` and ``mean_won_amount`` come from the company's deals of the same days.
    ``revenue_lost_low`` and ``revenue_lost_high`` are 95 % limits, in which the chance in the three estimated
    factors is put together (square-and-add); where the low one is 0, the loss may be none. It is 0 in any
    case where the limits of ``difference`` do not say that the rate is below the company's.

    ``difference`` is the scope's rate less the company's, with 95 % limits; ``p_value`` tests it against
    zero, ``adjusted_p_value`` allows for the number of rows tested (Benjamini-Hochberg) here and in the
    other teams' reports, and ``evidence`` holds where that is below 0.05. ``deals_needed`` are the deals per
    group with which a difference of this size would show. All that needs a reference is missing without
    one; the whole company differs from itself by nothing and has no p-value.

    Raises :class:`NotAvailableError` where the data has no history of stages.
    """
    tables = tables_by_name(opportunity_states, opportunities, accounts, reps, teams)
    dimensions = grouping(by, tables, _RESULT, STAGE_KEYS)
    names = [dimension.name for dimension in dimensions]
    rows = join_dimensions(opportunity_states, dimensions, tables)
    days = window(as_of, period, settings, trailing_quarters)
    record.need_stages(days.start)
    counts = count_transitions(rows, stages, days, dimensions, settings)
    company = reference_window(reference, days, trailing_quarters, HORIZON_DAYS)
    result = with_reference(stage_rates(counts, HORIZON_DAYS), MOVED_ON, company)
    result = result.rename(columns={f"{MOVED_ON}_low": "low", f"{MOVED_ON}_high": "high"})
    result = with_claims(result, reports_alike(result, reference, company))
    needed = deals_needed(result[f"{MOVED_ON}_rate"], result["reference_rate"])
    result["deals_needed"] = np.where(result["p_value"].notna(), needed, np.nan)
    figures = [
        company.get(pipeline, {}).get(stage, {})
        for pipeline, stage in zip(result["pipeline"], result["stage"], strict=True)
    ]
    result["best_rate"] = [reference_number(figure, "best_moved_on") for figure in figures]
    result["downstream_win_rate"] = [reference_number(figure, "downstream_win_rate") for figure in figures]
    downstream_closed = [reference_number(figure, "downstream_closed") for figure in figures]
    of_days = reference["stages"][str(trailing_quarters)] if reference and company else {}
    result["mean_won_amount"] = reference_number(of_days, "mean_won_amount")
    _add_revenue_lost(result, np.array(downstream_closed), of_days)
    order = [*names, "pipeline", "stage_position"]
    result = result.sort_values(
        ["revenue_lost", *order], ascending=[False, *(True for _name in order)], ignore_index=True
    )[[*names, *_RESULT]]
    result.attrs["notes"] = _notes(result, reference, compared=bool(company))
    return result


def _add_revenue_lost(result: pd.DataFrame, downstream_closed: Array, of_days: Mapping[str, Any]) -> None:
    """Adds the revenue lost with its limits: the deviations of the factors, squared and added."""
    best, rate = result["best_rate"], result[f"{MOVED_ON}_rate"]
    gap, win, amount = (best - rate).clip(lower=0), result["downstream_win_rate"], result["mean_won_amount"]
    won_low, won_high = wilson(win * downstream_closed, downstream_closed)
    amount_low, amount_high = (reference_number(of_days, f"mean_won_amount_{end}") for end in ("low", "high"))
    result["revenue_lost"] = result["entrants"] * gap * win * amount
    for end, sign, gap_end, win_end, amount_end in (
        ("low", -1, best - result["high"], won_low, amount_low),
        ("high", 1, best - result["low"], won_high, amount_high),
    ):
        # A gap that is none stays none downwards; upwards it may be as wide as the limit of the rate says.
        by_gap = np.maximum(sign * (gap_end - gap), 0) * win * amount
        by_win = gap * np.abs(win_end - win) * amount
        by_amount = gap * win * abs(amount_end - amount)
        spread = result["entrants"] * np.sqrt(by_gap**2 + by_win**2 + by_amount**2)
        result[f"revenue_lost_{end}"] = (result["revenue_lost"] + sign * spread).clip(lower=0)
    may_be_none = result["p_value"].notna() & (result["difference_high"] >= 0)
    result["revenue_lost_low"] = result["revenue_lost_low"].mask(
        may_be_none & result["revenue_lost_low"].notna(), 0.0
    )


def _notes(result: pd.DataFrame, reference: Mapping[str, Any] | None, *, compared: bool) -> list[str]:
    if not reference:
        return [_("Without the company's figures no stage can be compared.")]
    if not compared:
        return [not_compared()]
    # The company's own rows differ from the company's in nothing.
    differs = result["p_value"].notna() & (result["difference"] != 0)
    if differs.any() and not result["evidence"].any():
        return [_("No evidence of a difference from the company in any stage.")]
    return []
