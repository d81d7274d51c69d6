"""What moved out of a quarter, and how often deals were pushed."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salesops_kit.analysis.funnel import waterfall
from salesops_kit.analysis.pipeline import pushed_deals, pushes, slippage
from salesops_kit.errors import InputError
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.histories import (
    CLOSED,
    DAY,
    LOST,
    TEAMS,
    WON,
    is_live,
    money,
    of_team,
    random_histories,
    rows_of,
    state_at,
)
from tests.states import Change, deal, states_table, table_of

SETTINGS = Settings()
Q1 = Period(dt.date(2026, 1, 1), dt.date(2026, 4, 1), "2026-Q1")
AS_OF = Q1.last_day
OLD, MID, IN_Q1, IN_Q2 = dt.date(2025, 9, 1), dt.date(2026, 2, 1), dt.date(2026, 3, 1), dt.date(2026, 5, 1)
FATES = ("won", "lost", "moved_out", "still_due", "removed", "transferred")
Rows = list[list[dict[str, Any]]]


def due(amount: float | None = 100, close_date: dt.date | None = IN_Q1, day: dt.date = OLD) -> Change:
    return Change(day, amount=amount, close_date=close_date)


def slipped(rows: Rows, **options: Any) -> pd.DataFrame:
    return slippage(states_table(rows), **{"as_of": AS_OF, "period": Q1, "settings": SETTINGS, **options})


@pytest.mark.parametrize(
    ("then", "fate"),
    [
        ({}, "still_due"),
        ({"close_date": Q1.last_day}, "still_due"),
        ({"close_date": Q1.end}, "moved_out"),
        ({"close_date": None}, "moved_out"),
        ({"close_date": dt.date(2025, 12, 31)}, "moved_out"),
        ({"stage": WON, "close_date": MID}, "won"),
        ({"stage": LOST, "close_date": IN_Q2}, "lost"),
        ({"is_deleted": True}, "removed"),
        ({"team": "South"}, "transferred"),
        ({"amount": 900}, "still_due"),
    ],
)
def test_each_deal_has_one_fate_at_the_amount_of_the_opening(then: dict[str, Any], fate: str) -> None:
    row = slipped([deal("A", [due(), due().then(MID, **then)])]).iloc[0]
    assert {
        name: (row[f"{name}_deals"], row[f"{name}_amount"]) for name in FATES if row[f"{name}_deals"]
    } == {fate: (1, 100)}
    assert row["slippage"] == (1 if fate == "moved_out" else 0)


def test_by_hand() -> None:
    rows = [
        deal("A", [due(300), due(450, IN_Q2).then(MID)]),
        deal("B", [due(100)]),
        deal("C", [due(50, IN_Q2)]),
        deal("D", [due(70, day=Q1.start), due(70, IN_Q2).then(MID)]),
        deal("E", [due(None), due(None, IN_Q2).then(MID)]),
    ]
    frame = slipped(rows)
    row = frame.iloc[0]
    assert row[["due_deals", "due_amount", "moved_out_deals", "moved_out_amount"]].tolist() == [
        3,
        400,
        2,
        300,
    ]
    assert row[["slippage", "slippage_deals"]].tolist() == [0.75, pytest.approx(2 / 3)]
    assert frame.attrs["notes"] == ["1 deal had no amount when its quarter opened and counts as 0."]


def test_nothing_due_is_missing_and_unknown_quarters_have_no_row() -> None:
    frame = slipped([deal("A", [due(100, IN_Q2)])], quarters=3)
    assert frame["quarter"].tolist() == ["2025-Q4", "2026-Q1"]
    assert frame["slippage"].isna().all()
    assert slipped([], quarters=3).empty
    assert slipped([deal("A", [due(100, IN_Q2)])], by="team").empty
    with pytest.raises(InputError, match="expected 1 or more; got '0'"):
        slipped([], quarters=0)


@pytest.mark.parametrize("as_of", [AS_OF, dt.date(2026, 2, 10), dt.date(2026, 4, 9)])
def test_slippage_agrees_with_a_slow_reading_and_teams_sum_to_the_company(as_of: dt.date) -> None:
    histories = random_histories(41, 300)
    rows = rows_of(histories)
    frame = slipped(rows, as_of=as_of, by="team,stage", quarters=4)
    slow: Counter[tuple[str, ...]] = Counter()
    amounts: Counter[tuple[str, ...]] = Counter()
    quarter = Q1
    for _quarter in range(4):
        for changes in histories:
            first = state_at(changes, quarter.start - DAY)
            last = state_at(changes, min(as_of, quarter.last_day))
            if first is None or last is None or not is_live(first) or first.close_date is None:
                continue
            if not quarter.contains(first.close_date):
                continue
            inside = last.close_date is not None and quarter.contains(last.close_date)
            fate = "still_due" if inside else "moved_out"
            if last.stage in CLOSED:
                fate = "won" if last.stage == WON else "lost"
            if last.is_deleted:
                fate = "removed"
            if last.team != first.team:
                fate = "transferred"
            key = (first.team, first.stage, quarter.label, fate)
            slow[key] += 1
            amounts[key] += money(first)  # type: ignore[assignment]
        quarter = SETTINGS.fiscal.previous(quarter)
    assert {key[3] for key in slow} == set(FATES)
    found = {
        (row["team"], row["stage"], row["quarter"], fate): row[f"{fate}_deals"]
        for row in frame.to_dict("records")
        for fate in FATES
        if row[f"{fate}_deals"]
    }
    assert found == dict(slow)
    whole = slipped(rows, as_of=as_of, quarters=4)
    for fate in FATES:
        assert whole[f"{fate}_amount"].sum() == pytest.approx(
            sum(value for key, value in amounts.items() if key[3] == fate)
        )
    parts = [slipped(of_team(rows, team), as_of=as_of, quarters=4) for team in TEAMS]
    numbers = [f"{name}_{kind}" for name in ("due", *FATES) for kind in ("deals", "amount")]
    assert (parts[0][numbers] + parts[1][numbers]).to_numpy() == pytest.approx(whole[numbers].to_numpy())
    assert whole[[f"{fate}_amount" for fate in FATES]].sum(axis=1).to_numpy() == pytest.approx(
        whole["due_amount"].to_numpy()
    )


def test_due_at_the_open_is_the_opening_of_the_waterfall() -> None:
    rows = rows_of(random_histories(42, 150))
    opening = waterfall(states_table(rows), as_of=AS_OF, period=Q1, settings=SETTINGS).set_index("step")
    row = slipped(rows).iloc[0]
    assert (row["due_amount"], row["due_deals"]) == tuple(opening.loc["opening", ["amount", "deals"]])


def pushed(rows: Rows, **options: Any) -> pd.DataFrame:
    return pushes(states_table(rows), **{"as_of": AS_OF, "period": Q1, "settings": SETTINGS, **options})


def moved(*dates: dt.date | None, days: int = 1, **more: Any) -> list[Change]:
    """A deal that is due on one date after another, each for some days."""
    return [Change(OLD + days * number * DAY, close_date=date, **more) for number, date in enumerate(dates)]


MARCH, APRIL, MAY, JUNE = (dt.date(2026, month, 15) for month in (3, 4, 5, 6))


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        (moved(MARCH), 0),
        (moved(MARCH, dt.date(2026, 3, 31)), 0),
        (moved(dt.date(2026, 3, 31), dt.date(2026, 4, 1)), 1),
        (moved(dt.date(2025, 12, 31), dt.date(2026, 1, 1)), 1),
        (moved(APRIL, MARCH), 0),
        (moved(MARCH, APRIL, MARCH, APRIL), 2),
        (moved(MARCH, APRIL, MAY, JUNE), 3),
        (moved(None, APRIL), 0),
        (moved(MARCH, None, APRIL), 1),
        (moved(MARCH, APRIL, MARCH, days=0), 0),
        ([*moved(MARCH), Change(OLD + DAY, close_date=APRIL, team="South")], 0),
        ([*moved(MARCH, APRIL), Change(OLD + 3 * DAY, close_date=MAY, team="South")], 1),
        ([*moved(MARCH), Change(AS_OF, close_date=APRIL)], 1),
        ([*moved(MARCH), Change(AS_OF + DAY, close_date=APRIL)], 0),
    ],
)
def test_what_counts_as_a_push(changes: list[Change], count: int) -> None:
    frame = pushed([deal("A", changes)])
    assert frame["pushes"].tolist() == ["0", "1", "2", "3+"]
    assert frame["open_deals"].tolist() == [int(place == count) for place in range(4)]


def test_win_rate_by_pushes_leaves_duplicates_out() -> None:
    rows = []
    for number, (stage, dates) in enumerate(
        [(WON, (MARCH,)), (LOST, (MARCH,)), (LOST, (MARCH,)), (WON, (MARCH, APRIL)), (LOST, (MARCH, APRIL))]
    ):
        changes = moved(*dates)
        closing = changes[-1].then(MID, stage=stage, close_date=IN_Q1)
        rows.append(deal(f"D{number}", [*changes, closing]))
    types = {"opportunity_id": "string", "loss_reason": "string"}
    deals = table_of(types, [(f"D{n}", "duplicate" if n == 2 else None) for n in range(5)])
    frame = pushed(rows, opportunities=deals)
    assert frame[["won", "lost"]].to_numpy().tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]
    assert frame["win_rate"].tolist()[:2] == [0.5, 0.5]
    assert frame["win_rate"].isna().tolist() == [False, False, True, True]
    assert "duplicates" in pushed(rows).attrs["notes"][0]
    assert pushed(rows, period=None)["lost"].sum() == 3
    assert pushed([])["open_deals"].tolist() == [0] * 4


def slow_pushes(changes: list[Change], as_of: dt.date) -> int:
    """Day by day: how often the month rose while the deal stayed open, dated and in one team."""
    count = 0
    before: Change | None = None
    for number in range((as_of - changes[0].day).days + 1):
        state = state_at(changes, changes[0].day + number * DAY)
        # A stay that begins and ends within a day still separates what lies around it.
        today = [change for change in changes if change.day == changes[0].day + number * DAY]
        if state is not None and any(change.team != state.team for change in today):
            before = None
        if state is None or state.close_date is None or not is_live(state):
            continue
        if before is not None and before.team == state.team and before.close_date is not None:
            older = (before.close_date.year, before.close_date.month)
            count += (state.close_date.year, state.close_date.month) > older
        before = state
    return count


@pytest.mark.parametrize("as_of", [AS_OF, dt.date(2026, 1, 15)])
def test_pushes_agree_with_a_slow_reading(as_of: dt.date) -> None:
    histories = random_histories(43, 200)
    slow = Counter(
        min(slow_pushes(changes, as_of), 3) for changes in histories if is_live(state_at(changes, as_of))
    )
    assert len(slow) >= 3
    frame = pushed(rows_of(histories), as_of=as_of)
    assert frame["open_deals"].tolist() == [slow[count] for count in range(4)]


def test_pushed_deals_are_listed_largest_first() -> None:
    rows = [
        deal("A", moved(MARCH, APRIL, MAY, JUNE, amount=10)),
        deal("B", moved(MARCH, APRIL, MAY, JUNE, amount=90)),
        deal("C", moved(MARCH, APRIL, MAY, amount=500)),
        deal("D", [*moved(MARCH, APRIL, MAY, JUNE), Change(MID, "Closed Lost", close_date=MID)]),
    ]
    context: dict[str, Any] = {"as_of": AS_OF, "period": Q1, "settings": SETTINGS}
    frame = pushed_deals(states_table(rows), **context)
    assert frame["opportunity_id"].tolist() == ["B", "A"]
    assert frame[["pushes", "days_moved"]].to_numpy().tolist() == [[3, 92], [3, 92]]
    assert frame["first_close_date"].tolist() == [MARCH, MARCH]
    assert pushed_deals(states_table(rows), **context, at_least=2)["opportunity_id"].tolist() == [
        "C",
        "B",
        "A",
    ]
    assert pushed_deals(states_table(rows), **context, in_period=True).empty
    short = pushed_deals(states_table(rows), **context, top=1)
    assert (len(short), short.attrs["notes"]) == (1, ["1 more deal is not listed."])
    with pytest.raises(InputError, match="at_least") as refused:
        pushed_deals(states_table(rows), **context, at_least=0, top=0)
    assert len(refused.value.problems) == 2


def test_row_order_does_not_matter() -> None:
    rows = [row for states in rows_of(random_histories(44)) for row in states]
    shuffled = [rows[at] for at in np.random.default_rng(1).permutation(len(rows))]
    for function in (slipped, pushed):
        pd.testing.assert_frame_equal(function([rows]), function([shuffled]))
