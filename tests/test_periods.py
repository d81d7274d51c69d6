"""Fiscal calendars against days worked out by hand, and as partitions of time."""

from __future__ import annotations

import calendar as gregorian
import datetime as dt
import itertools
import pickle
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_kit.errors import InputError
from salesops_kit.periods import FiscalCalendar, Pattern, Period, Weekday, YearEnd, parse_day

DAY = dt.timedelta(days=1)
RETAIL = FiscalCalendar(start_month=2, pattern="4-4-5", week_ends_on="saturday", year_end="nearest")
CALENDARS = st.builds(
    FiscalCalendar,
    start_month=st.integers(1, 12),
    pattern=st.sampled_from(get_args(Pattern)),
    week_ends_on=st.sampled_from(get_args(Weekday)),
    year_end=st.sampled_from(get_args(YearEnd)),
)
DAYS = st.dates(dt.date(1970, 1, 1), dt.date(2199, 12, 31))


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def shown(period: Period) -> tuple[str, str, str]:
    """The label, the first day and the last day that counts."""
    return period.label, period.start.isoformat(), period.last_day.isoformat()


# --- days ------------------------------------------------------------------------------------


@given(DAYS)
def test_a_day_is_read_as_it_is_written(given_day: dt.date) -> None:
    assert parse_day(given_day.isoformat()) == given_day


@pytest.mark.parametrize(
    "text",
    ["", "20260731", "2026-W31-5", "2026-7-31", "2026-02-30", "2026-07-31 ", "2026-07-31T00", "٢٠٢٦-٠٧-٣١"],
)
def test_another_spelling_of_a_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a date such as|day "):
        parse_day(text)


# --- periods ---------------------------------------------------------------------------------


def test_period_counts_its_first_day_and_not_its_end() -> None:
    period = Period(day("2026-07-01"), day("2026-10-01"), "2026-Q3")
    assert [period.contains(day(d)) for d in ("2026-06-30", "2026-07-01", "2026-09-30", "2026-10-01")] == [
        False,
        True,
        True,
        False,
    ]
    assert (period.days, period.last_day) == (92, day("2026-09-30"))


@pytest.mark.parametrize("end", ["2026-07-01", "2026-06-30"])
def test_period_without_a_day_is_refused(end: str) -> None:
    with pytest.raises(InputError, match="'empty' holds no day") as caught:
        Period(day("2026-07-01"), day(end), "empty")
    assert caught.value.problems[0].next_step == "Give the day after the last one as the end."


def test_periods_sort_by_time_and_travel_between_processes() -> None:
    quarters = FiscalCalendar().quarters(day("2025-10-01"), day("2026-12-31"))
    assert sorted(set(quarters)) == quarters
    assert pickle.loads(pickle.dumps((RETAIL, quarters))) == (RETAIL, quarters)


# --- calendar pattern, by hand ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("start_month", "of", "quarter"),
    [
        (1, "2026-01-01", ("2026-Q1", "2026-01-01", "2026-03-31")),
        (1, "2026-09-30", ("2026-Q3", "2026-07-01", "2026-09-30")),
        (1, "2026-12-31", ("2026-Q4", "2026-10-01", "2026-12-31")),
        (2, "2026-01-31", ("2026-Q4", "2025-11-01", "2026-01-31")),
        (2, "2026-02-01", ("2027-Q1", "2026-02-01", "2026-04-30")),
        (2, "2024-02-29", ("2025-Q1", "2024-02-01", "2024-04-30")),
        (3, "2024-02-29", ("2024-Q4", "2023-12-01", "2024-02-29")),
        (3, "2024-03-01", ("2025-Q1", "2024-03-01", "2024-05-31")),
        (7, "2026-06-30", ("2026-Q4", "2026-04-01", "2026-06-30")),
        (7, "2026-07-01", ("2027-Q1", "2026-07-01", "2026-09-30")),
        (10, "2025-10-01", ("2026-Q1", "2025-10-01", "2025-12-31")),
        (12, "2025-12-31", ("2026-Q1", "2025-12-01", "2026-02-28")),
        (12, "2026-11-30", ("2026-Q4", "2026-09-01", "2026-11-30")),
    ],
)
def test_calendar_quarters(start_month: int, of: str, quarter: tuple[str, str, str]) -> None:
    fiscal = FiscalCalendar(start_month=start_month)
    assert shown(fiscal.quarter_of(day(of))) == quarter
    assert shown(fiscal.quarter(quarter[0])) == quarter


def test_calendar_years_are_named_by_the_year_they_end_in() -> None:
    assert shown(FiscalCalendar().year(2026)) == ("FY2026", "2026-01-01", "2026-12-31")
    assert shown(FiscalCalendar(2).year(2027)) == ("FY2027", "2026-02-01", "2027-01-31")
    assert FiscalCalendar(2).year_of(day("2026-02-01")).label == "FY2027"
    assert FiscalCalendar(3).year(2024).days == 366


