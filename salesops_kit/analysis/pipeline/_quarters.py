"""The quarters that a pipeline table looks at, as periods and as columns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd

from salesops_kit.data.engine import collect
from salesops_kit.errors import InputError, Problem
from salesops_kit.estimators.states import is_true
from salesops_kit.periods import Period
from salesops_kit.settings import Settings

DAY = dt.timedelta(days=1)


def current_quarter(as_of: dt.date, period: Period | None, settings: Settings) -> Period:
    """The period of the report; without one, the fiscal quarter of ``as_of``."""
    return period or settings.fiscal.quarter_of(as_of)


def trailing_quarters(last: Period, count: int, settings: Settings, option: str = "quarters") -> list[Period]:
    """``count`` quarters in order, of which ``last`` is the last one.

    Raises :class:`InputError` naming ``option`` when the count is below 1.
    """
    if count < 1:
        raise InputError(Problem("no quarter", column=option, expected="1 or more", got=str(count)))
    quarters = [last]
    while len(quarters) < count:
        quarters.insert(0, settings.fiscal.previous(quarters[0]))
    return quarters


def span(quarters: Sequence[Period]) -> Period:
    """The days from the first quarter's first to the last one's last."""
    return Period(quarters[0].start, quarters[-1].end, "")


def quarter_number(date: ir.Value, quarters: Sequence[Period]) -> ir.IntegerValue:
    """The position in ``quarters`` of the one that holds a date; null for dates in none of them.

    The quarters follow each other without a gap.
    """
    inside = is_true((date >= ibis.literal(quarters[0].start)) & (date < ibis.literal(quarters[-1].end)))
    branches = [(date < ibis.literal(quarter.end), place) for place, quarter in enumerate(quarters)]
    return ibis.cases((inside, ibis.cases(*branches)))


def day_of_quarter(number: ir.Value, days: Sequence[dt.date]) -> ir.DateValue:
    """The day that belongs to a quarter's position."""
    return ibis.cases(*((number == place, ibis.literal(day)) for place, day in enumerate(days)))


def holds_on(states: ir.Table, day: ir.Value) -> ir.BooleanValue:
    """Whether the row is the deal's state at the end of a day that the row itself names."""
    return (states.valid_from_date <= day) & (states.valid_to_date.isnull() | (states.valid_to_date > day))


def first_known_day(states: ir.Table) -> dt.date | None:
    """The first day that the history knows of; None when it is empty."""
    first = collect(states.aggregate(first=states.valid_from_date.min()))["first"].iloc[0]
    return None if pd.isna(first) else pd.Timestamp(first).date()


def floats(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The frame with sums as float64, a sum over no row being 0."""
    types: dict[str, Any] = dict.fromkeys(columns, "float64")
    return frame.astype(types).fillna(dict.fromkeys(columns, 0.0))
