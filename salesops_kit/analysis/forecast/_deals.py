"""Open deals by how much they move the forecast, with the chance of each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.forecast._ladder import Models, deal_chances
from salesops_kit.analysis.forecast._scope_outlook import whole_outlook
from salesops_kit.analysis.forecast._source import Source, read_source
from salesops_kit.analysis.forecast._view import DUE, due
from salesops_kit.data.engine import collect
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

_COLUMNS = [
    "opportunity_id", "name", "owner_id", "team", "stage", "forecast_category", "amount", "close_date",
    "is_due", "stage_age_days", "chance", "expected", "variance_share", "next_step_date", "days_to_next_step",
]  # fmt: skip


@table(
    units={
        "amount": "money", "expected": "money", "chance": "rate", "variance_share": "rate",
        "stage_age_days": "days", "days_to_next_step": "days",
    }
)  # fmt: skip
def deals(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    stages: ir.Table | None = None,
    forecast_calls: ir.Table | None = None,
    team_memberships: ir.Table | None = None,
    reps: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    reference: Mapping[str, Any] | None = None,
    top: int = 20,
) -> pd.DataFrame:
    """The open deals that move the quarter's forecast most.

    One row per deal, at most ``top`` (0 for all): ``chance`` of being won within the quarter (the mean of
    the conversion's and the weekly chances'), ``expected``, chance x amount, scaled so that all open deals
    sum to ``open_deals`` of ``forecast.outlook``, and ``variance_share``, the deal's chance x (1 - chance) x
    amount squared over that of all open deals, by which the list is ordered. ``is_due``: the close date
    is in the quarter. ``next_step_date`` and ``days_to_next_step`` (negative: past) are known only on the
    data's last day. An unknown amount counts as 0. Raises :class:`InputError` when ``top`` is below 0.
    """
    if top < 0:
        raise InputError(Problem("no number of deals", column="top", expected="0 or more", got=str(top)))
    source = read_source(
        opportunity_states, opportunities, stages, forecast_calls, team_memberships,
        as_of=as_of, period=period, settings=settings,
    )  # fmt: skip
    models = source.models(source.here, source.as_of, 0, reference)
    history, rows = source.history, models.view.open_deals.rows
    frame = _valued(source, models, reference).assign(
        owner_id=np.array(history.owners, dtype=object)[rows.owner],
        team=np.array(history.teams, dtype=object)[rows.team],
        stage=np.array([stage for _pipeline, stage in history.stages], dtype=object)[rows.stage],
        forecast_category=np.array(history.categories, dtype=object)[rows.category],
        amount=rows.amount,
        close_date=[dt.date.fromordinal(int(day)) if day > 0 else None for day in rows.close_day],
        is_due=due(rows, models.view.target) == DUE,
        stage_age_days=source.as_of.toordinal() - rows.stage_since,
    )
    frame = frame.sort_values(
        ["variance_share", "expected", "opportunity_id"], ascending=[False, False, True], ignore_index=True
    )
    frame = frame.head(top) if top else frame
    frame = _with_steps(frame, opportunities, as_of, settings)
    return with_rep_names(frame[_COLUMNS], reps)


@table(units={"expected": "money", "chance": "rate", "variance_share": "rate"})
def chances(
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
    """Every open deal with its chance, as other analyses read it.

    One row per ``opportunity_id`` with ``chance``, ``expected`` and ``variance_share`` as in
    ``forecast.deals``; all are missing before a past quarter is known. None is expected once the quarter is
    over.
    """
    source = read_source(
        opportunity_states, opportunities, stages, forecast_calls, team_memberships,
        as_of=as_of, period=period, settings=settings,
    )  # fmt: skip
    models = source.models(source.here, source.as_of, 0, reference)
    frame = _valued(source, models, reference)
    if not models.view.past:
        frame[["chance", "expected", "variance_share"]] = np.nan
    return frame.sort_values("opportunity_id", ignore_index=True)


def _valued(source: Source, models: Models, reference: Mapping[str, Any] | None) -> pd.DataFrame:
    """The open deals, in the order of the models, with what each is worth to the forecast."""
    rows = models.view.open_deals.rows
    chance = deal_chances(models) * (not source.is_over)
    variance = chance * (1 - chance) * rows.amount**2
    whole = float(variance.sum())
    wanted = float(np.nan_to_num(whole_outlook(source, reference, 0).open_deals))
    return pd.DataFrame(
        {
            "opportunity_id": np.array(source.history.deals, dtype=object)[rows.deal],
            "chance": chance,
            "expected": _shared_out(chance * models.amounts, models.amounts, wanted),
            "variance_share": variance / whole if whole > 0 else np.full(len(rows), np.nan),
        }
    )


def _shared_out(parts: np.ndarray, most: np.ndarray, wanted: float) -> np.ndarray:
    """Parts in the same proportions that sum to what is wanted, none above its most.

    >>> _shared_out(np.array([1.0, 1.0, 0.0]), np.array([1.5, 9.0, 4.0]), 5.0).round(6).tolist()
    [1.5, 3.5, 0.0]
    """
    most = np.where(parts > 0, np.maximum(most, parts), 0.0)
    if not parts.sum() > 0 or wanted >= most.sum():
        return most if wanted > 0 else parts * 0.0
    low, high = 0.0, float(np.max(most[parts > 0] / parts[parts > 0]))
    for _step in range(100):
        factor = (low + high) / 2
        low, high = (factor, high) if np.minimum(parts * factor, most).sum() < wanted else (low, factor)
    return np.asarray(np.minimum(parts * high, most))


def _with_steps(
    frame: pd.DataFrame, opportunities: ir.Table | None, as_of: dt.date, settings: Settings
) -> pd.DataFrame:
    """Names, and next steps where the day is the data's last, as they have no history."""
    frame = frame.assign(name=None, next_step_date=None, days_to_next_step=np.nan)
    if opportunities is None:
        return frame
    columns = [name for name in ("name", "next_step_date") if name in opportunities.columns]
    listed = collect(
        opportunities.filter(opportunities.opportunity_id.isin(list(frame["opportunity_id"]) or [""])).select(
            "opportunity_id", *columns
        )
    ).set_index("opportunity_id")
    if "name" in columns:
        frame["name"] = frame["opportunity_id"].map(listed["name"])
    is_last = settings.observed_until is None or as_of >= settings.observed_until
    if "next_step_date" in columns and is_last:
        days = [None if pd.isna(value) else pd.Timestamp(value).date() for value in
                frame["opportunity_id"].map(listed["next_step_date"])]  # fmt: skip
        frame["next_step_date"] = pd.Series(days, index=frame.index, dtype=object)
        frame["days_to_next_step"] = [np.nan if day is None else float((day - as_of).days) for day in days]
    return frame
