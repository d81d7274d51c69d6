"""The fiscal quarters or months that cohorts are made of, and where a date or an instant falls in them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from salesops_kit.data.as_of import midnight
from salesops_kit.errors import InputError, Problem
from salesops_kit.periods import DAY, Period
from salesops_kit.settings import Settings

Grain = Literal["quarter", "month"]
DAYS_IN_MONTH = 365.25 / 12


def cohort_periods(
    as_of: dt.date, period: Period | None, settings: Settings, grain: Grain, how_many: int
) -> list[Period]:
    """The last ``how_many`` fiscal quarters or months up to the end of the period, or to ``as_of``.

    >>> quarters = cohort_periods(dt.date(2026, 5, 1), None, Settings(), "quarter", 2)
    >>> [quarter.label for quarter in quarters]
    ['2026-Q1', '2026-Q2']
    """
    if how_many < 1:
        raise InputError(Problem("no cohort", column="how_many", expected="1 or more", got=str(how_many)))
    last = as_of if period is None else min(as_of, period.last_day)
    fiscal = settings.fiscal
    found = [fiscal.quarter_of(last) if grain == "quarter" else fiscal.month_of(last)]
    while len(found) < how_many:
        found.insert(0, fiscal.previous(found[0]))
    return found


def ages(months: int) -> list[int]:
    """The ages of one to ``months`` months in days, a month being a twelfth of 365.25 days.

    >>> ages(4)
    [30, 61, 91, 122]
    """
    if months < 1:
        raise InputError(Problem("no age", column="months", expected="1 or more", got=str(months)))
    return [round(month * DAYS_IN_MONTH) for month in range(1, months + 1)]


def place_of_date(date: ir.Value, periods: Sequence[Period]) -> ir.IntegerValue:
    """The number of the period that holds a business date, from 0; null outside of all of them.

    The periods follow each other without a gap.
    """
    return _place(date, [period.start for period in periods], periods[-1].end)


def place_of_instant(instant: ir.Value, periods: Sequence[Period], zone: str) -> ir.IntegerValue:
    """The number of the period that holds an instant, by the clocks of the business zone."""
    starts = [midnight(period.start, zone) for period in periods]
    return _place(instant, starts, midnight(periods[-1].end, zone))


def end_of_day(day: dt.date, zone: str) -> dt.datetime:
    """The instant at which a business date is over."""
    return midnight(day + DAY, zone)


def _place(
    value: ir.Value, starts: Sequence[dt.date | dt.datetime], end: dt.date | dt.datetime
) -> ir.IntegerValue:
    later = [(value >= ibis.literal(end), ibis.null("int64"))]
    held = [(value >= ibis.literal(start), ibis.literal(n, "int64")) for n, start in enumerate(starts)]
    return ibis.cases(*later, *reversed(held), else_=ibis.null("int64"))


def values_at(
    table: pd.DataFrame, columns: Sequence[str], rows: pd.DataFrame, ages: pd.Series, by: Sequence[str]
) -> pd.DataFrame:
    """For each row, the table's values of its group at the highest age not above the row's; missing before.

    >>> curve = pd.DataFrame({"cohort": [0, 0, 1], "age": [5, 9, 2], "share": [0.1, 0.4, 0.3]})
    >>> rows = pd.DataFrame({"cohort": [0, 0, 1]})
    >>> values_at(curve, ["share"], rows, pd.Series([4, 9, 30]), ["cohort"])["share"].tolist()
    [nan, 0.4, 0.3]
    """
    both = pd.concat([table[list(by)], rows[list(by)]], ignore_index=True)
    group = both.groupby(list(by), dropna=False, sort=False).ngroup().to_numpy()
    # One number for group and age; ages begin at -1.
    highest = max(table["age"].max() if len(table) else 0, ages.max() if len(ages) else 0)
    wide = int(highest) + 3
    places = group[: len(table)] * wide + table["age"].to_numpy(int) + 1
    wanted = group[len(table) :]
    order = np.argsort(places)
    found = np.searchsorted(places[order], wanted * wide + ages.to_numpy(int) + 1, side="right") - 1
    is_known = found >= 0
    is_known[is_known] = places[order][found[is_known]] // wide == wanted[is_known]
    result = pd.DataFrame(np.nan, index=rows.index, columns=list(columns))
    result[is_known] = table[list(columns)].to_numpy(float)[order[found[is_known]]]
    return result
