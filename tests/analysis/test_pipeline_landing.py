"""Where the period lands: past quarters on the same day, what is booked and called, and the forecast."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from functools import lru_cache
from typing import Any

import ibis.expr.types as ir
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_kit.analysis.funnel import headlines as funnel_headlines
from salesops_kit.analysis.pipeline._past import Past, past_quarters
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.needing import run_table
from tests.states import Change, deal, states_table, table_of

DAY = dt.timedelta(days=1)
Q1 = Period(dt.date(2027, 1, 1), dt.date(2027, 4, 1), "2027-Q1")
AS_OF = dt.date(2027, 2, 14)
# As far into the quarters before as AS_OF is into Q1: 44 days after their first.
THEN = dt.date(2026, 11, 14)
IN_Q4, IN_Q1, IN_Q2 = dt.date(2026, 12, 31), dt.date(2027, 3, 31), dt.date(2027, 6, 30)
WON, LOST = "Closed Won", "Closed Lost"
FIRST = Change(dt.date(2026, 6, 1), close_date=dt.date(2026, 6, 2), stage=LOST)


def due(
    name: str, day: dt.date, close_date: dt.date | None, *later: Change, **more: Any
) -> list[dict[str, Any]]:
    return deal(name, [Change(day, close_date=close_date, **more), *later])


def ended(day: dt.date, stage: str, amount: float | None = 100, **more: Any) -> Change:
    return Change(day, stage=stage, amount=amount, close_date=day, **more)


def world() -> list[list[dict[str, Any]]]:
    """One past quarter known from its beginning (2026-Q4; the history begins in 2026-Q2) and Q1."""
    autumn, winter = dt.date(2026, 10, 5), dt.date(2027, 1, 5)
    return [
        deal("first", [FIRST]),
        due("was due, won", autumn, IN_Q4, ended(dt.date(2026, 12, 1), WON, 90), forecast_category="Commit"),
        due("was due, lost", autumn, IN_Q4, ended(dt.date(2026, 12, 1), LOST), amount=50),
        due("was booked", autumn, IN_Q4, ended(THEN, WON, 70)),
        due("came later", THEN + DAY, IN_Q4, ended(dt.date(2026, 12, 20), WON, 30)),
        due("pulled in", autumn, IN_Q1, ended(dt.date(2026, 12, 15), WON, 40), amount=20),
        due("won after its quarter", autumn, IN_Q4, ended(dt.date(2027, 1, 9), WON, 8), amount=60),
        due("booked", winter, IN_Q1, ended(AS_OF, WON, 200)),
        due(
            "in commit", winter, IN_Q1, amount=80, forecast_category="Commit", team="South", owner_id="rep-2"
        ),
        due("best case", winter, IN_Q1, amount=40, forecast_category="best_case"),
        due("unpriced", winter, IN_Q1, amount=None),
        due("next quarter", winter, IN_Q2, amount=999),
    ]


@lru_cache
def world_table() -> ir.Table:
    return states_table(world())


def run(
    deals: list[list[dict[str, Any]]] | None = None,
    as_of: dt.date = AS_OF,
    name: str = "pipeline.landing",
    tables: dict[str, ir.Table] | None = None,
    **options: Any,
) -> pd.DataFrame:
    context = {"as_of": as_of, "period": Q1, "settings": Settings()}
    states = world_table() if deals is None else states_table(deals)
    return run_table(name, {"opportunity_states": states, **(tables or {})}, context, **options)


def past_of(
    deals: list[list[dict[str, Any]]] | None = None,
    as_of: dt.date = AS_OF,
    count: int = 8,
    **options: Any,
) -> Past:
    states = world_table() if deals is None else states_table(deals)
    return past_quarters(states, as_of, Q1, Settings(), count, **options)


def test_the_past_on_the_same_day() -> None:
    past = past_of()
    assert [quarter.label for quarter in past.quarters] == ["2026-Q3", "2026-Q4", "2027-Q1"]
    assert past.days[1:] == (THEN, AS_OF)
    sums = past.rows.groupby(["quarter", "kind"])[["deals", "won", "amount", "won_amount"]].sum()
    assert {key: tuple(row) for key, row in sums.iterrows()} == {
        (1, "due"): (3, 1, 210, 90),
        (1, "booked"): (1, 1, 70, 70),
        (1, "later"): (2, 2, 0, 70),
        (2, "due"): (3, 0, 120, 0),
        (2, "booked"): (2, 2, 208, 208),
    }


def slow_kind(changes: list[Change], quarter: Period, day: dt.date, as_of: dt.date) -> tuple[Any, ...] | None:
    """What one deal was to a quarter on a day, from its changes: kind, won by now, amounts then and now."""

    def at(moment: dt.date) -> Change | None:
        known = [change for change in changes if change.day <= moment]
        return None if not known or known[-1].is_deleted else known[-1]

    def inside(state: Change | None) -> bool:
        return state is not None and state.close_date is not None and quarter.contains(state.close_date)

    then, now = at(day), at(as_of)
    won = inside(now) and now is not None and now.stage == WON
    final = Decimal(str(now.amount or 0)) if won and now is not None else Decimal(0)
    if then is not None and inside(then) and then.stage != LOST:
        kind = "booked" if then.stage == WON else "due"
        return kind, won, Decimal(str(then.amount or 0)), final
    return ("later", True, Decimal(0), final) if won else None


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    days = sorted(draw(st.lists(st.integers(0, 12), min_size=1, max_size=6)))
    return [
        Change(
            dt.date(2026, 9, 25) + 14 * day * DAY,
            stage=draw(st.sampled_from(["Discovery", "Proposal", WON, LOST])),
            amount=draw(st.sampled_from([None, 10, 25.5, 40.01])),
            close_date=draw(st.sampled_from([IN_Q4, IN_Q1, THEN, None])),
            is_deleted=draw(st.sampled_from([False, False, False, False, True])),
        )
        for day in days
    ]


@given(st.lists(histories(), max_size=10), st.integers(0, 89))
@settings(max_examples=8)
def test_the_past_agrees_with_a_slow_version(deals: list[list[Change]], offset: int) -> None:
    as_of = Q1.start + offset * DAY
    rows = [deal("first", [FIRST]), *(deal(f"D{n}", changes) for n, changes in enumerate(deals))]
    past = past_of(rows, as_of, count=1)
    expected: dict[tuple[int, str], list[Any]] = {}
    for place, (quarter, day) in enumerate(zip(past.quarters, past.days, strict=True)):
        for changes in deals:
            found = slow_kind(changes, quarter, day, as_of)
            if found is not None:
                sums = expected.setdefault((place, found[0]), [0, 0, Decimal(0), Decimal(0)])
                for at, value in enumerate((1, *found[1:])):
                    sums[at] += value
    sums = past.rows.groupby(["quarter", "kind"])[["deals", "won", "amount", "won_amount"]].sum()
    found = {key: [round(value, 4) for value in row] for key, row in sums.iterrows()}
    assert found == {key: [float(value) for value in values] for key, values in expected.items()}


def test_quarters_whose_beginning_is_not_known_teach_nothing() -> None:
    rows = world()[1:]
    assert past_of(rows).here == 0
    frame = run(rows)
    assert frame["booked"].item() == 208
    assert frame.attrs["notes"][0].startswith("No earlier quarter is known from its beginning")


def test_booked_commit_and_best_case() -> None:
    row = run().iloc[0]
    assert row[["booked", "commit", "best_case", "open_due"]].tolist() == [208, 288, 328, 120]
    assert row[["deals_booked", "deals_open"]].tolist() == [2, 3]
    assert run().attrs["notes"] == [
        "Only 3 wins after this day of a past quarter are known, so that the forecast is wide.",
        "1 open deal due in the period has no amount and counts as 0.",
    ]


def test_what_is_expected_is_the_forecasts() -> None:
    row, forecast = run().iloc[0], run(name="forecast.outlook").iloc[0]
    assert row["booked"] == forecast["booked"] == 208
    names = {"expected_open": "open_deals", "expected_later": "create_and_close", "likely": "mean"}
    for name, other in {**names, "low": "p10", "high": "p90"}.items():
        assert row[name] == pytest.approx(forecast[other], abs=0.005), name
    assert row["likely"] == pytest.approx(
        row["booked"] + row["expected_open"] + row["expected_later"], abs=0.01
    )
    assert 208 <= row["low"] < row["likely"] < row["high"]


def test_teams_and_reps_sum_to_the_whole() -> None:
    whole = run().iloc[0]
    for by in ("team", "owner_id"):
        parts = run(by=by)
        assert len(parts) == 2
        for name in (
            "booked",
            "commit",
            "best_case",
            "open_due",
            "expected_open",
            "expected_later",
            "likely",
        ):
            assert parts[name].sum() == pytest.approx(whole[name], abs=0.02), name
        cents = sum((Decimal(f"{value:.2f}") for value in parts["likely"]), Decimal(0))
        assert cents == Decimal(f"{whole['likely']:.2f}")
        assert (parts["low"] >= parts["booked"]).all()
    assert run(by="team").set_index("team").loc["South", "commit"] == 80


def test_reps_without_an_owner_are_a_row_of_their_own() -> None:
    rows = [*world(), due("nobody's", dt.date(2027, 1, 5), IN_Q1, owner_id=None, amount=10)]
    frame = run(rows, by="owner_id")
    assert frame["owner_id"].tolist()[:2] == ["rep-1", "rep-2"]
    assert pd.isna(frame["owner_id"].iloc[2])
    assert frame["open_due"].tolist() == [40, 80, 10]


@pytest.mark.parametrize(
    ("as_of", "is_over"), [(Q1.last_day - DAY, False), (Q1.last_day, True), (Q1.last_day + 9 * DAY, True)]
)
def test_after_the_last_day_nothing_is_expected(as_of: dt.date, is_over: bool) -> None:
    row = run(as_of=as_of).iloc[0]
    assert pd.isna(row["low"]) == is_over
    assert row["booked"] <= row["likely"]
    assert row["likely"] == row["booked"] or not is_over
    assert ("2027-Q1 is over: nothing more is expected." in run(as_of=as_of).attrs["notes"]) == is_over


def test_without_any_deal() -> None:
    row = run([]).iloc[0]
    assert row[["booked", "commit", "open_due", "deals_open"]].tolist() == [0, 0, 0, 0]
    assert pd.isna(row["likely"])
    assert run([], by="team").empty


def test_all_null_columns() -> None:
    unknown = dict.fromkeys(["amount", "forecast_category", "owner_id"])
    rows = [[{**row, **unknown} for row in states] for states in world()]
    row = run(rows).iloc[0]
    assert row[["booked", "open_due", "expected_open", "expected_later"]].tolist() == [0, 0, 0, 0]
    assert run(rows, by="owner_id")["deals_open"].tolist() == [3]


PLAN = {"team": "string", "period_start_date": "date", "measure": "string", "amount": "decimal(18, 4)"}


def test_headlines_agree_with_the_tables_and_the_funnel() -> None:
    states = world_table()
    plan = table_of(
        PLAN, [("North", Q1.start, "bookings", Decimal(700)), ("South", Q1.start, "bookings", Decimal(300))]
    )
    options: dict[str, Any] = {"as_of": AS_OF, "period": Q1, "settings": Settings()}
    frame = run(name="pipeline.headlines", tables={"plan": plan}).set_index("id")
    row = run(tables={"plan": plan}).iloc[0]
    assert row["target"] == 1000
    assert frame["target"].loc[["bookings_to_date", "pace", "landing", "commit"]].tolist() == [1000] * 4
    assert frame.loc["landing", ["value", "low", "high"]].tolist() == row[["likely", "low", "high"]].tolist()
    assert frame.loc["landing_gap", "value"] == row["gap"] == row["likely"] - 1000
    assert frame.loc["commit", "value"] == 288
    assert frame.loc["coverage", "value"] == pytest.approx(120 / (1000 - 208))
    funnel = funnel_headlines(states, table_of({"pipeline": "string"}, []), **options).set_index("id")
    assert frame.loc["bookings_to_date", "value"] == funnel.loc["bookings_won", "value"]
    assert frame.loc["bookings_to_date", "prior"] == funnel.loc["bookings_won", "prior"] == 70
    assert frame.loc["landing", "prior"] == 70 + 90 + 70


def test_headlines_without_a_plan_and_without_a_past() -> None:
    frame = run([], name="pipeline.headlines").set_index("id")
    assert frame["value"].isna().to_dict() == {
        "bookings_to_date": False, "pace": True, "landing": True, "commit": False, "best_case": False,
        "landing_gap": True, "coverage": True,
    }  # fmt: skip
    assert (frame.loc[frame["value"].isna(), "reason"] != "").all()
    assert (frame.loc[frame["value"].notna(), "reason"] == "").all()
