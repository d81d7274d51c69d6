"""The pipeline waterfall: what happened to the open pipeline of a period between two dates."""

from __future__ import annotations

import datetime as dt

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.data.record import RECORDED, Record
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.waterfall import waterfall_between
from salesops_kit.periods import Period
from salesops_kit.registry import table
from salesops_kit.settings import Settings


@table(units={"amount": "money", "deals": "deals"})
def waterfall(
    opportunity_states: ir.Table,
    *,
    as_of: dt.date,
    period: Period | None,
    settings: Settings,
    record: Record = RECORDED,
    start: str = "",
) -> pd.DataFrame:
    """What moved the open pipeline due in the period from the start of one day to the end of another.

    Thirteen rows, always and in this order, with ``step``, signed ``amount`` in base currency and
    ``deals``: ``opening``; ``created`` (at the amount they had in the end), ``pulled_in`` (due date moved
    into the period) and ``transferred_in`` from another team, both at the amount they came with; ``up``
    (amount raised); ``reopened`` after being closed or deleted; ``won`` and ``lost`` at the amount they
    had in the end; ``pushed`` (due date moved out) and ``removed`` (deleted) at the amount they began
    with; ``transferred_out``; ``down`` (amount lowered); ``closing``. Opening and all steps sum to
    closing exactly, in money and in deals (``up`` and ``down`` move no deals); else
    :class:`SalesOpsError` is raised.

    Opening is the state at the start of the day ``start`` (ISO date; empty: the first day of the
    period, without a period that of the fiscal quarter of ``as_of``), closing the state at the end of
    ``as_of``. Only deals whose close date lies in the period count; without a period all do. A deal's
    stay in one team is what is followed, so that the waterfalls of teams sum to the company's line by
    line. A deal won or lost counts when it was in the pipeline before, or when its close date lies in
    the period. What comes and goes between the two dates unseen by both (created and pushed out, closed
    twice) is no step.

    An unknown amount counts as 0, and the number of such deals is noted. Raises :class:`InputError`
    when ``start`` is no date or comes after ``as_of``.

    Raises :class:`NotAvailableError` where the data has no history of close dates since then.
    """
    first = _first_day(start, as_of, period, settings)
    record.need_changes(first)
    result = waterfall_between(opportunity_states, first, as_of, period)
    result.attrs.update(start=first.isoformat(), as_of=as_of.isoformat())
    return result


def _first_day(start: str, as_of: dt.date, period: Period | None, settings: Settings) -> dt.date:
    if not start:
        first = (period or settings.fiscal.quarter_of(as_of)).start
    else:
        try:
            first = dt.datetime.strptime(start, "%Y-%m-%d").date()  # noqa: DTZ007 - a date has no zone
        except ValueError:
            raise InputError(
                Problem(
                    "the start is no date", column="start", expected="a date such as 2026-07-01", got=start
                )
            ) from None
    if first > as_of:
        raise InputError(
            Problem(
                "the waterfall would end before it starts",
                column="start",
                expected=f"a day up to {as_of.isoformat()}, the as-of date",
                got=first.isoformat(),
            )
        )
    return first
