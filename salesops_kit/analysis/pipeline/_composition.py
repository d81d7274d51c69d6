"""What the open pipeline consists of, and how it stood week by week."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.analysis.pipeline._quarters import DAY, current_quarter, first_known_day, floats
from salesops_kit.data.engine import collect
from salesops_kit.estimators.dimensions import (
    join_dimensions,
    label_groups,
    parse_by,
    sort_groups,
    tables_by_name,
)
from salesops_kit.estimators.intervals import ratio
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.estimators.states import falls_in, is_open, is_true, known_states
from salesops_kit.language import ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

DUE = ("overdue", "this", "next", "later", "undated")
SERIES = ("this", "previous", "year_ago")
_COUNTS = ["deals", "unknown_amount"]
_WEEK = [
    "series", "quarter", "week", "day", "due_deals", "due_amount", "won_deals", "won_amount", "open_deals",
    "open_amount",
]  # fmt: skip


@table(units={"deals": "deals", "amount": "money", "share": "rate", "unknown_amount": "deals"})
def composition(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    accounts: ir.Table | None = None,
    reps: ir.Table | None = None,
    teams: ir.Table | None = None,
    *,
    as_of: dt.date,
    settings: Settings,
    by: str = "due",
) -> pd.DataFrame:
    """The open pipeline at a date, by when it is due or by any dimension.

    One row per group of ``by`` (comma-separated dimensions, as ``funnel.win_rate`` takes them), over the
    deals that are neither closed nor deleted at the end of ``as_of``, with the stage, amount, owner, team,
    forecast category and close date that they had then. The dimension ``due`` is the quarter of the close
    date, seen from ``as_of``: ``overdue`` (a close date before ``as_of``, in whichever quarter), ``this``
    fiscal quarter, the ``next``, ``later``, or ``undated``.

    Columns: the dimensions; ``deals``; ``amount`` in base currency; ``share`` (0-1) of the amount of all
    rows; ``unknown_amount``, the deals without an amount, which count as 0 and are noted. By ``owner_id``
    ``rep_name`` stands beside it where the reps are known. Groups are sorted: ``due`` as listed above,
    stages in the order of the process, others by name; a dimension without a value is ``(none)``.

    By ``due`` alone the table has always its five rows; otherwise a group without an open deal has none,
    and an empty pipeline gives no row. ``share`` is missing where all amounts sum to zero. Raises
    :class:`InputError` for an unknown dimension.
    """
    states = known_states(opportunity_states, as_of)
    states = states.filter(is_open(states))
    states = states.mutate(due=_due(states.close_date, as_of, settings))
    tables = tables_by_name(states, opportunities, accounts, reps, teams)
    dimensions = parse_by(by, tables)
    names = [dimension.name for dimension in dimensions]
    keys = [dimension.column_in_rows for dimension in dimensions]
    rows = join_dimensions(states, dimensions, tables)
    sums = {
        "deals": rows.count(),
        "amount": rows.amount.sum(),
        "unknown_amount": rows.amount.isnull().sum(),
        "stage_position": rows.stage_position.min(),
    }
    frame = collect(rows.group_by(keys).aggregate(**sums) if keys else rows.aggregate(**sums))
    frame = floats(frame, ["amount", "unknown_amount"]).astype(dict.fromkeys(_COUNTS, "int64"))
    frame = label_groups(frame, dimensions, settings)
    if names:
        whole = frame.groupby(names, as_index=False, dropna=False, sort=False)
        frame = whole.agg({"deals": "sum", "amount": "sum", "unknown_amount": "sum", "stage_position": "min"})
    if names == ["due"]:
        frame = frame.set_index("due").reindex(list(DUE)).rename_axis("due").reset_index()
        frame[["deals", "amount", "unknown_amount"]] = frame[["deals", "amount", "unknown_amount"]].fillna(0)
        frame = frame.astype(dict.fromkeys(_COUNTS, "int64"))
    frame["share"] = ratio(frame["amount"], frame["amount"].sum())
    result = _in_order(frame, names)[[*names, "deals", "amount", "share", "unknown_amount"]]
    result = with_rep_names(result, reps)
    result.attrs["notes"] = unknown_amounts(int(result["unknown_amount"].sum()))
    return result


def unknown_amounts(count: int) -> list[str]:
    """The note on open deals whose amount is not known; none when there is no such deal."""
    if not count:
        return []
    text = ngettext(
        "{count} open deal has no amount and counts as 0.",
        "{count} open deals have no amount and count as 0.",
        count,
    )
    return [text.format(count=count)]


def _due(close_date: ir.Value, as_of: dt.date, settings: Settings) -> ir.StringValue:
    this = settings.fiscal.quarter_of(as_of)
    following = settings.fiscal.next(this)
    return ibis.cases(
        (close_date.isnull(), "undated"),
        (close_date < ibis.literal(as_of), "overdue"),
        (close_date < ibis.literal(this.end), "this"),
        (close_date < ibis.literal(following.end), "next"),
        else_="later",
    )


def _in_order(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Rows by their groups, with due dates and stages in their own order."""
    order = []
    for name in names:
        if name == "due":
            frame = frame.assign(due_order=frame["due"].map({due: place for place, due in enumerate(DUE)}))
            order.append("due_order")
        else:
            order += ["stage_position", name] if name == "stage" else [name]
    return sort_groups(frame, order)


