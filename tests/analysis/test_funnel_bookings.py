"""Bookings by quarter: hand-made deals, an independent count over random histories, teams sum to all."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import Any

import pandas as pd
import pytest

from salesops_kit.analysis.funnel import bookings
from salesops_kit.errors import InputError
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.estimators.test_targets import PLAN
from tests.histories import LAST, WON, is_won, money, random_histories, rows_of, state_at
from tests.states import Change, deal, states_table, table_of

SETTINGS = Settings()
Q1 = Period(dt.date(2026, 1, 1), dt.date(2026, 4, 1), "2026-Q1")


def run(rows: Any, as_of: dt.date = Q1.last_day, period: Period | None = Q1, **options: Any) -> pd.DataFrame:
    return bookings(states_table(rows), as_of=as_of, period=period, settings=SETTINGS, **options)


def won(name: str, amount: float | None, closing: dt.date, team: str = "North") -> Any:
    first = Change(dt.date(2025, 7, 1), amount=amount, close_date=closing, team=team)
    return deal(name, [first, first.then(closing, stage=WON)])


FOUR = [
    won("A", 100, dt.date(2025, 11, 5)),
    won("B", 50, dt.date(2025, 12, 31)),
    won("C", 70, dt.date(2026, 1, 1)),
    won("D", 5, dt.date(2026, 3, 31), team="South"),
]


def test_a_deal_counts_in_the_quarter_of_its_close_date_and_quarters_before_the_first_are_left_out() -> None:
    frame = run(FOUR)
    assert frame["quarter"].tolist() == ["2025-Q4", "2026-Q1"]
    assert frame["bookings"].tolist() == [150.0, 75.0]
    assert frame["deals_won"].tolist() == [2, 2]
    assert frame["is_over"].tolist() == [True, True]
    assert frame["bookings_to_day"].tolist() == [150.0, 75.0]


def test_within_the_quarter_earlier_ones_are_cut_at_the_same_day() -> None:
    # 5 February is the 36th day; 5 November of the quarter before is the 36th too.
    frame = run(FOUR, as_of=dt.date(2026, 2, 5))
    assert frame["bookings"].tolist() == [150.0, 70.0]
    assert frame["bookings_to_day"].tolist() == [100.0, 70.0]
    assert frame["is_over"].tolist() == [True, False]
    assert run(FOUR, as_of=dt.date(2026, 2, 4))["bookings_to_day"].tolist() == [0.0, 70.0]


def test_a_group_without_bookings_has_zeros_and_its_target() -> None:
    plan = table_of(PLAN, [("West", Q1.start, "bookings", 900), ("North", Q1.start, "bookings", 100)])
    frame = run(FOUR, plan=plan, by="team").set_index(["team", "quarter"])
    assert frame.loc[("West", "2026-Q1"), ["deals_won", "bookings", "target"]].tolist() == [0, 0.0, 900.0]
    assert frame.loc[("North", "2026-Q1"), "target"] == 100
    assert frame["target"].notna().sum() == 2, "a target stands beside the last quarter alone"
    assert run(FOUR, plan=plan)["target"].tolist()[-1] == 1000
    assert run(FOUR, plan=plan, by="stage")["target"].isna().all()


@pytest.mark.parametrize("rows", [[], [won("A", None, dt.date(2026, 2, 1))]])
def test_nothing_and_an_unknown_amount_are_zero(rows: Any) -> None:
    frame = run(rows)
    assert frame["bookings"].tolist() == [0.0]
    assert frame["deals_won"].tolist() == [len(rows)]


@pytest.mark.parametrize("quarters", [0, 41])
def test_a_number_of_quarters_out_of_range_is_refused(quarters: int) -> None:
    with pytest.raises(InputError, match="1 to 40"):
        run(FOUR, quarters=quarters)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("as_of", [dt.date(2026, 2, 14), Q1.last_day, LAST])
def test_it_agrees_with_a_slow_count_and_teams_sum_to_all(seed: int, as_of: dt.date) -> None:
    histories = random_histories(seed)
    expected: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0.0])
    for history in histories:
        state = state_at(history, as_of)
        if state is None or not is_won(state) or state.close_date is None:
            continue
        if dt.date(2024, 4, 1) <= state.close_date < Q1.end:
            quarter = f"{state.close_date.year}-Q{(state.close_date.month + 2) // 3}"
            cell = expected[state.team, quarter]
            cell[0] += 1
            cell[1] += float(money(state))
    by_team = run(rows_of(histories), as_of=as_of, by="team")
    found = {
        (row.team, row.quarter): [row.deals_won, row.bookings]
        for row in by_team.itertuples()
        if row.deals_won
    }
    assert found == {key: pytest.approx(cell) for key, cell in expected.items()}
    whole = run(rows_of(histories), as_of=as_of)
    summed = by_team.groupby("quarter")[["deals_won", "bookings", "bookings_to_day"]].sum()
    for name in summed:
        assert whole.set_index("quarter")[name].to_dict() == pytest.approx(summed[name].to_dict())
