"""The fiscal calendar: half-open years, quarters, months and weeks of any fiscal start."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Literal, get_args

from salesops_kit.errors import InputError, Problem, unknown

Pattern = Literal["calendar", "4-4-5"]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
YearEnd = Literal["last", "nearest"]

FIRST_YEAR, LAST_YEAR = 1900, 2299
WEEK = dt.timedelta(days=7)
DAY = dt.timedelta(days=1)
_ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_QUARTER_LABEL = re.compile(r"([0-9]{4})-Q([1-4])")
_WEEKS_OF_MONTHS = (4, 4, 5)


@dataclass(frozen=True, order=True)
class Period:
    """Business dates from ``start`` up to, and without, ``end``.

    >>> third = Period(dt.date(2026, 7, 1), dt.date(2026, 10, 1), "2026-Q3")
    >>> third.days, third.last_day.isoformat(), third.contains(dt.date(2026, 10, 1))
    (92, '2026-09-30', False)
    """

    start: dt.date
    end: dt.date
    label: str

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise InputError(
                Problem(
                    f"the period {self.label!r} holds no day",
                    expected="an end after the start, as the end is the first day that does not count",
                    got=f"{self.start.isoformat()} to {self.end.isoformat()}",
                    next_step="Give the day after the last one as the end.",
                )
            )

    @property
    def days(self) -> int:
        """How many days the period holds."""
        return (self.end - self.start).days

    @property
    def last_day(self) -> dt.date:
        """The last day that counts."""
        return self.end - DAY

    def contains(self, day: dt.date) -> bool:
        """Whether ``day`` counts: from the start, before the end."""
        return self.start <= day < self.end


def parse_day(text: str) -> dt.date:
    """A day written as 2026-07-31; raises :class:`ValueError` for every other text.

    >>> parse_day("2026-07-31")
    datetime.date(2026, 7, 31)
    """
    # fromisoformat alone would take 20260731 and 2026-W31-5 too.
    if not _ISO_DAY.fullmatch(text):
        raise ValueError(f"not a date such as 2026-07-31: {text[:80]!r}")
    return dt.date.fromisoformat(text)


def prior_as_of(as_of: dt.date, period: Period, previous: Period) -> dt.date:
    """The day that lies as far into, or after, the previous period as ``as_of`` does for this one.

    >>> quarters = [Period(dt.date(2026, 1, 1), dt.date(2026, 4, 1), "2026-Q1"),
    ...             Period(dt.date(2026, 4, 1), dt.date(2026, 7, 1), "2026-Q2")]
    >>> [prior_as_of(dt.date(2026, m, d), quarters[1], quarters[0]).isoformat()
    ...  for m, d in ((4, 1), (5, 15), (6, 30), (7, 3))]
    ['2026-01-01', '2026-02-14', '2026-03-31', '2026-04-03']
    """
    if as_of >= period.last_day:
        return previous.last_day + (as_of - period.last_day)
    return min(previous.start + (as_of - period.start), previous.last_day)


@dataclass(frozen=True)
class FiscalCalendar:
    """Fiscal years, quarters, months and weeks.

    A fiscal year is named by the year in which its last month ends: with ``start_month=2``, the day
    2026-02-01 opens ``2027-Q1``.

    ``pattern="calendar"``: months are calendar months, a quarter is three of them, and its weeks are
    7-day chunks from its first day, of which the last may be short.

    ``pattern="4-4-5"``: a year is whole weeks that end on ``week_ends_on``; it ends on the last such
    weekday of its last month (``year_end="last"``) or on the one nearest to that month's end
    (``"nearest"``, which may fall in the following month, even in January of the next year; the
    fiscal year keeps its name). A quarter is months of 4, 4 and 5 weeks; a year of 53 weeks has a
    sixth week in its last month.

    Labels are ``FY2026``, ``2026-Q3``, ``2026-M07`` (the seventh fiscal month) and ``2026-Q3-W05``
    (the fifth week of the quarter). Years from 1900 to 2299 are known; others raise
    :class:`InputError`.

    >>> calendar = FiscalCalendar(start_month=2)
    >>> calendar.quarter_of(dt.date(2026, 2, 1)).label
    '2027-Q1'
    """

    start_month: int = 1
    pattern: Pattern = "calendar"
    week_ends_on: Weekday = "saturday"
    year_end: YearEnd = "last"

    def __post_init__(self) -> None:
        problems = [
            unknown(kind, value, choices)
            for kind, value, choices in (
                ("calendar pattern", self.pattern, get_args(Pattern)),
                ("weekday", self.week_ends_on, get_args(Weekday)),
                ("year end", self.year_end, get_args(YearEnd)),
            )
            if value not in choices
        ]
        if not 1 <= self.start_month <= 12:
            problems.insert(
                0,
                Problem(
                    "the fiscal start is no month",
                    expected="1 (January) to 12 (December)",
                    got=str(self.start_month),
                    next_step="Set the number of the fiscal year's first month.",
                ),
            )
        if problems:
            raise InputError(problems)

    def year(self, year: int) -> Period:
        """The fiscal year that ends in ``year``, labelled ``FY2026``."""
        months = _months(self, _known(year))
        return Period(months[0].start, months[-1].end, f"FY{year}")

    def year_of(self, day: dt.date) -> Period:
        """The fiscal year that holds ``day``."""
        # The year's end moves by at most three days around the end of its last month.
        named = day.year if self.start_month == 1 or day.month < self.start_month else day.year + 1
        for year in (named, named - 1, named + 1):
            if FIRST_YEAR <= year <= LAST_YEAR and self.year(year).contains(day):
                return self.year(year)
        raise _outside(day.isoformat())

    def quarter(self, label: str) -> Period:
        """The fiscal quarter of a label such as ``2026-Q3``; no other spelling is accepted."""
        match = _QUARTER_LABEL.fullmatch(label)
        if match is None:
            raise InputError(
                Problem(
                    "this is no fiscal quarter",
                    expected="a four-digit fiscal year, then -Q and a digit from 1 to 4",
                    got=label,
                    next_step="Write it as 2026-Q3.",
                )
            )
        return self._quarters(_known(int(match[1])))[int(match[2]) - 1]

    def quarter_of(self, day: dt.date) -> Period:
        """The fiscal quarter that holds ``day``."""
        return _holding(self._quarters(self.year_number(day)), day)

    def quarters(self, first_day: dt.date, last_day: dt.date) -> list[Period]:
        """The fiscal quarters from that of ``first_day`` to that of ``last_day``, both included.

        Empty when ``last_day`` is before ``first_day``.
        """
        if last_day < first_day:
            return []
        years = range(self.year_number(first_day), self.year_number(last_day) + 1)
        return [
            quarter
            for year in years
            for quarter in self._quarters(year)
            if quarter.end > first_day and quarter.start <= last_day
        ]

    def months(self, period: Period) -> list[Period]:
        """The fiscal months that share a day with ``period``, whole and in order.

        They tile a fiscal quarter or year exactly.
        """
        years = range(self.year_number(period.start), self.year_number(period.last_day) + 1)
        return [month for year in years for month in _months(self, year) if _overlap(month, period)]

    def month_of(self, day: dt.date) -> Period:
        """The fiscal month that holds ``day``."""
        return _holding(_months(self, self.year_number(day)), day)

    def weeks(self, period: Period) -> list[Period]:
        """The fiscal weeks that share a day with ``period``, whole and in order.

        They tile a fiscal quarter or year exactly. In the calendar pattern the last week of a quarter
        may be short; in the 4-4-5 pattern every week has seven days.
        """
        return [
            week
            for quarter in self.quarters(period.start, period.last_day)
            for week in _weeks(quarter)
            if _overlap(week, period)
        ]

    def week_of(self, day: dt.date) -> Period:
        """The fiscal week that holds ``day``."""
        return _holding(_weeks(self.quarter_of(day)), day)

    def previous(self, period: Period) -> Period:
        """The fiscal year, quarter, month or week before ``period``, of the same kind."""
        return self._same_kind(period, period.start - DAY)

    def next(self, period: Period) -> Period:
        """The fiscal year, quarter, month or week after ``period``, of the same kind."""
        return self._same_kind(period, period.end)

    def year_ago(self, period: Period) -> Period:
        """The same quarter, month or week of the fiscal year before; for a year, the year before.

        The two may differ in length: by 29 February, or by the 53rd week. A week that the quarter a
        year ago did not have raises :class:`InputError`.
        """
        kind = self._kind(period)
        before = self.year_number(period.start) - 1
        if kind == "year":
            return self.year(before)
        if kind == "month":
            at = self.months(self.year_of(period.start)).index(self.month_of(period.start))
            return _months(self, _known(before))[at]
        quarter = self.quarter_of(period.start)
        quarter_before = self.quarter(f"{before:04d}-Q{quarter.label[-1]}")
        if kind == "quarter":
            return quarter_before
        at, weeks = _weeks(quarter).index(self.week_of(period.start)), _weeks(quarter_before)
        if at >= len(weeks):
            raise InputError(
                Problem(
                    f"{quarter_before.label} has no week {at + 1}",
                    expected=f"a week from 1 to {len(weeks)}",
                    got=period.label,
                    next_step="Compare whole quarters, or the week before.",
                )
            )
        return weeks[at]

    def year_number(self, day: dt.date) -> int:
        """The year by which the fiscal year that holds ``day`` is named."""
        return int(self.year_of(day).label.removeprefix("FY"))

    def _quarters(self, year: int) -> list[Period]:
        months = _months(self, year)
        return [Period(months[3 * n].start, months[3 * n + 2].end, f"{year:04d}-Q{n + 1}") for n in range(4)]

    def _kind(self, period: Period) -> Literal["year", "quarter", "month", "week"]:
        # No two kinds share a length, so that the bounds alone tell the kind.
        day, bounds = period.start, (period.start, period.end)
        if bounds == _bounds(self.quarter_of(day)):
            return "quarter"
        if bounds == _bounds(self.year_of(day)):
            return "year"
        if bounds == _bounds(self.month_of(day)):
            return "month"
        if bounds == _bounds(self.week_of(day)):
            return "week"
        raise InputError(
            Problem(
                f"{period.label!r} is no year, quarter, month or week of this fiscal calendar",
                got=f"{period.start.isoformat()} to {period.end.isoformat()}",
                next_step=f"Take the quarter of its first day, {self.quarter_of(day).label}.",
            )
        )

    def _same_kind(self, period: Period, day: dt.date) -> Period:
        kind = self._kind(period)
        if kind == "year":
            return self.year_of(day)
        if kind == "quarter":
            return self.quarter_of(day)
        return self.month_of(day) if kind == "month" else self.week_of(day)


@lru_cache(maxsize=4096)
def _months(calendar: FiscalCalendar, year: int) -> tuple[Period, ...]:
    """The twelve months of a fiscal year; everything else of the calendar follows from them."""
    if calendar.pattern == "calendar":
        first = year * 12 + calendar.start_month - 1 - (0 if calendar.start_month == 1 else 12)
        starts = [dt.date(n // 12, n % 12 + 1, 1) for n in range(first, first + 13)]
    else:
        start, end = _year_end(calendar, year - 1), _year_end(calendar, year)
        lengths = [*_WEEKS_OF_MONTHS * 4]
        lengths[-1] += (end - start) // WEEK - 52
        starts = [start + weeks * WEEK for weeks in accumulate(lengths, initial=0)]
    return tuple(
        Period(start, end, f"{year:04d}-M{number:02d}")
        for number, (start, end) in enumerate(pairwise(starts), start=1)
    )


def _year_end(calendar: FiscalCalendar, year: int) -> dt.date:
    """The first day after a 4-4-5 year."""
    month_end = dt.date(year + (calendar.start_month == 1), calendar.start_month, 1) - DAY
    past = (month_end.weekday() - get_args(Weekday).index(calendar.week_ends_on)) % 7
    last = month_end - past * DAY
    return last + DAY + (WEEK if calendar.year_end == "nearest" and past > 3 else 0 * DAY)


def _weeks(quarter: Period) -> list[Period]:
    starts = [quarter.start + n * WEEK for n in range(-(-quarter.days // 7))]
    return [
        Period(start, end, f"{quarter.label}-W{number:02d}")
        for number, (start, end) in enumerate(pairwise([*starts, quarter.end]), start=1)
    ]


def _holding(periods: list[Period] | tuple[Period, ...], day: dt.date) -> Period:
    return next(period for period in periods if period.contains(day))


def _overlap(one: Period, other: Period) -> bool:
    return one.start < other.end and other.start < one.end


def _bounds(period: Period) -> tuple[dt.date, dt.date]:
    return period.start, period.end


def _known(year: int) -> int:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise _outside(str(year))
    return year


def _outside(got: str) -> InputError:
    return InputError(
        Problem(
            "this is outside the fiscal years that the calendar knows",
            expected=f"{FIRST_YEAR} to {LAST_YEAR}",
            got=got,
            next_step="Correct the year.",
        )
    )
