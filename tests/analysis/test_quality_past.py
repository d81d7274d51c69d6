"""Totals that tie, past figures that changed, and problems from snapshot to snapshot."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import ibis
import pandas as pd
import pytest

from salesops_kit.analysis import quality
from salesops_kit.data.deals import deals_at
from salesops_kit.data.earlier import COLUMNS
from salesops_kit.errors import InputError
from tests.analysis import quality_world as w
from tests.states import deal, states_table, table_of

TODAY = dt.date(2026, 6, 15)
TOTALS = {"source": "string", "period": "string", "measure": "string", "value": "decimal(18, 4)"}
LISTED = {"source": "string", "period": "string", "opportunity_id": "string", "value": "decimal(18, 4)"}


def booked() -> dict[str, list[Any]]:
    """Deals of the first quarter, of which some changed after it had ended."""
    start = w.day(1, 5)
    kept = w.won(start, w.day(2, 1), 100)
    repriced = w.won(start, w.day(2, 2), 50)
    reopened = w.won(start, w.day(2, 3), 70)
    late = [w.change(start, amount=30)]
    return {
        "kept": kept,
        "repriced": [*repriced, repriced[-1].then(w.day(4, 10), amount=80)],
        "reopened": [*reopened, reopened[-1].then(w.day(4, 20), stage="Negotiation", close_date=w.day(9, 1))],
        "late": [*late, late[-1].then(w.day(5, 2), stage="Closed Won", close_date=w.day(3, 31))],
        "edge": w.won(start, w.day(4, 3), 41),
        "far": w.won(start, w.day(5, 20), 9),
    }


def states(**more: list[Any]) -> ibis.Table:
    return states_table(deal(name, changes) for name, changes in {**booked(), **more}.items())


def restated(**values: Any) -> pd.DataFrame:
    given = {"as_of": TODAY, "period": w.Q1, "settings": w.SETTINGS, "quarters": 1} | values
    return quality.restatements(given.pop("states", states()), **given)


def test_deals_that_changed_a_past_quarter_are_named_and_make_the_difference() -> None:
    frame = restated().set_index("opportunity_id")
    assert frame["difference"].to_dict() == {"reopened": -70, "repriced": 30, "late": 30}
    assert frame["why"].to_dict() == {
        "reopened": "no longer booked", "repriced": "another amount", "late": "booked later",
    }  # fmt: skip
    assert set(frame["told_on"]) == {w.Q1.last_day}
    assert set(frame["source"]) == {"history"}


def test_a_quarter_of_which_nothing_was_told_is_compared_too() -> None:
    late = {"late": booked()["late"]}
    frame = restated(states=states_table(deal(name, changes) for name, changes in late.items()))
    assert frame[["told", "now"]].values.tolist() == [[0, 30]]


@pytest.mark.parametrize("day", [w.Q1.last_day, w.day(4, 9)])
def test_nothing_is_restated_before_it_changes(day: dt.date) -> None:
    frame = restated(as_of=day)
    assert frame.empty
    assert "told" in frame.attrs["empty"]


def test_quarters_before_are_looked_at_as_far_as_asked() -> None:
    second = w.SETTINGS.fiscal.quarter("2026-Q2")
    assert set(restated(period=second, quarters=2, as_of=dt.date(2026, 7, 1))["quarter"]) == {"2026-Q1"}
    assert restated(period=second, quarters=1, as_of=dt.date(2026, 7, 1)).empty
    with pytest.raises(InputError) as refused:
        restated(quarters=0, top=0)
    assert len(refused.value.problems) == 2


def snapshot(known: dict[str, list[Any]], day: dt.date) -> ibis.Table:
    """What an archived snapshot of these deals is to a later one."""
    rows = deals_at(states_table(deal(name, c) for name, c in known.items()), None, day, ())
    columns = {n: rows[n].cast(t) if n in rows.columns else ibis.null(t) for n, t in COLUMNS.items()}
    return rows.select(known_date=ibis.literal(day), **columns)


def test_a_snapshot_tells_what_the_history_hides() -> None:
    # The CRM now says that "kept" was won at 100 all along; the snapshot knew 60.
    before = {**booked(), "kept": w.won(w.day(1, 5), w.day(2, 1), 60)}
    frame = restated(earlier_deals=snapshot(before, w.day(4, 1)))
    told = frame[frame["source"] == "snapshot"].set_index("opportunity_id")
    assert told[["told", "now", "difference"]].loc["kept"].tolist() == [60, 100, 40]
    # What the history says already is not said twice.
    assert list(told.index) == ["kept"]


def apart(value: float, *, deals: list[tuple[str, float]] = (), **values: Any) -> pd.DataFrame:  # type: ignore[assignment]
    totals = table_of(TOTALS, [("finance", "2026-Q1", "bookings", Decimal(str(value)))])
    listed = table_of(LISTED, [("finance", "2026-Q1", name, Decimal(str(amount))) for name, amount in deals])
    given = {"as_of": TODAY, "period": w.Q1, "control_deals": listed if deals else None} | values
    return quality.tie_out_deals(given.pop("states", states()), totals, **given)


def test_declared_deals_give_the_difference_deal_by_deal() -> None:
    # Booked here: kept 100, repriced 80, late 30.
    frame = apart(235, deals=[("kept", 100), ("repriced", 75), ("edge", 60)]).set_index("opportunity_id")
    assert frame["difference"].to_dict() == {"edge": -60, "late": 30, "repriced": 5}
    assert frame["difference"].sum() == 210 - 235
    assert frame.loc["edge", ["declared", "why"]].tolist() == [60, "declared, not booked here"]
    assert frame.loc["late", "why"] == "booked here, not declared"
    assert frame["explains"].all()


def test_a_deal_with_the_very_amount_is_named_as_the_explanation() -> None:
    # 41 more than here: the deal that closed three days after the quarter.
    frame = apart(210 + 41)
    assert frame[["opportunity_id", "difference", "why"]].values.tolist() == [
        ["edge", -41, "closed just outside the quarter"]
    ]
    assert frame["explains"].all()
    late = apart(180)
    assert set(late["opportunity_id"]) == {"late", "repriced"}
    # Two deals changed by 30 each, and either makes the difference: both are named.
    assert late["explains"].all()


def test_two_deals_together_explain_a_difference() -> None:
    alone = {name: changes for name, changes in booked().items() if name != "repriced"}
    rows = states_table(deal(name, changes) for name, changes in alone.items())
    frame = apart(130 - 30 + 41, states=rows)
    assert set(frame.loc[frame["explains"], "opportunity_id"]) == {"edge", "late"}
    assert frame["difference"].sum() == 130 - 141


def test_candidates_are_listed_where_no_amount_fits() -> None:
    frame = apart(1000)
    assert not frame["explains"].any()
    assert {"edge", "late", "repriced", "reopened"} <= set(frame["opportunity_id"])
    assert "far" not in set(frame["opportunity_id"])


def test_what_was_set_aside_may_be_what_is_missing() -> None:
    flags = table_of(
        w.EXCLUSIONS,
        [w.flag(opportunity_id="lost-row", amount=55, action="set aside", problem="x", source_row=2)],
    )
    frame = apart(265, exclusions=flags)
    assert frame[["opportunity_id", "difference"]].values.tolist() == [["lost-row", -55]]


@pytest.mark.parametrize("values", [{"period": None}, {"as_of": w.day(3, 30)}])
def test_nothing_is_listed_where_nothing_can_be_compared(values: dict[str, Any]) -> None:
    assert apart(1, **values).empty
    assert apart(210).empty


def run_down(**values: Any) -> pd.DataFrame:
    tables = w.world()
    names = ("opportunity_states", "opportunities", "stages", "accounts", "reps")
    return quality.burn_down(*(tables[name] for name in names), **w.context(**values))


def test_problems_go_down_from_snapshot_to_snapshot() -> None:
    now = w.deals()
    mended = {**now, "extra": [w.change(w.day(1, 10), amount=0)], "good": [w.change(w.day(1, 10), amount=0)]}
    del mended["zero"]
    tables = w.world()
    earlier = snapshot(mended, w.day(3, 1)).mutate(
        account_id=ibis.literal("A1"), currency=ibis.literal("USD")
    )
    earlier = earlier.mutate(loss_reason=ibis.literal("price"))
    frame = quality.burn_down(
        *(tables[name] for name in ("opportunity_states", "opportunities", "stages", "accounts", "reps")),
        earlier, **w.context(),
    ).set_index(["owner_id", "known_date"])  # fmt: skip
    before, after = frame.loc["rep-1", w.day(3, 1)], frame.loc["rep-1", w.AS_OF]
    # Then: two zero amounts, a negative one, two fields that are needed; due dates were ahead.
    assert before[["problems", "deals"]].tolist() == [5, 5]
    # Now: overdue, zero, negative, no-reason, orphan twice, and the same two fields.
    assert after[["problems", "deals", "solved", "new"]].tolist() == [8, 7, 2, 5]
    assert pd.isna(before["solved"])
    assert frame.loc["gone", w.AS_OF]["new"] == 1


def test_without_an_earlier_snapshot_only_today_is_told() -> None:
    frame = run_down()
    assert set(frame["known_date"]) == {w.AS_OF}
    assert frame.attrs["notes"] == ["The archive holds no earlier snapshot to compare with."]
    team = quality.burn_down(w.world()["opportunity_states"], by="team", **w.context())
    assert list(team["team"].unique()) == ["North"]


def test_checks_tell_the_trend_against_the_newest_snapshot() -> None:
    tables = w.world()
    older = snapshot({"zero": w.deals()["zero"]}, w.day(2, 1))
    newer = snapshot({name: w.deals()[name] for name in ("zero", "overdue")}, w.day(3, 31) - dt.timedelta(1))
    frame = quality.checks(
        tables["opportunity_states"], tables["opportunities"], earlier_deals=older.union(newer), **w.context()
    )
    assert frame.attrs["previous"] == "2026-03-30"
    frame = frame.set_index("check_id")
    assert frame.loc["zero-amount", ["rows", "previous_rows", "change"]].tolist() == [1, 1, 0]
    assert frame.loc["overdue", ["rows", "previous_rows", "change"]].tolist() == [1, 0, 1]
    # What the import flagged is not known of a snapshot.
    assert frame.loc[["unreadable", "missing-currency"], "previous_rows"].isna().all()
