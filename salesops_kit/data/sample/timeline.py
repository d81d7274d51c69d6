"""The sample's clock: a whole-number axis of business seconds, its dates, instants and quarters."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

ZONE = "America/New_York"
FISCAL_START_MONTH = 2
EPOCH = dt.date(1970, 1, 1)
ORIGIN = dt.date(2023, 5, 1)  # a Monday, so that business days are plain arithmetic
TICKS = 36_000  # per business day; one tick is one second until EVENING
EVENING = 34_200
EVENING_STRETCH = 11
OPENS_AT = 30_600
DAY_SECONDS = 86_400


def day_number(day: dt.date) -> int:
    """Days since 1970-01-01."""
    return (day - EPOCH).days


def day_of(number: int) -> dt.date:
    """The date that is ``number`` days after 1970-01-01."""
    return EPOCH + dt.timedelta(days=int(number))


ORIGIN_DAY = day_number(ORIGIN)


def day_from_ticks(ticks: Ints) -> Ints:
    """The business date of each tick, as days since 1970; always Monday to Friday."""
    business = ticks // TICKS
    return ORIGIN_DAY + 7 * (business // 5) + business % 5


def ticks_from_day(days: Ints) -> Ints:
    """The first tick of each day; a weekend day gives the Monday after it."""
    since = days - ORIGIN_DAY
    return (5 * (since // 7) + np.minimum(since % 7, 5)) * TICKS


def local_second(ticks: Ints) -> Ints:
    """Second of the local day: 8:30 to 18:00, and for the last twentieth of the ticks until 23:30."""
    second = ticks % TICKS
    late = second - EVENING
    return OPENS_AT + np.where(late < 0, second, EVENING + late * EVENING_STRETCH)


@lru_cache(maxsize=1)
def _utc_offsets() -> tuple[int, Ints]:
    """Seconds to add to local time to get UTC, per day; no clock changes between 8:30 and 23:30."""
    zone = zoneinfo.ZoneInfo(ZONE)
    first = dt.date(2022, 1, 1)
    offsets = []
    for ahead in range(366 * 7):
        noon = dt.datetime.combine(first + dt.timedelta(days=ahead), dt.time(12), tzinfo=zone)
        offset = noon.utcoffset()
        assert offset is not None
        offsets.append(-int(offset.total_seconds()))
    return day_number(first), np.array(offsets, dtype=np.int64)


def instant(days: Ints, seconds: Ints) -> Ints:
    """UTC seconds since 1970 of a local day and second of day."""
    first, offsets = _utc_offsets()
    return days * DAY_SECONDS + seconds + offsets[np.clip(days - first, 0, len(offsets) - 1)]


def end_of_day(day: int) -> int:
    """UTC seconds since 1970 of the end of a local day, counted from that day's own noon.

    >>> end_of_day(day_number(dt.date(2026, 10, 31))) - day_number(dt.date(2026, 11, 1)) * DAY_SECONDS
    14400
    """
    return int(instant(np.array([day]), np.array([DAY_SECONDS]))[0])


def instant_from_ticks(ticks: Ints) -> Ints:
    """UTC seconds since 1970 of each tick."""
    return instant(day_from_ticks(ticks), local_second(ticks))


def month_from_day(days: Ints) -> Ints:
    """Months since January 1970."""
    return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)


def day_from_month(months: Ints) -> Ints:
    """The first day of each month, as days since 1970."""
    return months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def month_number(day: dt.date) -> int:
    """Months since January 1970."""
    return (day.year - 1970) * 12 + day.month - 1


def quarter_from_month(months: Ints) -> Ints:
    """A running number of fiscal quarters; :func:`quarter_label` names it."""
    return (months - (FISCAL_START_MONTH - 1)) // 3


def quarter_from_day(days: Ints) -> Ints:
    """The running fiscal quarter of each day."""
    return quarter_from_month(month_from_day(days))


def quarter_start(quarters: Ints) -> Ints:
    """The first day of each fiscal quarter, as days since 1970."""
    return day_from_month(quarters * 3 + FISCAL_START_MONTH - 1)


def quarter_label(quarter: int) -> str:
    """``2027-Q3``: the fiscal year is named by the year in which it ends.

    >>> quarter_label(int(quarter_from_day(np.array([day_number(dt.date(2026, 10, 31))]))[0]))
    '2027-Q3'
    """
    year, place = divmod(int(quarter), 4)
    return f"{1971 + year}-Q{place + 1}"


def fiscal_year(quarters: Ints) -> Ints:
    """The fiscal year of each running quarter."""
    return 1971 + quarters // 4
