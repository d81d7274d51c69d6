"""Pushes: how often the close dates of deals were moved to a later month."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.analysis.pipeline._quarters import current_quarter, floats
from salesops_kit.data.deals import close_date_facts
from salesops_kit.data.engine import collect
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.dimensions import (
    join_dimensions,
    label_groups,
    parse_by,
    sort_groups,
    tables_by_name,
)
from salesops_kit.estimators.intervals import ratio, wilson
from salesops_kit.estimators.outcomes import excluded_reasons, missing_reason_note
from salesops_kit.estimators.rep_names import with_rep_names
from salesops_kit.estimators.states import days_between, falls_in, is_open, is_true, known_states
from salesops_kit.language import ngettext
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings

MANY = 3
_RESULT = ["pushes", "open_deals", "open_amount", "won", "lost", "win_rate", "low", "high"]
_DEALS = [
    "opportunity_id", "name", "owner_id", "team", "pipeline", "stage", "amount", "pushes", "days_moved",
    "first_close_date", "close_date",
]  # fmt: skip


@table(
    units={
        **dict.fromkeys(["open_deals", "won", "lost"], "deals"),
        "open_amount": "money",
        **dict.fromkeys(["win_rate", "low", "high"], "rate"),
    }
)
def pushes(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    accounts: ir.Table | None = None,
    reps: ir.Table | None = None,
    teams: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    by: str = "",
) -> pd.DataFrame:
    """Deals by how often they were pushed: their close date moved to a later calendar month.

    Four rows per group of ``by``: ``pushes`` 0, 1, 2 and ``3+``. A push is a change between the ends of two
    days, made while the deal was open and in one team; what was changed and changed back within a day is
    none, and a team does not see the pushes of a team that had the deal before. ``open_deals`` and
    ``open_amount`` (base currency, an unknown amount counting as 0): open at the end of ``as_of``. ``won``
    and ``lost``: closed then with a close date in the period (without a period, ever), duplicates and deals
    entered in error left out. ``win_rate`` (0-1) is won / (won + lost) with 95 % Wilson limits ``low`` and
    ``high``, missing where both are 0. The closing itself is no push, whatever date it sets.

    Raises :class:`InputError` for an unknown dimension.
    """
    tables = tables_by_name(opportunity_states, opportunities, accounts, reps, teams)
    dimensions = parse_by(by, tables)
    names = [dimension.name for dimension in dimensions]
    reasons = excluded_reasons(opportunities, settings)
    known = known_states(opportunity_states, as_of)
    known = known.filter(is_open(known) | falls_in(known.close_date, period))
    rows = join_dimensions(known, dimensions, tables, ["loss_reason"] if reasons else [])
    if reasons:
        rows = rows.filter(is_open(rows) | is_true(rows.is_won) | ~is_true(rows.loss_reason.isin(reasons)))
    keys = [dimension.column_in_rows for dimension in dimensions]
    rows = rows.select("opportunity_id", "amount", "is_won", *keys, still_open=is_open(rows))
    counted = close_date_facts(opportunity_states, known, as_of)
    joined = rows.left_join(counted, rows.opportunity_id == counted.fact_id)
    joined = joined.mutate(pushes=ibis.least(joined.pushes.fill_null(0), MANY))
    won = ~joined.still_open & is_true(joined.is_won)
    sums = joined.group_by([*keys, "pushes"]).aggregate(
        open_deals=joined.still_open.sum(),
        open_amount=joined.amount.sum(where=joined.still_open),
        won=won.sum(),
        lost=(~joined.still_open & ~won).sum(),
    )
    numbers = ["open_deals", "open_amount", "won", "lost"]
    frame = label_groups(floats(collect(sums), numbers), dimensions, settings)
    frame = frame.groupby([*names, "pushes"], as_index=False, dropna=False, sort=False)[numbers].sum()
    every = pd.DataFrame({"pushes": range(MANY + 1)})
    if names:
        every = frame[names].drop_duplicates().merge(every, how="cross")
    frame = every.merge(frame, on=[*names, "pushes"], how="left").fillna(dict.fromkeys(numbers, 0.0))
    frame = sort_groups(frame, [*names, "pushes"])
    frame = frame.astype(dict.fromkeys(["open_deals", "won", "lost"], "int64"))
    closed = frame["won"] + frame["lost"]
    frame["win_rate"] = ratio(frame["won"], closed)
    frame["low"], frame["high"] = wilson(frame["won"], closed)
    frame["pushes"] = [f"{count}+" if count == MANY else str(count) for count in frame["pushes"]]
    result = with_rep_names(frame[[*names, *_RESULT]], reps)
    reasons_known = opportunities is not None and "loss_reason" in opportunities.columns
    result.attrs["notes"] = missing_reason_note(reasons_known)
    return result


@table(units={"amount": "money", "days_moved": "days", "close_date": "date", "first_close_date": "date"})
def pushed_deals(
    opportunity_states: ir.Table,
    opportunities: ir.Table | None = None,
    reps: ir.Table | None = None,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    at_least: int = MANY,
    in_period: bool = False,
    top: int = 200,
) -> pd.DataFrame:
    """The open deals whose close date was pushed three times or more.

    One row per deal that is open at the end of ``as_of`` and was pushed ``at_least`` times (a push as in
    ``pushes``), the largest amount first; ``in_period`` keeps those due in the report's quarter. At most
    ``top`` rows, the rest being counted in a note. Columns: ``opportunity_id``, ``name`` (where deals have
    one), ``owner_id`` with ``rep_name``, ``team``, ``pipeline``, ``stage``, ``amount`` (base currency,
    missing where unknown), ``pushes``, ``first_close_date`` (the first that the team saw), ``close_date`` and
    ``days_moved`` between the two. Raises :class:`InputError` when ``at_least`` or ``top`` is below 1.
    """
    wrong = [
        Problem("a number below 1", column=name, expected="1 or more", got=str(value))
        for name, value in (("at_least", at_least), ("top", top))
        if value < 1
    ]
    if wrong:
        raise InputError(wrong)
    known = known_states(opportunity_states, as_of)
    known = known.filter(is_open(known))
    if in_period:
        known = known.filter(falls_in(known.close_date, current_quarter(as_of, period, settings)))
    counted = close_date_facts(opportunity_states, known, as_of)
    counted = counted.filter(counted.pushes >= at_least)
    rows = known.inner_join(counted, known.opportunity_id == counted.fact_id)
    rows = rows.mutate(days_moved=days_between(rows.close_date, rows.first_close_date))
    has_name = opportunities is not None and "name" in opportunities.columns
    tables = {"opportunity_states": opportunity_states, "opportunities": opportunities}
    rows = join_dimensions(rows, (), tables, ["name"] if has_name else [])
    columns = [name for name in _DEALS if name != "name" or has_name]
    rows = rows.select(*columns, found=rows.count().over(ibis.window()))
    order = [ibis.coalesce(rows.amount, 0).desc(), rows.pushes.desc(), rows.opportunity_id]
    result = collect(rows.order_by(order).limit(top))
    hidden = (int(result["found"].iloc[0]) if len(result) else 0) - len(result)
    result = result[columns]
    result["amount"] = result["amount"].astype("float64")
    result = with_rep_names(result, reps)
    if hidden > 0:
        text = ngettext("{count} more deal is not listed.", "{count} more deals are not listed.", hidden)
        result.attrs["notes"] = [text.format(count=hidden)]
    return result