@table(
    units={
        **dict.fromkeys(["due_deals", "won_deals", "open_deals"], "deals"),
        **dict.fromkeys(["due_amount", "won_amount", "open_amount"], "money"),
    }
)
def by_week(
    opportunity_states: ir.Table,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
) -> pd.DataFrame:
    """The pipeline of the quarter week by week, beside the quarter before and the one a year ago.

    One row per ``series`` (``this``, ``previous`` and ``year_ago``) and ``week`` of its ``quarter``,
    as it stood at the end of ``day``: week 0 is the day before the quarter, the others end with the
    fiscal week; the week of ``as_of`` ends with ``as_of``, and in the other two series as many days into
    the quarter, so that the same week is always seen from the same distance. Later weeks of this quarter
    have no row, those of the other quarters have.

    ``due_deals`` and ``due_amount``: open then, with a close date in the series' quarter as it was set
    then. ``won_deals`` and ``won_amount``: won by then, with a close date in the quarter. ``open_deals``
    and ``open_amount``: all that was open, whenever due. Base currency; an unknown amount counts as 0.
    Days before the first that the history knows have no row, so a young data set may lack a series.
    """
    this = current_quarter(as_of, period, settings)
    quarters = {
        "this": this,
        "previous": settings.fiscal.previous(this),
        "year_ago": settings.fiscal.year_ago(this),
    }
    known_from = first_known_day(opportunity_states)
    grid = [
        (series, quarter.label, week, day)
        for series, quarter in quarters.items()
        for week, day in _week_ends(quarter, this, as_of, settings)
        if known_from is not None and day >= known_from
    ]
    if not grid:
        return pd.DataFrame([], columns=_WEEK)
    flows = _flows(opportunity_states, quarters, min(row[3] for row in grid), max(row[3] for row in grid))
    stocks = [_stock(flows, series, is_open) for series, is_open in _kinds()]
    rows = []
    for series, label, week, day in grid:
        figures: list[float] = []
        for kind in ((series, True), (series, False), ("", True)):
            days, sums = stocks[_kinds().index(kind)]
            deals, amount = sums[np.searchsorted(days, np.datetime64(day), side="right")]
            figures += [int(deals), round(float(amount), 4) + 0.0]
        rows.append((series, label, week, day, *figures))
    return pd.DataFrame(rows, columns=_WEEK)


def _kinds() -> list[tuple[str, bool]]:
    """What is followed: open and won per series, and all that is open."""
    return [*((series, is_open) for series in SERIES for is_open in (True, False)), ("", True)]


def _stock(flows: pd.DataFrame, series: str, is_open: bool) -> tuple[np.ndarray, np.ndarray]:
    """The days of a kind of flow in order, and deals and amount after none, one, two... of them."""
    chosen = flows["is_open"].to_numpy() == is_open
    if series:
        chosen &= flows["series"].to_numpy() == series
    kept = flows[chosen]
    sums = kept[["deals", "amount"]].to_numpy(float).cumsum(axis=0)
    return kept["day"].to_numpy("datetime64[D]"), np.vstack([np.zeros((1, 2)), sums])


def _week_ends(
    quarter: Period, this: Period, as_of: dt.date, settings: Settings
) -> list[tuple[int, dt.date]]:
    """Each week of a quarter with the day at whose end it is seen; week 0 is the day before."""
    elapsed = (as_of - this.start).days
    days = [(0, quarter.start - DAY)]
    for number, week in enumerate(settings.fiscal.weeks(quarter), start=1):
        begins, ends = (week.start - quarter.start).days, (week.last_day - quarter.start).days
        holds_as_of = begins <= elapsed < ends and as_of < this.last_day
        if quarter == this and elapsed < begins:
            break
        days.append((number, quarter.start + DAY * (elapsed if holds_as_of else ends)))
    return days


def _flows(states: ir.Table, quarters: dict[str, Period], first: dt.date, last: dt.date) -> pd.DataFrame:
    """What came into and went out of the pipeline per day, so that a running sum is what was in it.

    One scan of the history serves any number of days, where a look at each would need one of its own.
    """
    ended_before = is_true(states.valid_to_date <= ibis.literal(first))
    kept = states.filter(
        ~ended_before & (states.valid_from_date <= ibis.literal(last)) & ~is_true(states.is_deleted)
    )
    is_won = is_true(kept.is_closed) & is_true(kept.is_won)
    due = ibis.cases(
        *((falls_in(kept.close_date, quarter), series) for series, quarter in quarters.items()), else_=""
    )
    kept = kept.mutate(is_open=is_open(kept), series=due)
    kept = kept.filter(kept.is_open | (is_won & (kept.series != "")))
    keys = ["series", "is_open", "day"]
    begun = kept.mutate(day=ibis.greatest(kept.valid_from_date, ibis.literal(first)))
    ended = kept.filter(is_true(kept.valid_to_date <= ibis.literal(last)))
    ended = ended.mutate(day=ended.valid_to_date)
    parts = [
        part.group_by(keys).aggregate(
            deals=(part.count() * sign).cast("int64"), amount=part.amount.sum() * sign
        )
        for part, sign in ((begun, 1), (ended, -1))
    ]
    frame = floats(collect(parts[0].union(parts[1])), ["amount"])
    frame["day"] = pd.to_datetime(frame["day"])
    frame["is_open"] = frame["is_open"].astype(np.bool_)
    return frame.sort_values("day", ignore_index=True)
