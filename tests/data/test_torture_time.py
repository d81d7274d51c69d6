"""Dates and moments that exports really hold, and the business day and fiscal quarter they fall in."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from salesops_kit.compute import Calculator, resolve_quarter
from salesops_kit.data import engine

DATES = "a date such as 2026-07-31, from 1970-01-01 to 2199-12-31"
NEW_YORK = "zone: America/New_York\n"


def created(*moments: str) -> str:
    rows = [f"d{number},Won,{moment}" for number, moment in enumerate(moments)]
    return "opportunity_id,stage,created_at\n" + "\n".join(rows) + "\n"


def closed(*days: str) -> str:
    rows = [f"d{number},Won,1,2026-01-01,{day}" for number, day in enumerate(days)]
    return "opportunity_id,stage,amount,created_date,close_date\n" + "\n".join(rows) + "\n"


def moments(made: Any) -> list[str]:
    """created_at in UTC, as text."""
    return [value.strftime("%Y-%m-%dT%H:%M:%S") for value in made.column("created_at")]


def won_in(made: Any, quarter: str) -> int:
    """How many deals the win-rate table counts as won in a fiscal quarter."""
    period = resolve_quarter(made.rows, quarter)
    frame = Calculator(made.rows, made.rows.observed_until, period).table("funnel.win_rate")
    return int(frame["won"].sum())


def test_40_mixed_offsets_go_to_utc_and_then_to_the_business_zone(desk: Any) -> None:
    texts = [
        "2026-03-01T04:30:00Z", "2026-03-01T12:30:00+08:00", "2026-03-01T12:30:00.000+0800",
        "2026-02-28T23:30:00-05", "2026-03-01 04:30:00 UTC", "2026-03-01T04:30:00.123456789Z",
    ]  # fmt: skip
    made = desk.load(created(*texts), settings=NEW_YORK)
    assert moments(made) == ["2026-03-01T04:30:00"] * 6
    assert made.column("created_date") == [dt.date(2026, 2, 28)] * 6
    assert made.exclusions() == []


def test_40_a_moment_as_a_date_is_the_business_day(desk: Any) -> None:
    days = ["2026-03-01T04:30:00Z", "2026-03-01T04:30:00", "2026-3-1", "2026/03/01", "2026-03-01"]
    made = desk.load(closed(*days), settings=NEW_YORK)
    assert made.column("close_date") == [dt.date(2026, 2, 28)] + [dt.date(2026, 3, 1)] * 4


def test_41_a_moment_without_offset_beside_one_with_is_refused(desk: Any) -> None:
    mapping = "tables: {opportunities: {from: opportunities.csv, columns: {created_at: Created}}}\n"
    text = created("2026-03-01T04:30:00Z", "2026-03-01T04:30:00", "2026-03-01")
    problem = desk.refused_once(text.replace("created_at", "Created"), mapping=mapping)
    assert (problem.file, problem.row, problem.column) == ("opportunities.csv", 3, "Created")
    assert (problem.count, "row 2 has one" in problem.what) == (2, True)


def test_42_43_a_clock_change_is_read_by_policy_and_flagged(desk: Any) -> None:
    texts = ["2026-03-08T02:30:00", "2026-11-01T01:30:00", "2026-11-01T00:59:59", "2026-11-01T02:00:00",
             "2026-03-08T01:59:59", "2026-03-08T03:00:00"]  # fmt: skip
    made = desk.load(created(*texts), settings=NEW_YORK)
    assert moments(made) == [
        "2026-03-08T07:30:00",  # 03:30 summer time: one hour later than written
        "2026-11-01T05:30:00",  # the first 01:30, still summer time
        "2026-11-01T04:59:59", "2026-11-01T07:00:00", "2026-03-08T06:59:59", "2026-03-08T07:00:00",
    ]  # fmt: skip
    flags = [
        (row["source_row"], row["column_name"], row["problem"], row["got"]) for row in made.exclusions("kept")
    ]
    assert flags == [
        (2, "created_at", "a local time that the clock change skips; read one hour later", texts[0]),
        (
            3,
            "created_at",
            "a local time that the clock change repeats; read as the first of the two",
            texts[1],
        ),
    ]


def test_42_43_nothing_is_flagged_where_the_clock_never_changes(desk: Any) -> None:
    assert desk.load(created("2026-03-08T02:30:00", "2026-11-01T01:30:00")).exclusions() == []


@pytest.mark.parametrize(
    ("declared", "texts"),
    [
        ("instants: epoch_ms", ["1772339400000", "1772339400000"]),
        ("instants: '%d.%m.%Y %H:%M', zone: Asia/Shanghai", ["01.03.2026 12:30", "01.03.2026 12:30"]),
        (
            "instants: ['%m/%d/%Y %H:%M %z', '%d.%m.%Y %H:%M %z']",
            ["03/01/2026 12:30 +0800", "28.02.2026 23:30 -0500"],
        ),
    ],
)
def test_declared_moments(desk: Any, declared: str, texts: list[str]) -> None:
    mapping = f"files: {{'*': {{{declared}}}}}\ntables: {{opportunities: {{from: opportunities.csv}}}}\n"
    assert moments(desk.load(created(*texts), mapping=mapping)) == ["2026-03-01T04:30:00"] * 2


def test_epoch_numbers_that_are_no_time_are_set_aside(desk: Any) -> None:
    mapping = "files: {'*': {instants: epoch_ms}}\ntables: {opportunities: {from: opportunities.csv}}\n"
    made = desk.load(created("1772339400000", "9" * 13, "9" * 17, "9" * 30, "-5", "1.5e12"), mapping=mapping)
    assert moments(made) == ["2026-03-01T04:30:00"]
    assert [row["source_row"] for row in made.exclusions("set aside")] == [3, 4, 5, 6, 7]


def test_44_the_last_moment_of_a_quarter_belongs_to_it(desk: Any) -> None:
    made = desk.load(
        created("2026-03-31T23:59:59.999", "2026-04-01T00:00:00"),
        settings=NEW_YORK,
        opportunity_history="opportunity_id,changed_at,stage,close_date\n"
        "d0,2026-03-31T23:59:59.999,Won,2026-03-31\nd1,2026-04-01T00:00:00,Won,2026-04-01\n",
    )
    assert made.column("created_date") == [dt.date(2026, 3, 31), dt.date(2026, 4, 1)]
    assert [won_in(made, quarter) for quarter in ("2026-Q1", "2026-Q2")] == [1, 1]
    aware = desk.load(created("2026-04-01T03:59:59.999Z", "2026-04-01T04:00:00Z"), settings=NEW_YORK)
    assert aware.column("created_date") == [dt.date(2026, 3, 31), dt.date(2026, 4, 1)]


def test_45_leap_days(desk: Any) -> None:
    made = desk.load(closed("2028-02-29", "2026-02-29", "2100-02-29"))
    assert made.column("close_date") == [dt.date(2028, 2, 29)]
    assert made.found("set aside") == [
        ("opportunities.csv", 3, "close_date", DATES, "2026-02-29"),
        ("opportunities.csv", 4, "close_date", DATES, "2100-02-29"),
    ]


def test_46_a_fiscal_year_that_starts_in_february(desk: Any) -> None:
    made = desk.load(closed("2026-01-31", "2026-02-01", "2026-04-30"), settings="fiscal_start_month: 2\n")
    assert [won_in(made, quarter) for quarter in ("2026-Q4", "2027-Q1")] == [1, 2]
    assert [quarter.label for quarter in made.rows.quarters()] == ["2026-Q4", "2027-Q1"]


def test_47_the_53rd_week_belongs_to_the_last_quarter(desk: Any) -> None:
    settings = "calendar: 4-4-5\nweek_ends_on: saturday\nyear_end: last\n"
    made = desk.load(closed("2022-12-24", "2022-12-31", "2023-01-01"), settings=settings)
    fiscal = made.rows.settings.fiscal
    assert len(fiscal.weeks(fiscal.quarter("2022-Q4"))) == 14
    assert [won_in(made, quarter) for quarter in ("2022-Q4", "2023-Q1")] == [2, 1]


@pytest.mark.parametrize(
    "days", [["01/02/2026", "13/02/2026"], ["01/02/2026", "02/13/2026"], ["1.2.26", "13.2.26"]]
)
def test_48_dates_of_undeclared_order_are_refused(desk: Any, days: list[str]) -> None:
    problem = desk.refused_once(closed("2026-01-05", *days))
    assert (problem.file, problem.row, problem.column, problem.got, problem.count) == (
        "opportunities.csv", 3, "close_date", days[0], 2,
    )  # fmt: skip
    assert "dates:" in problem.next_step


def test_48_dates_of_declared_order_are_read_or_set_aside(desk: Any) -> None:
    mapping = (
        "tables:\n  opportunities:\n    from: opportunities.csv\n    columns:\n"
        "      close_date: {column: close_date, dates: '%d/%m/%Y'}\n"
    )
    made = desk.load(closed("01/02/2026", "13/02/2026", "02/13/2026", "2026-02-01"), mapping=mapping)
    assert made.column("close_date") == [dt.date(2026, 2, 1), dt.date(2026, 2, 13)]
    assert [row["got"] for row in made.exclusions("set aside")] == ["02/13/2026", "2026-02-01"]


def test_49_50_serials_far_years_and_words_are_set_aside(desk: Any) -> None:
    odd = [
        "45000",
        "9999-12-31",
        "0026-01-01",
        "1899-12-31",
        "epoch",
        "infinity",
        "today",
        "2026-01-32",
        "2026-7",
    ]
    made = desk.load(closed("2026-02-01", *odd))
    assert made.column("close_date") == [dt.date(2026, 2, 1)]
    assert made.found("set aside") == [
        ("opportunities.csv", row, "close_date", DATES, text) for row, text in enumerate(odd, 3)
    ]


def test_51_a_deal_closed_before_it_was_created_counts_as_money_only(desk: Any) -> None:
    made = desk.load(closed("2025-12-31", "2026-01-31"))
    assert made.found("kept") == [
        ("opportunities.csv", 2, "close_date", "a close date on or after creation", "2025-12-31")
    ]
    states = engine.collect(made.rows.table("opportunity_states"))
    assert list(states.query("opportunity_id == 'd0'")["stage"]) == ["Won"]
    period = resolve_quarter(made.rows, "2025-Q4")
    frame = Calculator(made.rows, made.rows.observed_until, period).table("funnel.win_rate")
    assert (frame["won"].sum(), frame["won_amount"].sum()) == (1, 1.0)


def test_a_moment_as_a_date_is_moved_from_the_files_zone_to_the_business_zone(desk: Any) -> None:
    mapping = (
        "settings: {zone: America/New_York}\nfiles: {'*': {zone: Asia/Shanghai}}\n"
        "tables: {opportunities: {from: opportunities.csv}}\n"
    )
    made = desk.load(closed("2026-03-02T08:00:00", "2026-03-02", "2026-03-02T01:00:00Z"), mapping=mapping)
    assert made.column("close_date") == [dt.date(2026, 3, 1), dt.date(2026, 3, 2), dt.date(2026, 3, 1)]
    declared = mapping.replace("zone: Asia", "dates: ['%d/%m/%Y %H:%M', '%d/%m/%Y'], zone: Asia")
    deals = "opportunity_id,stage,close_date\na,Won,02/03/2026 08:00\nb,Won,02/03/2026\n"
    made = desk.load(deals, mapping=declared)
    assert made.column("close_date") == [dt.date(2026, 3, 1), dt.date(2026, 3, 2)]