def test_calendar_months_are_calendar_months() -> None:
    fiscal = FiscalCalendar(2)
    assert [shown(month) for month in fiscal.months(fiscal.quarter("2025-Q1"))] == [
        ("2025-M01", "2024-02-01", "2024-02-29"),
        ("2025-M02", "2024-03-01", "2024-03-31"),
        ("2025-M03", "2024-04-01", "2024-04-30"),
    ]
    assert fiscal.month_of(day("2026-01-31")).label == "2026-M12"


@pytest.mark.parametrize(
    ("quarter", "weeks", "last"),
    [
        ("2026-Q1", 13, ("2026-Q1-W13", "2026-03-26", "2026-03-31")),  # 90 days: the last week has 6
        ("2024-Q1", 13, ("2024-Q1-W13", "2024-03-25", "2024-03-31")),  # 91 days: all weeks are whole
        ("2026-Q3", 14, ("2026-Q3-W14", "2026-09-30", "2026-09-30")),  # 92 days: one day is left over
    ],
)
def test_calendar_weeks_count_from_the_quarters_first_day(
    quarter: str, weeks: int, last: tuple[str, str, str]
) -> None:
    fiscal = FiscalCalendar()
    found = fiscal.weeks(fiscal.quarter(quarter))
    assert len(found) == weeks
    assert {week.days for week in found[:-1]} == {7}
    assert shown(found[-1]) == last
    assert fiscal.week_of(found[4].last_day).label == f"{quarter}-W05"


def test_weeks_and_months_that_share_a_day_with_any_period() -> None:
    fiscal = FiscalCalendar()
    stretch = Period(day("2026-03-31"), day("2026-04-02"), "two days")
    assert [week.label for week in fiscal.weeks(stretch)] == ["2026-Q1-W13", "2026-Q2-W01"]
    assert [month.label for month in fiscal.months(stretch)] == ["2026-M03", "2026-M04"]


# --- 4-4-5, by hand --------------------------------------------------------------------------


# The Saturday nearest to 31 January: 2023-01-28 (a Saturday; the 31st is a Tuesday), 2024-02-03 (the
# 31st is a Wednesday, three days before it, four after 27 January), 2025-02-01 and 2026-01-31 itself.
@pytest.mark.parametrize(
    ("year", "first", "last", "weeks"),
    [
        (2023, "2022-01-30", "2023-01-28", 52),
        (2024, "2023-01-29", "2024-02-03", 53),
        (2025, "2024-02-04", "2025-02-01", 52),
        (2026, "2025-02-02", "2026-01-31", 52),
        (2027, "2026-02-01", "2027-01-30", 52),
    ],
)
def test_retail_years(year: int, first: str, last: str, weeks: int) -> None:
    fiscal_year = RETAIL.year(year)
    assert shown(fiscal_year) == (f"FY{year}", first, last)
    assert fiscal_year.days == 7 * weeks
    assert len(RETAIL.weeks(fiscal_year)) == weeks


def test_retail_years_of_53_weeks() -> None:
    # Retailers, who name a year after its beginning, call them 2000, 2006, 2012, 2017 and 2023.
    long = [year for year in range(2001, 2029) if RETAIL.year(year).days == 371]
    assert long == [2001, 2007, 2013, 2018, 2024]


