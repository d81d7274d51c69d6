"""Bookings quarter by quarter, in all or by team, rep or another dimension, with the target."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.funnel._grouping import grouping
from salesops_kit.data.engine import collect
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.dimensions import join_dimensions, label_groups, tables_by_name
from salesops_kit.estimators.outcomes import won_in
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.estimators.states import known_states
from salesops_kit.estimators.targets import owner_targets, target_notes, team_targets, whole_target
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

MOST_QUARTERS = 40
_RESULT = ["quarter", "days", "is_over", "deals_won", "bookings", "bookings_to_day", "target"]


@table(
    units={
        **dict.fromkeys(["bookings", "bookings_to_day", "target"], "money"),
        "deals_won": "deals",
        "days": "days",
    }
)
def bookings(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    accounts: ir.Table | None = None,
    reps: ir.Table | None = None,
    teams: ir.Table | None = None,
    plan: ir.Table | None = None,
    quotas: ir.Table | None = None,
    team_memberships: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    by: str = "",
    quarters: int = 8,
) -> pd.DataFrame:
    """What was won in each of the last ``quarters`` fiscal quarters, the report's own last.

    One row per group of ``by`` (comma-separated dimensions) and quarter; a group that won nothing in a
    quarter has a row of zeros. Columns: the dimensions; ``quarter``; ``days`` of it; ``is_over`` at the
    end of ``as_of``; ``deals_won``; ``bookings`` (amount of the deals won with a close date in the quarter,
    as known at the end of ``as_of``, base currency, unknown amounts left out); ``bookings_to_day``: of
    these, what was closed no later in its quarter than ``as_of`` is in the last one, which is what an
    unfinished quarter may be compared with; and ``target``, for the last quarter in all, by ``team`` and by
    ``owner_id``: the plan's budget, else quotas; elsewhere missing. Targets of names that no team has count,
    and are noted, as are teams that the plan of the others does not name.

    Quarters before the first booking of any group are left out. Without a period the quarter of ``as_of``
    is the last. By ``owner_id``, ``rep_name`` stands beside it where the reps are known. Raises
    :class:`InputError` for an unknown dimension or a number of quarters outside 1 to 40.
    """
    if not 1 <= quarters <= MOST_QUARTERS:
        what = f"expected 1 to {MOST_QUARTERS}"
        raise InputError(Problem(what, column="quarters", got=str(quarters)))
    last = period or settings.fiscal.quarter_of(as_of)
    shown = [last]
    for _step in range(quarters - 1):
        shown.insert(0, settings.fiscal.previous(shown[0]))
    tables = tables_by_name(opportunity_states, opportunities, accounts, reps, teams)
    dimensions = grouping(by, tables, _RESULT)
    names = [dimension.name for dimension in dimensions]
    span = Period(shown[0].start, last.end, "")
    booked = won_in(known_states(opportunity_states, as_of), span)
    rows = join_dimensions(booked, dimensions, tables, only=["close_date", "amount"])
    keys = [dimension.column_in_rows for dimension in dimensions]
    daily = rows.group_by([*keys, "close_date"]).aggregate(
        deals_won=rows.count(), bookings=ibis.coalesce(rows.amount, 0).sum()
    )
    won = label_groups(collect(daily), dimensions, settings)
    won["bookings"] = won["bookings"].astype("float64")
    days = pd.to_datetime(won["close_date"])
    starts = pd.to_datetime([quarter.start for quarter in shown])
    won["place"] = starts.searchsorted(days.to_numpy(), side="right") - 1
    into = (days.to_numpy() - starts.to_numpy()[won["place"]]) / np.timedelta64(1, "D")
    reach = float("inf") if as_of >= last.last_day else (as_of - last.start).days
    won["bookings_to_day"] = won["bookings"].where(into <= reach, 0.0)

    targets, notes = _targets(names, plan, quotas, reps, team_memberships, teams, last, settings)
    groups = won[names].drop_duplicates() if names else pd.DataFrame({"all": [0]})
    if names and targets is not None:
        groups = groups.merge(targets[names], how="outer")
    first = int(won["place"].min()) if len(won) else len(shown) - 1
    places = pd.DataFrame({"place": range(first, len(shown))})
    grid = groups.merge(places, how="cross")
    sums = won.groupby([*names, "place"], as_index=False)[["deals_won", "bookings", "bookings_to_day"]].sum()
    frame = grid.merge(sums, on=[*names, "place"], how="left")
    for column in ("deals_won", "bookings", "bookings_to_day"):
        frame[column] = frame[column].fillna(0)
    frame["deals_won"] = frame["deals_won"].astype("int64")
    frame = _with_target(frame, names, targets, len(shown) - 1)
    frame["quarter"] = frame["place"].map({place: each.label for place, each in enumerate(shown)})
    frame["days"] = frame["place"].map({place: each.days for place, each in enumerate(shown)})
    frame["is_over"] = frame["place"].map({p: each.last_day <= as_of for p, each in enumerate(shown)})
    ordered = frame.sort_values([*names, "place"], ignore_index=True)[[*names, *_RESULT]]
    result = with_rep_names(ordered, reps)
    result.attrs["notes"] = notes
    return result


def _targets(
    names: list[str],
    plan: ir.Table | None,
    quotas: ir.Table | None,
    reps: ir.Table | None,
    memberships: ir.Table | None,
    teams: ir.Table | None,
    quarter: Period,
    settings: Settings,
) -> tuple[pd.DataFrame | None, list[str]]:
    """The targets by the one dimension that has them, or of all, with notes; None for other groupings."""
    if names == ["owner_id"]:
        return owner_targets(quotas, quarter)[["owner_id", "target"]], []
    if names in ([], ["team"]):
        by_team = team_targets(plan, quotas, reps, memberships, quarter, settings)
        notes = target_notes(by_team, teams, memberships)
        if names:
            return by_team[["team", "target"]], notes
        return pd.DataFrame({"target": [whole_target(by_team, teams)[0]]}), notes
    return None, []


def _with_target(
    frame: pd.DataFrame, names: list[str], targets: pd.DataFrame | None, last: int
) -> pd.DataFrame:
    if targets is None:
        return frame.assign(target=float("nan"))
    joined = (
        frame.merge(targets, on=names, how="left")
        if names
        else frame.assign(target=targets["target"].iloc[0])
    )
    return joined.assign(target=joined["target"].astype(float).where(joined["place"] == last))
