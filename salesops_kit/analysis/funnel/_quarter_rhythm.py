"""Whether the win rate depends on the month of the quarter in which deals are closed."""

from __future__ import annotations

import datetime as dt

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.funnel._cohort_periods import cohort_periods, place_of_date
from salesops_kit.analysis.funnel._win_rate import COUNTED, closed_counts
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.dimensions import join_dimensions
from salesops_kit.estimators.intervals import SIGNIFICANCE, ratio, wilson
from salesops_kit.estimators.outcomes import excluded_reasons, missing_reason_note, qualified_positions
from salesops_kit.estimators.states import is_true, known_states
from salesops_kit.estimators.stratified import mantel_haenszel
from salesops_kit.language import _
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

_RESULT = [
    "month_of_quarter",
    "won",
    "lost",
    "n",
    "closed_share",
    "rate",
    "low",
    "high",
    "difference",
    "difference_low",
    "difference_high",
    "p_value",
]
_MONTHS = 3


@table(
    units={
        **dict.fromkeys(["won", "lost", "n"], "deals"),
        **dict.fromkeys(["closed_share", "rate", "low", "high"], "rate"),
        **dict.fromkeys(["difference", "difference_low", "difference_high"], "rate"),
    }
)
def quarter_rhythm(
    opportunity_states: ir.Table,
    stages: ir.Table,
    opportunities: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    quarters: int = 8,
) -> pd.DataFrame:
    """Win rate by the month of the fiscal quarter in which deals are closed, with a test.

    Three rows, ``month_of_quarter`` 1 to 3, over the last ``quarters`` whole fiscal quarters up to the end of
    the period or ``as_of``. ``won``, ``lost`` and ``n`` (their sum) as ``win_rate`` counts them by close
    date; ``closed_share`` the month's share of all that were closed; ``rate`` = won / n (0-1) with 95 %
    Wilson limits. ``difference`` is the month's rate less the first month's, within quarters
    (Mantel-Haenszel, so that a good quarter does not pass for a good month), with 95 % limits and
    ``p_value``; missing in the first row.

    Where the third month differs (limits without zero, p below 0.05) a part of a quarter cannot be
    compared with a whole one: ``attrs["evidence"]`` is true and a note says so. No closed deal gives
    missing rates and no claim.
    """
    if quarters < 1:
        raise InputError(Problem("no quarter", column="quarters", expected="1 or more", got=str(quarters)))
    fiscal = settings.fiscal
    whole = [
        quarter
        for quarter in cohort_periods(as_of, period, settings, "quarter", quarters + 1)
        if quarter.last_day <= as_of
    ][-quarters:]
    months = [month for quarter in whole for month in fiscal.months(quarter)]
    won, lost = np.zeros(len(months)), np.zeros(len(months))
    reasons = excluded_reasons(opportunities, settings)
    if months:
        known = known_states(opportunity_states, as_of)
        closed = known.filter(is_true(known.is_closed)).mutate(month=place_of_date(known.close_date, months))
        closed = closed.filter(closed.month.notnull())
        columns, tables = ["loss_reason"] if reasons else [], {"opportunities": opportunities}
        rows = join_dimensions(closed, (), tables, columns, only=[*COUNTED, "month"])
        counts = closed_counts(rows, reasons, qualified_positions(stages, settings), ["month"])
        won[counts["month"].astype(int)] = counts["won"]
        lost[counts["month"].astype(int)] = counts["lost"]
    by_quarter, n = won.reshape(-1, _MONTHS), (won + lost).reshape(-1, _MONTHS)
    result = pd.DataFrame(
        {"month_of_quarter": range(1, _MONTHS + 1), "won": by_quarter.sum(axis=0), "n": n.sum(axis=0)}
    ).astype("int64")
    result["lost"] = result["n"] - result["won"]
    result["closed_share"] = ratio(result["n"], result["n"].sum())
    result["rate"] = ratio(result["won"], result["n"])
    result["low"], result["high"] = wilson(result["won"], result["n"])
    gaps = [
        mantel_haenszel(by_quarter[:, month], n[:, month], by_quarter[:, 0], n[:, 0])
        for month in range(_MONTHS)
    ]
    for name, field in (
        ("difference", "difference"),
        ("difference_low", "low"),
        ("difference_high", "high"),
        ("p_value", "p_value"),
    ):
        result[name] = [np.nan, *(getattr(gap, field) for gap in gaps[1:])]
    result = result[_RESULT]
    last = gaps[-1]
    evidence = last.p_value < SIGNIFICANCE and (last.low > 0 or last.high < 0)
    result.attrs["evidence"] = evidence
    result.attrs["quarters"] = len(whole)
    result.attrs["notes"] = missing_reason_note(
        opportunities is not None and "loss_reason" in opportunities.columns
    )
    if evidence:
        text = _(
            "The win rate is {first:.0%} in the first month of a quarter and {third:.0%} in the third:"
            " compare whole quarters only."
        )
        rates = result["rate"].to_list()
        result.attrs["notes"].append(text.format(first=rates[0], third=rates[-1]))
    return result
