"""Rows of ``opportunity_states`` as of a date, as engine expressions for DuckDB, PostgreSQL and Spark."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir

from salesops_kit.data.engine import shared
from salesops_kit.data.predicates import is_true
from salesops_kit.periods import Period

_DAY_SECONDS = 86_400
# What tells when a state was and what followed it; the column is of no use in a deal's one known state.
_WHEN = frozenset(
    {"valid_from_at", "valid_to_at", "valid_to_date", "exit"}
    | {"next_stage", "next_position", "next_is_closed", "next_is_won"}
)


def days_between(later: ir.Value, earlier: ir.Value) -> ir.IntegerValue:
    """Whole days from ``earlier`` to ``later``, two business dates.

    Half a day is added before dividing, so that an engine which reads a date as local midnight still
    counts whole days across a change of the clocks.
    """
    seconds = later.cast("timestamp").epoch_seconds() - earlier.cast("timestamp").epoch_seconds()
    return ((seconds + _DAY_SECONDS // 2) // _DAY_SECONDS).cast("int64")


def is_open(states: ir.Table) -> ir.BooleanValue:
    """Neither closed nor deleted."""
    return ~is_true(states.is_closed) & ~is_true(states.is_deleted)


def at_end_of(states: ir.Table, day: dt.date) -> ir.BooleanValue:
    """Whether the row is the deal's state at the end of ``day``."""
    date = ibis.literal(day)
    return (states.valid_from_date <= date) & (states.valid_to_date.isnull() | (states.valid_to_date > date))


def known_states(states: ir.Table, as_of: dt.date) -> ir.Table:
    """One row per deal: its state at the end of ``as_of``; deleted deals left out.

    Columns that tell how long the state lasted or what followed it are left out too: none of it was
    known at the time, but for the day on which it began.
    """
    rows = states.filter(at_end_of(states, as_of) & ~is_true(states.is_deleted))
    return shared(rows.select(*(name for name in rows.columns if name not in _WHEN)))


def falls_in(date: ir.Value, period: Period | None) -> ir.BooleanValue:
    """Whether a date lies in the period; without a period every row does, also one with no date."""
    if period is None:
        return ibis.literal(value=True)
    inside = (date >= ibis.literal(period.start)) & (date < ibis.literal(period.end))
    return is_true(inside)


def observation(
    states: ir.Table, since: ir.Value, event: ir.BooleanValue, start: dt.date | None, last: dt.date
) -> ir.Table:
    """The stretches of days under observation as counting-process records, with ages from ``since``.

    Adds ``entry_age`` (exclusive; -1 when observed from the first day), ``exit_age`` (inclusive),
    ``is_event`` (``event`` holds and happened by ``last``) and ``is_still_so`` (unchanged at the end of
    ``last``). ``start`` truncates on the left: only days from it on count. Rows outside the window are
    left out, and so are rows that were replaced on day 0 without an event: the row that replaced them
    is itself observed from the first day, and would be counted twice. The day on which a deal changes
    teams counts in the team that takes it over, so that what happens later that day is seen there.
    """
    final = ibis.literal(last)
    begins, ends = states.valid_from_date, states.valid_to_date
    has_ended = is_true(ends <= final)
    happened = has_ended & is_true(event)
    keep = (begins <= final) & ~(has_ended & ~happened & is_true(ends == since))
    takes_day = (begins == since) | (states.entry == "transferred")
    begin_age = days_between(begins, since) - ibis.cases((takes_day, 1), else_=0)
    if start is not None:
        first = ibis.literal(start)
        keep &= ends.isnull() | (ends >= first)
        begin_age = ibis.greatest(begin_age, days_between(first, since) - 1)
    # A day on which nothing more could be seen is no day at risk: an open row ends with `last` itself.
    end_age = days_between(ibis.cases((has_ended, ends), else_=final), since)
    end_age -= ibis.cases((has_ended & is_true(states.exit == "transferred"), 1), else_=0)
    return states.mutate(
        entry_age=ibis.greatest(begin_age, -1),
        exit_age=ibis.greatest(end_age, 0),
        is_event=happened,
        is_still_so=~has_ended,
    ).filter(keep)
