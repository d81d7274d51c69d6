"""Deals as they were known at the end of a day, with what their history says of their close dates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection

import ibis
import ibis.expr.types as ir

from salesops_kit.data.as_of import pipeline_at
from salesops_kit.data.predicates import is_true

# What a state says of a deal as of the day, and is kept of it.
OF_STATES = (
    "opportunity_id", "team", "owner_id", "pipeline", "stage", "stage_position", "is_closed", "is_won",
    "amount", "currency", "close_date", "forecast_category", "stage_since_date", "reached_position",
)  # fmt: skip
OF_HISTORY = ("pushes", "first_close_date", "least_close_date", "most_close_date")


def deals_at(
    states: ir.Table, opportunities: ir.Table | None, day: dt.date, columns: Collection[str]
) -> ir.Table:
    """One row per deal that was not deleted at the end of ``day``: its state, and others of its columns.

    ``columns`` are those of the deals that are wanted, as they are now; what a state tells is as it was on
    the day, and what the data lacks is left out. Adds, for open deals, ``pushes`` (moves of the close date
    to a later month, between the ends of two days, made while the deal was open and in one team) and
    ``first_close_date``, ``least_close_date`` and ``most_close_date`` among those it had at the end of a
    day; and ``first_seen_date``, the business date of its first recorded change (missing where another
    team had the deal then).
    """
    known = pipeline_at(states, day)
    kept = {name: known[name] for name in OF_STATES if name in known.columns}
    facts = close_date_facts(states, known.filter(~is_true(known.is_closed)), day)
    begun = states.filter(states.state_no == 0).select(
        begun_id="opportunity_id", first_seen_date="valid_from_date"
    )
    rows = known.select(**kept)
    rows = rows.left_join(facts, rows.opportunity_id == facts.fact_id)
    rows = rows.left_join(begun, rows.opportunity_id == begun.begun_id)
    more = []
    if opportunities is not None:
        more = [n for n in opportunities.columns if n in columns and n not in (*kept, "opportunity_id")]
        deals = opportunities.select(
            deal_id="opportunity_id", **{f"deal_{n}": opportunities[n] for n in more}
        )
        rows = rows.left_join(deals, rows.opportunity_id == deals.deal_id)
    return rows.select(*kept, *OF_HISTORY, "first_seen_date", **{name: rows[f"deal_{name}"] for name in more})


def close_date_facts(states: ir.Table, of: ir.Table, day: dt.date) -> ir.Table:
    """How the close dates of the deals in ``of`` moved until ``day``, by ``fact_id``."""
    rows = states.semi_join(of, "opportunity_id")
    begins = (rows.entry != "continued").cast("int32")
    so_far = ibis.window(group_by=rows.opportunity_id, order_by=rows.state_no, preceding=None, following=0)
    rows = rows.mutate(stay=begins.sum().over(so_far))
    lasts_a_day = rows.valid_to_date.isnull() | (rows.valid_to_date > rows.valid_from_date)
    is_dated = ~is_true(rows.is_closed) & ~is_true(rows.is_deleted) & rows.close_date.notnull()
    rows = rows.filter((rows.valid_from_date <= ibis.literal(day)) & lasts_a_day & is_dated)
    ordered = ibis.window(group_by=rows.opportunity_id, order_by=rows.state_no)
    before, stay_before = rows.close_date.lag().over(ordered), rows.stay.lag().over(ordered)
    months = _month(rows.close_date) - _month(before)
    rows = rows.mutate(is_push=is_true((months > 0) & (stay_before == rows.stay)), is_first=before.isnull())
    return rows.group_by(fact_id=rows.opportunity_id).aggregate(
        pushes=rows.is_push.sum().cast("int64"),
        first_close_date=rows.close_date.min(where=rows.is_first),
        least_close_date=rows.close_date.min(),
        most_close_date=rows.close_date.max(),
    )


def _month(date: ir.Value) -> ir.IntegerValue:
    return date.year() * 12 + date.month()