def test_months_are_4_4_and_5_weeks_and_the_53rd_week_is_in_the_last() -> None:
    lengths = [month.days // 7 for month in RETAIL.months(RETAIL.year(2024))]
    assert lengths == [4, 4, 5, 4, 4, 5, 4, 4, 5, 4, 4, 6]
    assert [RETAIL.quarter(f"2024-Q{n}").days // 7 for n in (1, 2, 3, 4)] == [13, 13, 13, 14]
    assert shown(RETAIL.quarter("2024-Q4")) == ("2024-Q4", "2023-10-29", "2024-02-03")
    assert shown(RETAIL.week_of(day("2024-02-03"))) == ("2024-Q4-W14", "2024-01-28", "2024-02-03")
    assert shown(RETAIL.week_of(day("2024-02-04"))) == ("2025-Q1-W01", "2024-02-04", "2024-02-10")
    assert [shown(month) for month in RETAIL.months(RETAIL.quarter("2025-Q1"))] == [
        ("2025-M01", "2024-02-04", "2024-03-02"),  # holds 29 February
        ("2025-M02", "2024-03-03", "2024-03-30"),
        ("2025-M03", "2024-03-31", "2024-05-04"),
    ]


def test_last_and_nearest_year_ends_differ() -> None:
    last = FiscalCalendar(pattern="4-4-5", week_ends_on="saturday", year_end="last")
    nearest = FiscalCalendar(pattern="4-4-5", week_ends_on="saturday", year_end="nearest")
    # 31 December 2025 is a Wednesday: the Saturdays around it are 27 December and 3 January.
    assert shown(last.year(2025)) == ("FY2025", "2024-12-29", "2025-12-27")
    assert shown(nearest.year(2025)) == ("FY2025", "2024-12-29", "2026-01-03")
    assert nearest.year_of(day("2026-01-03")).label == "FY2025"
    assert last.year_of(day("2025-12-28")).label == "FY2026"
    # 31 December 2022 is a Saturday: both end there.
    assert last.year(2022).last_day == nearest.year(2022).last_day == day("2022-12-31")


def test_weeks_may_end_on_another_day() -> None:
    fiscal = FiscalCalendar(start_month=7, pattern="4-4-5", week_ends_on="sunday")
    # The last Sunday of June is 29 June in 2025 and 28 June in 2026.
    assert shown(fiscal.year(2026)) == ("FY2026", "2025-06-30", "2026-06-28")
    assert {week.last_day.isoweekday() for week in fiscal.weeks(fiscal.year(2026))} == {7}


# --- neighbours ------------------------------------------------------------------------------


def test_neighbours_of_a_quarter() -> None:
    fiscal = FiscalCalendar(2)
    quarter = fiscal.quarter("2027-Q1")
    assert fiscal.previous(quarter) == fiscal.quarter("2026-Q4")
    assert fiscal.next(quarter) == fiscal.quarter("2027-Q2")
    assert fiscal.year_ago(quarter) == fiscal.quarter("2026-Q1")


def test_neighbours_of_years_months_and_weeks() -> None:
    assert RETAIL.year_ago(RETAIL.year(2025)) == RETAIL.previous(RETAIL.year(2025)) == RETAIL.year(2024)
    month, week = RETAIL.month_of(day("2024-02-04")), RETAIL.week_of(day("2024-02-04"))
    assert [shown(RETAIL.previous(period)) for period in (month, week)] == [
        ("2024-M12", "2023-12-24", "2024-02-03"),
        ("2024-Q4-W14", "2024-01-28", "2024-02-03"),
    ]
    assert [shown(RETAIL.year_ago(period)) for period in (month, week)] == [
        ("2024-M01", "2023-01-29", "2023-02-25"),
        ("2024-Q1-W01", "2023-01-29", "2023-02-04"),
    ]


def test_a_53rd_week_has_no_week_a_year_ago() -> None:
    with pytest.raises(InputError, match="2023-Q4 has no week 14") as caught:
        RETAIL.year_ago(RETAIL.week_of(day("2024-02-03")))
    assert caught.value.problems[0].got == "2024-Q4-W14"


def test_neighbours_know_a_period_by_its_days_not_by_its_label() -> None:
    own = Period(day("2026-07-01"), day("2026-10-01"), "summer")
    assert FiscalCalendar().previous(own).label == "2026-Q2"


def test_neighbours_of_any_other_stretch_are_refused() -> None:
    stretch = Period(day("2026-07-02"), day("2026-10-01"), "almost")
    with pytest.raises(InputError, match="'almost' is no year, quarter, month or week") as caught:
        FiscalCalendar().previous(stretch)
    assert "2026-Q3" in str(caught.value.problems[0].next_step)


def test_quarters_between_two_days_include_both_ends() -> None:
    fiscal = FiscalCalendar(2)
    labels = [quarter.label for quarter in fiscal.quarters(day("2026-01-31"), day("2026-05-01"))]
    assert labels == ["2026-Q4", "2027-Q1", "2027-Q2"]
    assert [q.label for q in fiscal.quarters(day("2026-02-01"), day("2026-02-01"))] == ["2027-Q1"]
    assert [q.label for q in fiscal.quarters(day("2026-05-01"), day("2026-05-01"))] == ["2027-Q2"]
    assert fiscal.quarters(day("2026-02-02"), day("2026-02-01")) == []


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "label",
    [
        "2026-Q5",
        "2026-Q0",
        "2026Q3",
        "2026-q3",
        "26-Q3",
        "Q3-2026",
        "2026-Q3 ",
        "2026-Q3\n",
        "",
        "２０２６-Q3",
    ],
)
def test_other_spellings_of_a_quarter_are_refused(label: str) -> None:
    with pytest.raises(InputError, match="no fiscal quarter") as caught:
        FiscalCalendar().quarter(label)
    assert caught.value.problems[0].got == label
    assert caught.value.problems[0].next_step == "Write it as 2026-Q3."


@pytest.mark.parametrize("year", [1899, 2300, 0, -1, 99999])
def test_years_out_of_range_are_refused(year: int) -> None:
    with pytest.raises(InputError, match="1900 to 2299"):
        FiscalCalendar().year(year)


@pytest.mark.parametrize("pattern", get_args(Pattern))
@pytest.mark.parametrize("text", ["0001-01-01", "1899-12-01", "2300-01-31", "9999-12-31"])
def test_days_out_of_range_are_refused(text: str, pattern: Pattern) -> None:
    with pytest.raises(InputError, match="1900 to 2299") as caught:
        FiscalCalendar(pattern=pattern).quarter_of(day(text))
    assert caught.value.problems[0].got == text


def test_a_calendar_names_everything_that_is_wrong_with_it() -> None:
    with pytest.raises(InputError) as caught:
        FiscalCalendar(13, "445", "caturday", "last")  # type: ignore[arg-type]
    start, pattern, weekday = caught.value.problems
    assert start.got == "13"
    assert pattern.next_step == "Did you mean 4-4-5?"
    assert "saturday" in str(weekday.next_step)


# --- properties ------------------------------------------------------------------------------


@given(CALENDARS, DAYS)
def test_every_day_is_in_exactly_one_year_quarter_month_and_week(fiscal: FiscalCalendar, on: dt.date) -> None:
    year = fiscal.year_of(on)
    around = [fiscal.previous(year), year, fiscal.next(year)]
    quarters = fiscal.quarters(around[0].start, around[-1].last_day)
    for periods, found in (
        (around, year),
        (quarters, fiscal.quarter_of(on)),
        ([month for one in around for month in fiscal.months(one)], fiscal.month_of(on)),
        ([week for one in quarters for week in fiscal.weeks(one)], fiscal.week_of(on)),
    ):
        assert [period for period in periods if period.contains(on)] == [found]


@given(CALENDARS, st.integers(1971, 2199))
def test_quarters_months_and_weeks_tile_the_year(fiscal: FiscalCalendar, number: int) -> None:
    year = fiscal.year(number)
    quarters = fiscal.quarters(year.start, year.last_day)
    assert [quarter.label for quarter in quarters] == [f"{number}-Q{n}" for n in (1, 2, 3, 4)]
    for whole, parts in [
        (year, quarters),
        (year, fiscal.months(year)),
        (year, fiscal.weeks(year)),
        *((quarter, fiscal.months(quarter)) for quarter in quarters),
        *((quarter, fiscal.weeks(quarter)) for quarter in quarters),
    ]:
        edges = [whole.start, *itertools.chain.from_iterable((p.start, p.end) for p in parts), whole.end]
        assert edges[::2] == edges[1::2]
    assert [len(fiscal.months(quarter)) for quarter in quarters] == [3, 3, 3, 3]


@given(CALENDARS, DAYS)
def test_next_undoes_previous_and_labels_are_unique(fiscal: FiscalCalendar, on: dt.date) -> None:
    kinds = [fiscal.year_of(on), fiscal.quarter_of(on), fiscal.month_of(on), fiscal.week_of(on)]
    for period in kinds:
        assert fiscal.next(fiscal.previous(period)) == period
        assert fiscal.previous(fiscal.next(period)) == period
    assert fiscal.quarter(kinds[1].label) == kinds[1]
    labels = [week.label for week in fiscal.weeks(kinds[0])]
    assert len(set(labels)) == len(labels)


@given(st.integers(1, 12), DAYS)
def test_calendar_quarters_agree_with_counting_months(start_month: int, on: dt.date) -> None:
    fiscal = FiscalCalendar(start_month)
    since_start = (on.month - start_month) % 12
    ends_in_year = on.year + (start_month > 1 and on.month >= start_month)
    assert fiscal.quarter_of(on).label == f"{ends_in_year}-Q{since_start // 3 + 1}"
    assert fiscal.month_of(on).label == f"{ends_in_year}-M{since_start + 1:02d}"


@given(st.integers(1, 12), st.sampled_from(get_args(Weekday)), st.sampled_from(get_args(YearEnd)), DAYS)
def test_445_years_end_where_a_search_day_by_day_finds_it(
    start_month: int, weekday: Weekday, year_end: YearEnd, on: dt.date
) -> None:
    year = FiscalCalendar(start_month, "4-4-5", weekday, year_end).year(on.year)
    last_month = 12 if start_month == 1 else start_month - 1
    month_end = dt.date(on.year, last_month, gregorian.monthrange(on.year, last_month)[1])
    ahead = 3 if year_end == "nearest" else 0
    window = [month_end + n * DAY for n in range(ahead - 6, ahead + 1)]
    assert [d for d in window if f"{d:%A}".lower() == weekday] == [year.last_day]
    assert year.days in (364, 371)
