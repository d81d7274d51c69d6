"""What is known, as of a day, of the open deals due in a quarter: the facts behind risks and questions."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Mapping
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.pipeline._ageing import stage_limits
from salesops_kit.analysis.pipeline._deals import with_columns
from salesops_kit.analysis.pipeline._past import CELL
from salesops_kit.data.as_of import midnight
from salesops_kit.data.deals import close_date_facts
from salesops_kit.data.engine import collect, shared
from salesops_kit.estimators.states import at_end_of, falls_in, is_open, known_states
from salesops_kit.language import _
from salesops_kit.periods import DAY, Period
from salesops_kit.settings import Settings

COMMIT, BEST_CASE = "commit", "bestcase"
RECENT = dt.timedelta(days=30)
FACTS = [
    "days_past_due", "pushes", "stage_age_days", "stage_p90_days", "amount_30_days_ago",
    "has_next_step", "days_past_next_step", "days_without_activity",
]  # fmt: skip
_DUE = (
    "opportunity_id", "team", "owner_id", *CELL, "stage_position", "amount", "close_date", "stage_since_date",
)  # fmt: skip
_READ = (
    "state_no", "entry", "is_closed", "is_deleted", "valid_from_date", "valid_to_date",
)  # fmt: skip
# Columns of a deal without a history: they tell only of the last day that the data knows.
_CURRENT = ["next_step", "next_step_date"]


def open_due(states: ir.Table, as_of: dt.date, here: Period) -> ir.Table:
    """The open deals due in the quarter, as they stood at the end of ``as_of``."""
    known = known_states(states, as_of)
    known = known.filter(is_open(known) & falls_in(known.close_date, here))
    return known.select(*_DUE)


def collected(due: ir.Table) -> pd.DataFrame:
    """Open deals in the order of their ids, the largest list that the tables of this package read.

    ``amount`` is a float, 0 where it is unknown (``is_unknown``); ``category`` is the forecast category
    without case, spaces and dashes.
    """
    frame = collect(due).sort_values("opportunity_id", ignore_index=True)
    frame["is_unknown"] = frame["amount"].isna()
    frame["amount"] = frame["amount"].astype("float64").fillna(0.0)
    words = frame["forecast_category"].astype("str").str.casefold()
    frame["category"] = words.str.replace("[ _-]", "", regex=True)
    return frame


def deals_with_facts(
    states: ir.Table,
    opportunities: ir.Table | None,
    activities: ir.Table | None,
    as_of: dt.date,
    here: Period,
    settings: Settings,
    reference: Mapping[str, Any] | None,
    trailing: int,
) -> tuple[pd.DataFrame, list[str]]:
    """The open deals due in the quarter with their facts, and notes on what is not known.

    ``days_past_due`` (from the close date to ``as_of``, at least 1), ``pushes`` (as ``pipeline.pushes``
    counts them), ``stage_age_days`` and ``stage_p90_days`` (as ``pipeline.ageing``), ``amount_30_days_ago``
    (missing where the deal was not there or had none), ``has_next_step`` and ``days_past_next_step`` (from
    the day set for it to ``as_of``, at least 1) and ``days_without_activity`` (from the last activity of
    the deal's, or from the first in the log where it has none) are missing where they do not apply or are
    not known. The next step has no history: on an earlier day than the data's last it is not known.
    """
    limits = stage_limits(states, as_of, here, settings, reference, trailing)
    is_last_day = _is_last_day(states, as_of, settings)
    states = states.select(*dict.fromkeys([*_DUE, *_READ]))
    due = shared(open_due(states, as_of, here))
    before = states.filter(at_end_of(states, as_of - RECENT))
    before = before.select(before_id="opportunity_id", amount_before="amount")
    counted = close_date_facts(states, due, as_of)
    counted = counted.select(fact_id="fact_id", pushes="pushes")
    joined = due.left_join(before, due.opportunity_id == before.before_id)
    joined = joined.left_join(counted, due.opportunity_id == counted.fact_id)
    found = ["amount_before", "pushes"]
    if activities is not None:
        last = _last_activity(activities, as_of, settings)
        joined = joined.left_join(last, due.opportunity_id == last.active_id)
        found.append("last_activity")
    rows = joined.select(*_DUE, *found)
    steps = _CURRENT if is_last_day and _has(opportunities, _CURRENT) else []
    frame = collected(with_columns(rows, opportunities, ["name", *steps]))
    frame = frame.merge(limits[["pipeline", "stage", "p90"]], on=["pipeline", "stage"], how="left")
    frame["days_past_due"] = _days_since(frame["close_date"], as_of)
    frame["pushes"] = frame["pushes"].fillna(0).astype("int64")
    frame["stage_age_days"] = _days_since(frame["stage_since_date"], as_of, at_least=0)
    frame["stage_p90_days"] = frame["p90"].astype("float64")
    frame["amount_30_days_ago"] = frame["amount_before"].astype("float64")
    frame = frame.assign(has_next_step=None, days_past_next_step=np.nan, days_without_activity=np.nan)
    if steps:
        frame["has_next_step"] = frame["next_step"].fillna("").astype("str").str.strip() != ""
        if not frame["has_next_step"].any() and not _is_used(opportunities, "next_step"):
            # A column that nobody ever filled says nothing of these deals.
            steps, frame["has_next_step"] = [], None
    if steps:
        overdue = _days_since(frame["next_step_date"], as_of)
        frame["days_past_next_step"] = overdue.where(frame["has_next_step"].astype(bool))
    notes = [] if steps else [_("Next steps are not known as of this day, so that none is missed.")]
    if activities is None:
        notes.append(_("Activities are not known, so that none is missed."))
    else:
        first = _first_activity(activities, settings)
        shown = [_day(value, settings) or first for value in frame["last_activity"]]
        frame["days_without_activity"] = _days_since(
            pd.Series(shown, index=frame.index, dtype=object), as_of, at_least=0
        )
    return frame, notes


def _last_activity(activities: ir.Table, as_of: dt.date, settings: Settings) -> ir.Table:
    end = ibis.timestamp(midnight(as_of + DAY, settings.zone))
    seen = activities.filter(activities.opportunity_id.notnull() & (activities.started_at < end))
    return seen.group_by(active_id=seen.opportunity_id).aggregate(last_activity=seen.started_at.max())


def _first_activity(activities: ir.Table, settings: Settings) -> dt.date | None:
    return _day(collect(activities.aggregate(first=activities.started_at.min()))["first"].iloc[0], settings)


def _is_last_day(states: ir.Table, as_of: dt.date, settings: Settings) -> bool:
    """Whether nothing of the data is later than the day, so that current values are those of the day."""
    if settings.observed_until is not None:
        return as_of >= settings.observed_until
    last = collect(states.aggregate(last=states.valid_from_date.max()))["last"].iloc[0]
    return pd.isna(last) or as_of >= pd.Timestamp(last).date()


def _is_used(table: ir.Table | None, column: str) -> bool:
    return table is not None and not collect(table.filter(table[column].notnull()).limit(1)).empty


def _has(table: ir.Table | None, columns: list[str]) -> bool:
    return table is not None and set(columns) <= set(table.columns)


def _day(value: Any, settings: Settings) -> dt.date | None:
    if value is None or pd.isna(value):
        return None
    moment = pd.Timestamp(value)
    moment = moment.tz_localize("UTC") if moment.tzinfo is None else moment
    return moment.tz_convert(zoneinfo.ZoneInfo(settings.zone)).date()


def _days_since(days: pd.Series, as_of: dt.date, at_least: int = 1) -> pd.Series:
    """Days from each date to ``as_of``, missing where there is none or they are fewer than ``at_least``."""
    counts = [
        np.nan if value is None or pd.isna(value) else (as_of - pd.Timestamp(value).date()).days
        for value in days
    ]
    found = pd.Series(counts, index=days.index, dtype="float64")
    return found.where(found >= at_least)
