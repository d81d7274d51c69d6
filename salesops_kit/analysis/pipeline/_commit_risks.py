"""Deals in commit or best case that something speaks against."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.pipeline._deals import as_shown
from salesops_kit.analysis.pipeline._facts import BEST_CASE, COMMIT, deals_with_facts
from salesops_kit.analysis.pipeline._quarters import current_quarter
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

IDLE_DAYS = 14
_NUMBERS = [
    "days_past_due", "days_past_next_step", "days_without_activity", "stage_age_days", "stage_p90_days",
]  # fmt: skip
_COLUMNS = [
    "opportunity_id", "name", "owner_id", "team", "stage", "forecast_category", "amount", "close_date",
    "reasons", *_NUMBERS,
]  # fmt: skip


@table(units={"amount": "money", **dict.fromkeys(_NUMBERS, "days")})
def commit_risks(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    activities: ir.Table | None = None,
    reps: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    reference: Mapping[str, Any] | None = None,
    category: Literal["both", "commit", "best_case"] = "both",
    days_without_activity: int = IDLE_DAYS,
    trailing: int = 4,
) -> pd.DataFrame:
    """Deals counted on in the period that something speaks against.

    One row per deal that is open at the end of ``as_of``, due in the period (without one, in the fiscal
    quarter of ``as_of``), of forecast category Commit or Best Case (``category`` narrows it), and has at
    least one of these ``reasons``, comma-separated in this order:

    - ``past_close_date``: its close date lies ``days_past_due`` days before ``as_of``;
    - ``no_next_step``: none is written down; ``next_step_overdue``: the day set for it was
      ``days_past_next_step`` days before ``as_of``;
    - ``no_activity``: ``days_without_activity`` days since its last call, e-mail or meeting, at least as
      many as the option of that name asks for; of a deal without any, since the log begins;
    - ``over_stage_p90``: ``stage_age_days`` in its stage are more than ``stage_p90_days``, within which nine
      in ten visits of the stage end (as ``pipeline.ageing``, over ``trailing`` quarters).

    Commit first, then the largest amount. Columns: ``opportunity_id``, ``name``, ``owner_id`` with
    ``rep_name``, ``team``, ``stage``, ``forecast_category``, ``amount`` (base currency, missing where
    unknown), ``close_date``, ``reasons`` and the numbers, in days, missing where there is none. Next steps
    have no history: on an earlier day than the data's last, and where the data has none, nobody misses
    one and a note says so. ``attrs``: ``deals`` and ``amount`` of the categories in all, ``deals_at_risk``
    and ``amount_at_risk``.

    Raises :class:`InputError` when ``days_without_activity`` or ``trailing`` is below 1.
    """
    if days_without_activity < 1:
        raise InputError(
            Problem(
                "no day", column="days_without_activity", expected="1 or more", got=str(days_without_activity)
            )
        )
    here = current_quarter(as_of, period, settings)
    frame, notes = deals_with_facts(
        opportunity_states, opportunities, activities, as_of, here, settings, reference, trailing
    )
    wanted = {"commit": [COMMIT], "best_case": [BEST_CASE]}.get(category, [COMMIT, BEST_CASE])
    frame = frame[frame["category"].isin(wanted)]
    reasons = [", ".join(_reasons(deal, days_without_activity)) for deal in frame.to_dict("records")]
    frame = frame.assign(reasons=reasons, is_best_case=frame["category"] == BEST_CASE)
    listed = frame[frame["reasons"] != ""].sort_values(
        ["is_best_case", "amount", "opportunity_id"], ascending=[True, False, True], kind="stable"
    )
    totals = {
        "deals": len(frame),
        "amount": float(frame["amount"].sum()),
        "deals_at_risk": len(listed),
        "amount_at_risk": float(listed["amount"].sum()),
    }
    listed = listed.assign(amount=listed["amount"].mask(listed["is_unknown"]))
    result = as_shown(listed[_COLUMNS].reset_index(drop=True), money=["amount"], dates=["close_date"])
    result = with_rep_names(result, reps)
    result.attrs.update(notes=notes, **totals)
    return result


def _reasons(deal: Mapping[str, Any], idle_days: int) -> Iterator[str]:
    if deal["days_past_due"] > 0:
        yield "past_close_date"
    if deal["has_next_step"] is not None and not deal["has_next_step"]:
        yield "no_next_step"
    if deal["days_past_next_step"] > 0:
        yield "next_step_overdue"
    if deal["days_without_activity"] >= idle_days:
        yield "no_activity"
    if deal["stage_age_days"] > deal["stage_p90_days"]:
        yield "over_stage_p90"
