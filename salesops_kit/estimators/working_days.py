"""Working days: counted, and found, without weekends and the dataset's holidays."""

from __future__ import annotations

import datetime as dt
from typing import get_args

import numpy as np

from salesops_kit.errors import InputError, Problem
from salesops_kit.periods import Period, Weekday
from salesops_kit.settings import Settings

_DAY = dt.timedelta(days=1)


def working_calendar(settings: Settings) -> np.busdaycalendar:
    """The working week and holidays of a dataset, for numpy's business-day functions.

    Raises :class:`InputError` when the weekend holds all seven days.
    """
    works = [day not in settings.weekend for day in get_args(Weekday)]
    if not any(works):
        raise InputError(Problem("no working day is left", file="settings", column="weekend"))
    return np.busdaycalendar(weekmask=works, holidays=[np.datetime64(day) for day in settings.holidays])


def working_days(first: dt.date, end: dt.date, calendar: np.busdaycalendar) -> int:
    """The number of working days from ``first`` up to, and without, ``end``.

    >>> working_days(dt.date(2026, 7, 3), dt.date(2026, 7, 7), working_calendar(Settings()))
    2
    """
    return int(np.busday_count(first, max(first, end), busdaycal=calendar))


def elapsed(period: Period, calendar: np.busdaycalendar) -> np.ndarray:
    """The working days that have passed at the end of each day of the period, one number per day."""
    days = np.arange(np.datetime64(period.start), np.datetime64(period.end))
    return np.cumsum(np.is_busday(days, busdaycal=calendar))


def same_working_day(day: dt.date, period: Period, other: Period, calendar: np.busdaycalendar) -> dt.date:
    """The day of ``other`` with as many working days behind it as ``day`` has in ``period``.

    That is the working day of the same number; before the first working day, the day as far in. Once
    ``period`` is over, or where ``other`` has fewer working days, it is the last day of ``other``.
    """
    number = working_days(period.start, day + _DAY, calendar)
    passed = elapsed(other, calendar)
    if day >= period.last_day or number > passed[-1]:
        return other.last_day
    if number == 0:
        return min(other.start + (day - period.start), other.last_day)
    return other.start + _DAY * int(np.searchsorted(passed, number))
