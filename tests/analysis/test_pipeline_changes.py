"""Changes deal by deal: each kind by hand, and their effects summing to the waterfall to the cent."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_kit.analysis.funnel import waterfall as funnel_waterfall
from salesops_kit.analysis.pipeline import changes, waterfall
from salesops_kit.errors import InputError, SalesOpsError
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.analysis.test_funnel_waterfall import histories, known_answer, old
from tests.states import Change, deal, states_table, table_of

DAY = dt.timedelta(days=1)
Q1 = Period(dt.date(2027, 1, 1), dt.date(2027, 4, 1), "2027-Q1")
IN_Q2 = dt.date(2027, 6, 30)
AS_OF, MID = dt.date(2027, 1, 31), dt.date(2027, 1, 12)
EVE = "2026-12-31"
WON, LOST = "Closed Won", "Closed Lost"


def run(deals: list[list[dict[str, Any]]], **options: Any) -> pd.DataFrame:
    arguments = {"as_of": AS_OF, "period": Q1, "settings": Settings(), "since": EVE, **options}
    return changes(states_table(deals), **arguments)


FIRST = old(forecast_category="Pipeline")


CASES: list[tuple[list[Change], list[tuple[str, float]]]] = [
    ([FIRST], []),
    ([FIRST.then(MID)], [("created", 100)]),
    ([FIRST, FIRST.then(MID, amount=130)], [("up", 30)]),
    ([FIRST, FIRST.then(MID, amount=60)], [("down", -40)]),
    ([FIRST, FIRST.then(MID, amount=None)], [("down", -100)]),
    ([FIRST, FIRST.then(MID, close_date=Q1.last_day - DAY)], [("advanced", 0)]),
    ([old(close_date=MID), old(close_date=Q1.last_day).then(MID)], [("postponed", 0)]),
    ([FIRST, FIRST.then(MID, close_date=IN_Q2)], [("pushed", -100)]),
    # A pushed deal leaves at its old amount, so that its new one has no effect.
    ([FIRST, FIRST.then(MID, close_date=IN_Q2, amount=70)], [("pushed", -100), ("down", 0)]),
    ([old(close_date=IN_Q2), old(80).then(MID)], [("pulled_in", 100), ("down", -20)]),
    ([FIRST, FIRST.then(MID, stage="Proposal")], [("stage_moved", 0)]),
    ([FIRST, FIRST.then(MID, forecast_category="Commit")], [("recategorised", 0)]),
    ([old(), FIRST.then(MID)], [("recategorised", 0)]),
    ([FIRST, FIRST.then(MID, stage=WON, amount=120, close_date=MID)], [("up", 20), ("won", -120)]),
    ([FIRST, FIRST.then(MID, stage=LOST, close_date=MID)], [("lost", -100)]),
    ([FIRST.then(MID), FIRST.then(MID + DAY, stage=WON)], [("created", 100), ("won", -100)]),
    ([old(stage=LOST), FIRST.then(MID)], [("reopened", 100)]),
    ([FIRST, FIRST.then(MID, is_deleted=True)], [("removed", -100)]),
    ([FIRST, FIRST.then(MID, amount=5), FIRST.then(MID + DAY)], []),
    # Never in the pipeline of the quarter.
    ([old(close_date=IN_Q2), old(7, IN_Q2, stage="Proposal").then(MID)], []),
    (
        [
            FIRST,
            FIRST.then(MID, amount=110, stage="Proposal", forecast_category="Commit", close_date=MID),
        ],
        [("up", 10), ("advanced", 0), ("stage_moved", 0), ("recategorised", 0)],
    ),
]


@lru_cache
def all_cases() -> pd.DataFrame:
    return run([deal(str(number), states) for number, (states, _expected) in enumerate(CASES)])


@pytest.mark.parametrize("number", range(len(CASES)))
def test_each_kind(number: int) -> None:
    frame = all_cases()
    own = frame[frame["opportunity_id"] == str(number)]
    assert list(zip(own["change"], own["effect"], strict=True)) == CASES[number][1]


def test_columns_say_before_and_after() -> None:
    states = [FIRST, FIRST.then(MID, stage="Proposal", amount=130, close_date=MID, owner_id="rep-2")]
    names = table_of({"opportunity_id": "string", "name": "string"}, [("A", "Big one")])
    frame = changes(
        states_table([deal("A", states)]), names, as_of=AS_OF, period=Q1, settings=Settings(), since=EVE
    )
    assert frame.iloc[0].to_dict() == {
        "opportunity_id": "A",
        "name": "Big one",
        "owner_id": "rep-2",
        "team": "North",
        "change": "up",
        "effect": 30,
        "stage_before": "Discovery",
        "stage_after": "Proposal",
        "amount_before": 100,
        "amount_after": 130,
        "close_date_before": Q1.last_day,
        "close_date_after": MID,
        "forecast_category_before": "Pipeline",
        "forecast_category_after": "Pipeline",
    }
    assert frame["change"].tolist() == ["up", "advanced", "stage_moved"]


def test_a_created_deal_has_no_before_and_an_unknown_amount_is_missing() -> None:
    row = run([deal("A", [FIRST.then(MID, amount=None)])]).iloc[0]
    assert row["change"] == "created"
    assert row["effect"] == 0
    assert pd.isna(row[["stage_before", "amount_before", "close_date_before", "amount_after"]]).all()
    assert row["name"] is None


def test_a_transfer_is_two_rows_of_two_teams() -> None:
    rows = deal("A", [FIRST, FIRST.then(MID, amount=120, team="South")])
    frame = run([rows])
    assert list(zip(frame["team"], frame["change"], frame["effect"], strict=True)) == [
        ("South", "transferred_in", 120),
        ("North", "transferred_out", -100),
    ]
    north = run([[row for row in rows if row["team"] == "North"]])
    assert north["change"].tolist() == ["transferred_out"]


def test_the_default_is_the_last_seven_days() -> None:
    states = [FIRST, FIRST.then(AS_OF - 7 * DAY, amount=110), FIRST.then(AS_OF - 6 * DAY, amount=125)]
    frame = run([deal("A", states)], since="")
    assert (frame.attrs["since"], frame.attrs["until"]) == ("2027-01-24", "2027-01-31")
    assert list(zip(frame["change"], frame["effect"], strict=True)) == [("up", 15)]
    earlier = run([deal("A", states)], since="", until="2027-01-24")
    assert (earlier.attrs["since"], earlier["effect"].tolist()) == ("2027-01-17", [10])


def test_largest_effect_first() -> None:
    rows = [
        deal("B", [old(10), old(11).then(MID)]),
        deal("C", [old(10), old(90, stage="Proposal").then(MID)]),
        deal("A", [old(10), old(9).then(MID)]),
    ]
    frame = run(rows)
    assert frame["opportunity_id"].tolist() == ["C", "C", "A", "B"]


def test_without_a_change_and_without_a_deal_there_is_no_row() -> None:
    for rows in ([], [deal("A", [FIRST])]):
        frame = run(rows)
        assert frame.empty
        assert {"change", "effect", "close_date_after"} <= set(frame.columns)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"since": "January"}, "since: this is no date; expected a date such as 2026-07-31; got 'January'"),
        ({"since": "20270101"}, "got '20270101'"),
        (
            {"until": "2027-02-01"},
            "until: nothing is known of this date yet; expected a day up to 2027-01-31",
        ),
        ({"since": "2027-01-20", "until": "2027-01-10"}, "since: this is after the later of the two dates"),
    ],
)
def test_wrong_dates_are_refused(options: dict[str, str], message: str) -> None:
    for table in (changes, waterfall):
        with pytest.raises(InputError, match=message):
            table(states_table([]), as_of=AS_OF, period=Q1, settings=Settings(), **options)


def test_all_wrong_dates_are_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        run([], since="x", until="y")
    assert [problem.column for problem in caught.value.problems] == ["until", "since"]


def test_states_that_leave_a_gap_are_refused() -> None:
    gap = deal("B", [old(), old(130).then(MID)])[:1]
    with pytest.raises(SalesOpsError, match="cannot follow 1 deals"):
        run([gap])


def lines(deals: list[list[dict[str, Any]]], **options: Any) -> pd.Series:
    arguments = {"as_of": AS_OF, "period": Q1, "settings": Settings(), **options}
    return waterfall(states_table(deals), **arguments).set_index("step")["amount"]


def test_the_waterfalls_known_answer_between_two_dates() -> None:
    amounts = lines(known_answer(), since=EVE)
    assert amounts.loc[["opening", "created", "won", "pushed", "closing"]].tolist() == [
        385,
        75,
        -120,
        -80,
        215,
    ]
    later = lines(known_answer(), since=MID.isoformat(), until="2027-01-25")
    # On the evening of 12 January every move of that day has been made.
    assert later[later != 0].to_dict() == {"opening": 360, "up": 5, "won": -120, "lost": -30, "closing": 215}


def test_empty_options_give_the_funnels_waterfall() -> None:
    rows = known_answer()
    for period in (Q1, None):
        mine = lines(rows, period=period)
        theirs = funnel_waterfall(states_table(rows), as_of=AS_OF, period=period, settings=Settings())
        assert mine.tolist() == theirs["amount"].tolist()


@given(st.lists(histories(), max_size=8), st.integers(0, 12), st.integers(0, 12), st.sampled_from([Q1, None]))
@settings(max_examples=15)
def test_effects_sum_to_the_waterfall_line_by_line(
    deals: list[list[Change]], start: int, length: int, period: Period | None
) -> None:
    since = dt.date(2026, 12, 27) + start * DAY
    until = since + length * DAY
    rows = [deal(f"D{number}", states) for number, states in enumerate(deals)]
    options: dict[str, Any] = {
        "since": since.isoformat(), "until": until.isoformat(), "as_of": until + 5 * DAY, "period": period,
    }  # fmt: skip
    effects = run(rows, **options).groupby("change")["effect"].sum()
    amounts = lines(rows, **options)
    for step in amounts.index.drop(["opening", "closing"]):
        assert effects.get(step, 0.0) == pytest.approx(amounts[step], abs=1e-6)
    assert effects.sum() == pytest.approx(amounts["closing"] - amounts["opening"], abs=1e-6)
