"""When in a quarter bookings come: linearity, pace, create-and-close, and the working days behind them."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salesops_kit.analysis.funnel import headlines
from salesops_kit.analysis.pipeline import (
    create_and_close,
    create_and_close_by_week,
    linearity,
    linearity_curve,
    pace,
    pace_by_quarter,
)
from salesops_kit.errors import InputError, NotAvailableError
from salesops_kit.estimators.working_days import same_working_day, working_calendar, working_days
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.histories import DAY, LOST, WON, is_won, money, random_histories, rows_of, state_at
from tests.states import Change, deal, stages_table, states_table, table_of

SETTINGS = Settings()
Q1 = Period(dt.date(2026, 1, 1), dt.date(2026, 4, 1), "2026-Q1")
Q4 = Period(dt.date(2025, 10, 1), dt.date(2026, 1, 1), "2025-Q4")
END = Q1.last_day
DEALS = {"opportunity_id": "string", "created_date": "date"}
Rows = list[list[dict[str, Any]]]


def context(**options: Any) -> dict[str, Any]:
    return {"as_of": END, "period": Q1, "settings": SETTINGS, **options}


def won(name: str, amount: float | None, day: dt.date, known: dt.date | None = None) -> list[dict[str, Any]]:
    """A deal won with a close date, which the data knows from ``known`` on."""
    first = Change(dt.date(2025, 9, 1), amount=amount, close_date=day)
    return deal(name, [first, first.then(known or day, stage=WON)])


def linear(rows: Rows, **options: Any) -> pd.DataFrame:
    return linearity(states_table(rows), **context(**options))


def last(rows: Rows, **options: Any) -> pd.Series:
    return linear(rows, quarters=1, **options).iloc[-1]


EARLY = [deal("Z", [Change(dt.date(2025, 9, 1), stage=LOST)])]


def test_all_on_the_last_day_and_all_on_the_first() -> None:
    # 64 working days: 63 of them are over when everything comes, or 63 are left.
    late = last([won("A", 100, END)])
    assert (late["linearity"], late["gap_date"]) == (pytest.approx(63 / 64), dt.date(2026, 3, 30))
    assert late["gap"] == pytest.approx(-63 / 64)
    early = last([won("A", 100, Q1.start)])
    assert (early["gap"], early["gap_date"]) == (pytest.approx(63 / 64), Q1.start)
    assert early[["month_1_share", "month_2_share", "month_3_share", "last_two_weeks_share"]].tolist() == [
        1,
        0,
        0,
        0,
    ]
    assert late[["month_3_share", "last_two_weeks_share"]].tolist() == [1, 1]


def test_an_even_quarter_has_no_gap() -> None:
    calendar = working_calendar(SETTINGS)
    days = [Q1.start + n * DAY for n in range(Q1.days)]
    working = [day for day in days if working_days(day, day + DAY, calendar)]
    row = last([won(f"D{n}", 10, day) for n, day in enumerate(working)])
    assert row["bookings"] == 10 * len(working) == 640
    assert row["linearity"] == pytest.approx(0, abs=1e-12)


def test_weekends_and_holidays_are_no_working_days() -> None:
    friday, monday = dt.date(2026, 7, 3), dt.date(2026, 7, 6)
    assert working_days(friday, monday, working_calendar(SETTINGS)) == 1
    assert working_days(monday, friday, working_calendar(SETTINGS)) == 0
    closed = working_calendar(Settings(holidays=(friday,)))
    assert working_days(friday, monday + DAY, closed) == 1
    gulf = working_calendar(Settings(weekend=("friday", "saturday")))
    assert working_days(friday, monday, gulf) == 1
    with pytest.raises(InputError, match="no working day is left"):
        working_calendar(
            Settings(weekend=("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"))
        )


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (dt.date(2026, 1, 1), dt.date(2025, 10, 1)),
        (dt.date(2026, 1, 3), dt.date(2025, 10, 2)),
        (dt.date(2026, 1, 5), dt.date(2025, 10, 3)),
        (dt.date(2026, 3, 30), dt.date(2025, 12, 26)),
        (END, Q4.last_day),
        (END + 5 * DAY, Q4.last_day),
    ],
)
def test_the_same_working_day(day: dt.date, expected: dt.date) -> None:
    calendar = working_calendar(SETTINGS)
    assert same_working_day(day, Q1, Q4, calendar) == expected
    before = Period(dt.date(2026, 2, 1), dt.date(2026, 3, 1), "")
    assert same_working_day(dt.date(2026, 2, 1), before, Q1, calendar) == Q1.start
    assert same_working_day(dt.date(2026, 3, 30), Q1, before, calendar) == before.last_day


def test_a_running_quarter_has_no_linearity_yet() -> None:
    frame = linear([won("A", 100, dt.date(2026, 1, 9))], as_of=END - DAY, quarters=1)
    row = frame.iloc[0]
    assert (row["bookings"], bool(row["is_complete"]), np.isnan(row["linearity"])) == (100, False, True)
    assert frame.attrs["notes"] == [
        "2026-Q1 is not over: what share of its bookings came when is not known yet."
    ]
    curve = linearity_curve(
        states_table([won("A", 100, dt.date(2026, 1, 9))]), **context(as_of=dt.date(2026, 1, 12))
    )
    own = curve[curve["quarter"] == "2026-Q1"]
    assert (len(own), own["bookings"].iloc[-1], own["working_day"].iloc[-1]) == (12, 100, 8)
    assert own["share"].isna().all()


def test_no_or_negative_bookings_have_no_linearity() -> None:
    for rows in (EARLY, [*EARLY, won("A", -5, END)], [*EARLY, won("A", None, END)]):
        assert np.isnan(last(rows)["linearity"])
    assert linear([]).empty
    assert linearity_curve(states_table([]), **context()).empty


@pytest.mark.parametrize("as_of", [END, dt.date(2026, 2, 10)])
def test_linearity_agrees_with_a_slow_reading(as_of: dt.date) -> None:
    histories = random_histories(51, 200)
    frame = linear(rows_of(histories), as_of=as_of, quarters=5).set_index("quarter")
    assert frame.index.tolist() == ["2025-Q1", "2025-Q2", "2025-Q3", "2025-Q4", "2026-Q1"]
    holiday_free = Settings()
    for label, row in frame.iterrows():
        quarter = SETTINGS.fiscal.quarter(str(label))
        booked: dict[dt.date, float] = defaultdict(float)
        for changes in histories:
            state = state_at(changes, as_of)
            if (
                state is not None
                and is_won(state)
                and state.close_date
                and quarter.contains(state.close_date)
            ):
                booked[state.close_date] += money(state)
        total = sum(booked.values())
        assert row["bookings"] == pytest.approx(total)
        if not row["is_complete"]:
            continue
        days = [quarter.start + n * DAY for n in range(quarter.days)]
        weekdays = [day for day in days if day.weekday() < 5]
        gaps = [
            sum(value for date, value in booked.items() if date <= day) / total
            - sum(weekday <= day for weekday in weekdays) / len(weekdays)
            for day in days
        ]
        assert row["linearity"] == pytest.approx(max(map(abs, gaps)))
        assert row[["month_1_share", "month_2_share", "month_3_share"]].sum() == pytest.approx(1)
        first_month = holiday_free.fiscal.months(quarter)[0]
        assert row["month_1_share"] == pytest.approx(
            sum(value for date, value in booked.items() if first_month.contains(date)) / total
        )


def paced(rows: Rows, **options: Any) -> pd.DataFrame:
    return pace_by_quarter(states_table(rows), **context(**options))


def test_pace_by_hand() -> None:
    # 9 January is the seventh working day; 9 October is the seventh of the quarter before.
    rows = [
        won("A", 30, dt.date(2025, 10, 9)),
        won("B", 70, dt.date(2025, 10, 10)),
        won("C", 60, dt.date(2026, 1, 8)),
    ]
    as_of = dt.date(2026, 1, 9)
    frame = paced(rows, as_of=as_of)
    assert frame["quarter"].tolist() == ["2026-Q1", "2025-Q4"]
    assert frame["day"].tolist() == [as_of, dt.date(2025, 10, 9)]
    assert frame["working_day"].tolist() == [7, 7]
    assert frame.loc[1, ["booked_by_day", "booked", "share", "implied_bookings"]].tolist() == [
        30,
        100,
        0.3,
        200,
    ]
    row = pace(states_table(rows), **context(as_of=as_of)).iloc[0]
    assert row[["booked_to_date", "share_median", "quarters_observed", "pace"]].tolist() == [60, 0.3, 1, 200]
    assert row["working_days"] == 64


def test_bookings_that_were_entered_late_were_not_seen_on_the_day() -> None:
    rows = [
        won("A", 30, dt.date(2025, 10, 6), known=dt.date(2025, 10, 6)),
        won("B", 10, dt.date(2025, 10, 6), known=dt.date(2025, 10, 20)),
    ]
    assert paced(rows, as_of=dt.date(2026, 1, 9)).loc[1, ["booked_by_day", "booked"]].tolist() == [30, 40]


def test_without_a_past_the_pace_is_missing_with_a_reason() -> None:
    row = pace(states_table([won("A", 30, Q1.start)[1:]]), **context(as_of=Q1.start)).iloc[0]
    assert (row["booked_to_date"], np.isnan(row["pace"])) == (30, True)
    assert row["reason"] == "There is no past quarter to learn from."
    nothing = [won("A", 30, Q4.last_day), won("B", 5, Q1.start)]
    row = pace(states_table(nothing), **context(as_of=Q1.start)).iloc[0]
    assert row["reason"] == "By this working day past quarters had booked nothing."
    assert np.isnan(row["pace"])
    empty = pace(states_table([]), **context()).iloc[0]
    assert (empty["booked_to_date"], empty["quarters_observed"]) == (0, 0)
    with pytest.raises(InputError, match="no past quarter"):
        pace(states_table([]), **context(quarters=0))


@pytest.mark.parametrize("as_of", [Q1.start, dt.date(2026, 2, 15), END, END + 6 * DAY])
def test_pace_agrees_with_a_slow_reading_and_with_the_headlines(as_of: dt.date) -> None:
    histories = random_histories(52, 200)
    rows = rows_of(histories)
    frame = paced(rows, as_of=as_of, quarters=3)

    def booked(quarter: Period, day: dt.date) -> float:
        states = [state_at(changes, day) for changes in histories]
        return sum(
            money(s) for s in states if s and is_won(s) and s.close_date and quarter.contains(s.close_date)
        )

    for row in frame.itertuples():
        quarter = SETTINGS.fiscal.quarter(row.quarter)
        assert row.booked_by_day == pytest.approx(booked(quarter, row.day))
        if quarter != Q1:
            assert row.booked == pytest.approx(booked(quarter, as_of))
            weekdays = [quarter.start + n * DAY for n in range((row.day - quarter.start).days + 1)]
            assert row.working_day == sum(day.weekday() < 5 for day in weekdays)
    first = headlines(states_table(rows), stages_table(), **context(as_of=as_of)).set_index("id")
    row = pace(states_table(rows), **context(as_of=as_of, quarters=3)).iloc[0]
    assert row["booked_to_date"] == pytest.approx(first.loc["bookings_won", "value"])
    shares = frame["share"].dropna()
    assert row[["share_low", "share_high"]].tolist() == [shares.min(), shares.max()]


def created(rows: Rows, dates: dict[str, dt.date | None], **options: Any) -> pd.DataFrame:
    deals = table_of(DEALS, list(dates.items()))
    return create_and_close(states_table([*EARLY, *rows]), deals, **context(quarters=1, **options))


def test_create_and_close_by_hand() -> None:
    rows = [
        won(name, amount, dt.date(2026, 3, 2)) for name, amount in (("A", 10), ("B", 30), ("C", 60), ("D", 7))
    ]
    dates = {"A": Q1.start, "B": dt.date(2026, 2, 1), "C": Q1.start - DAY, "D": None}
    frame = created(rows, dates)
    row = frame.iloc[0]
    assert row[["bookings", "deals", "created_in_quarter", "created_in_quarter_deals"]].tolist() == [
        107,
        4,
        40,
        2,
    ]
    assert row[["share", "unknown_bookings"]].tolist() == [0.4, 7]
    assert row["deals_share"] == pytest.approx(2 / 3)
    assert frame.attrs["notes"] == ["1 won deal has no creation date and is in no share."]
    assert np.isnan(created([], {}).iloc[0]["share"])
    running = created(rows, dates, as_of=dt.date(2026, 3, 5))
    assert not running["is_complete"].iloc[0]
    assert "2026-Q1 is not over" in running.attrs["notes"][1]


def test_create_and_close_week_by_week_by_hand() -> None:
    first, second, third = (Q1.start + days * DAY for days in (6, 7, 20))
    rows = [won("A", 10, first), won("B", 30, third), won("C", 60, END), won("D", 100, first)]
    dates = {"A": first, "B": second, "C": third, "D": dt.date(2025, 11, 1)}
    deals = table_of(DEALS, list(dates.items()))
    frame = create_and_close_by_week(states_table([*EARLY, *rows]), deals, **context(quarters=1))
    assert frame["week"].tolist() == list(range(14))
    # After week 0, 1 and 2: created later 100, 90, 60 of 200; closed later 200, 90, 90.
    assert frame["share_median"].tolist()[:4] == [0.5, 0.45, 0.3, 0]
    assert frame["rest_share_median"].tolist()[:4] == [0.5, 1, pytest.approx(2 / 3), 0]
    assert frame["quarters_observed"].tolist()[0] == 1
    running = create_and_close_by_week(
        states_table([*EARLY, *rows]), deals, **context(quarters=1, as_of=END - DAY)
    )
    assert running["quarters_observed"].tolist() == [0]


def test_create_and_close_agrees_with_a_slow_reading() -> None:
    histories = random_histories(53, 250)
    rows = rows_of(histories)
    born = {f"D{n}": changes[0].day - 20 * DAY for n, changes in enumerate(histories)}
    deals = table_of(DEALS, list(born.items()))
    frame = create_and_close(states_table(rows), deals, **context(quarters=4)).set_index("quarter")
    weeks = create_and_close_by_week(states_table(rows), deals, **context(quarters=4)).set_index("week")
    shares: dict[int, list[float]] = defaultdict(list)
    for label, row in frame.iterrows():
        quarter = SETTINGS.fiscal.quarter(str(label))
        booked = [
            (born[f"D{n}"], money(state))
            for n, changes in enumerate(histories)
            if (state := state_at(changes, END)) is not None
            and is_won(state)
            and state.close_date
            and quarter.contains(state.close_date)
        ]
        inside = sum(amount for day, amount in booked if day >= quarter.start)
        total = sum(amount for _day, amount in booked)
        assert row["share"] == pytest.approx(inside / total)
        for week in range(5):
            cut = quarter.start + 7 * week * DAY
            shares[week].append(sum(amount for day, amount in booked if day >= cut) / total)
    for week, values in shares.items():
        assert weeks.loc[week, "share_median"] == pytest.approx(np.median(values))
        assert weeks.loc[week, "share_low"] == pytest.approx(min(values))
        assert weeks.loc[week, "share_high"] == pytest.approx(max(values))
    assert weeks.loc[0, "share_median"] > 0


def test_without_creation_dates_it_is_not_available() -> None:
    for table in (create_and_close, create_and_close_by_week):
        with pytest.raises(NotAvailableError, match="the date on which each deal was created"):
            table(states_table([]), None, **context())


def test_fiscal_calendars_of_whole_weeks() -> None:
    fiscal = Settings(calendar="4-4-5")
    quarter = fiscal.fiscal.quarter("2026-Q1")
    rows = [won("A", 100, quarter.last_day)]
    row = linearity(
        states_table([*EARLY, *rows]), as_of=quarter.last_day, period=quarter, settings=fiscal, quarters=1
    ).iloc[0]
    assert row["month_3_share"] == 1
    assert row["linearity"] == 1
