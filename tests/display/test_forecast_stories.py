"""The forecast's exhibits on hand-made frames: what is said follows from the figures."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
import pytest

from salesops_kit.display.stories import forecast
from tests.display.reading import row_labels, words

NAN = float("nan")


def framed(rows: list[dict[str, Any]], **attrs: Any) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    frame.attrs |= {"currency": "EUR", **attrs}
    return frame


def moment(period: str, actual: float = NAN, likely: float = NAN, target: float = NAN) -> dict[str, Any]:
    spread = {"low": 0.8, "inner_low": 0.9, "median": 0.99, "inner_high": 1.1, "high": 1.2}
    return {
        "period": period, "actual": actual, "likely": likely,
        **{name: likely * factor for name, factor in spread.items()}, "target": target,
    }  # fmt: skip


def test_quarters_say_where_this_one_and_the_next_land() -> None:
    frame = framed(
        [moment("2026-Q2", 90), moment("2026-Q3", likely=100, target=125), moment("2026-Q4", likely=50)]
    )
    exhibit = forecast.quarters(frame)
    assert exhibit.message == (
        "2026-Q3 is likely to land at €100, eight times in ten between €80 and €120: 80% of plan (€125). "
        "2026-Q4 is likely to land at €50, eight times in ten between €40 and €60."
    )
    assert exhibit.figure is not None
    assert "likely €50" in words(exhibit.figure)
    assert exhibit.alternative.startswith("Bookings by quarter, 2026-Q2 €90; then the forecast.")
    assert "Nothing can be forecast yet" in forecast.quarters(framed([moment("2026-Q3")])).message


def test_weeks_say_what_is_booked_and_what_is_to_come() -> None:
    frame = framed([moment("1", 10), moment("2", 30), moment("3", likely=100)])
    assert forecast.weeks(frame).message == (
        "€30 is booked by week 2; €70 more is likely by the end of week 3."
    )
    assert forecast.weeks(frame.head(2)).message == "€30 is booked by week 2."
    done = framed([moment("1", 30), moment("2", likely=30)])
    assert forecast.weeks(done).message == (
        "€30 is booked by week 1; nothing more is likely by the end of week 2."
    )
    nothing = framed([moment("1", 0), moment("2", likely=0)])
    assert forecast.weeks(nothing).message == (
        "Nothing is booked by week 1; nothing more is likely by the end of week 2."
    )


def test_a_range_without_width_is_not_told() -> None:
    sure = {**moment("2026-Q3", likely=100, target=125), "low": 100.0, "high": 100.0}
    assert forecast.quarters(framed([sure])).message == (
        "2026-Q3 is likely to land at €100: 80% of plan (€125)."
    )
    none = moment("2026-Q3", likely=0)
    assert forecast.quarters(framed([none])).message == "Nothing is likely to be booked in 2026-Q3."


def part(team: str, mean: float, chance: float, period: str = "2026-Q3") -> dict[str, Any]:
    return {
        "team": team, "period": period, "booked": 10.0, "open_deals": 20.0, "create_and_close": 5.0, "mean":
        mean, "p10": mean / 2, "p90": mean * 2, "target": 100.0, "gap": mean - 100, "chance_of_target":
        chance, "reason": "",
    }  # fmt: skip


def test_parts_leave_out_the_whole_and_the_next_quarter() -> None:
    rows = [
        part("company", 99, 0.5),
        part("North", 60, 0.1),
        part("South", 39, 0.9),
        part("North", 1, 0.0, "2026-Q4"),
    ]
    exhibit = forecast.parts(framed(rows))
    assert exhibit.message == (
        "The parts add up to €99. For 1 of 2 teams the plan is out of reach in four outcomes of five."
    )
    assert exhibit.table is not None
    assert exhibit.table["team"].tolist() == ["North", "South"]
    assert exhibit.table["between"].tolist() == ["€30 to €120", "€20 to €78"]


def test_one_part_and_parts_of_nothing_are_no_sum() -> None:
    sure = {**part("North", 60, 0.1), "p10": 60.0, "p90": 60.0}
    exhibit = forecast.parts(framed([sure]))
    assert exhibit.message == (
        "North is likely to land at €60. For 1 team the plan is out of reach in four outcomes of five."
    )
    assert exhibit.table is not None
    assert exhibit.table["between"].tolist() == [""]
    rep = {**part("x", 0, 0.0), "rep_name": "Ann"}
    assert forecast.parts(framed([rep, {**rep, "rep_name": "Bo"}])).message == (
        "Nothing is likely to be booked. For all 2 reps the quota is out of reach in four outcomes of five."
    )


def test_the_bridge_reconciles_in_words_and_picture() -> None:
    kinds = {"won": 30.0, "new": 5.0, "rose": 10.0, "fell": -20.0, "lost": -5.0, "create_and_close": -40.0}
    rows = [
        {"kind": kind, "deals": 1, "before": 0.0, "after": value, "change": value}
        for kind, value in kinds.items()
    ]
    rows.append({"kind": "unchanged", "deals": 3, "before": 9.0, "after": 9.0, "change": 0.0})
    rows.append({"kind": "all", "deals": 5, "before": 100.0, "after": 80.0, "change": -20.0})
    exhibit = forecast.changes(framed(rows, since="2026-08-07"))
    assert exhibit.message == "The forecast is €20 lower than on Aug 7, 2026."
    assert exhibit.figure is not None
    assert row_labels(exhibit.figure)[0] == "Aug 7, 2026"
    assert row_labels(exhibit.figure)[-1] == "Now"
    assert exhibit.table is not None
    assert exhibit.table["kind"].tolist()[-3:] == ["Create-and-close", "Unchanged", "All together"]
    still = [{**row, "before": 0.0, "after": 0.0, "change": 0.0} for row in rows]
    assert (
        forecast.changes(framed(still, since="2026-08-07")).message
        == "The forecast is what it was on Aug 7, 2026."
    )


def test_the_deals_that_moved_it() -> None:
    base = {"kind": "won", "before": 10.0, "after": 40.0, "change": 30.0}
    rows = [
        {"opportunity_id": "A", "name": None, **base},
        {"opportunity_id": None, "name": None, **base, "kind": "all"},
    ]
    exhibit = forecast.moved_by(framed(rows))
    assert exhibit.message == "No deal moved it more than A: +€30."
    assert exhibit.table is not None
    assert len(exhibit.table) == 1
    assert forecast.moved_by(framed(rows[1:])).is_text


def deal(chance: float) -> dict[str, Any]:
    return {
        "opportunity_id": "A", "name": "Alpha", "owner_id": "rep-1", "stage": "Proposal", "amount": 100.0,
        "close_date": dt.date(2026, 9, 30), "chance": chance, "variance_share": 0.4, "days_to_next_step":
        -2.0,
    }  # fmt: skip


def test_deals_that_it_hangs_on() -> None:
    exhibit = forecast.deals(framed([deal(0.3), deal(0.2)]))
    assert exhibit.message == (
        "Whether Alpha (€100) is won is 40% of what is uncertain about open deals; these 2 together are 80%."
    )
    assert exhibit.table is not None
    assert exhibit.table["next_step"].tolist() == ["2 days late"] * 2
    assert forecast.deals(framed([deal(0.3)])).message == (
        "Whether Alpha (€100) is won is 40% of what is uncertain about open deals."
    )
    assert "quarter is over" in forecast.deals(framed([deal(0.0)])).message


def test_a_scenario_says_what_is_assumed() -> None:
    base = {"period": "2026-Q3", "p10": 50.0, "p50": 99.0, "p90": 150.0, "booked": 10.0, "open_deals": 60.0,
            "create_and_close": 30.0}  # fmt: skip
    rows = [
        {"case": case, "mean": mean, **base}
        for case, mean in (("current", 100.0), ("scenario", 110.0), ("difference", 10.0))
    ]
    options = {"win_rate_factor": 1.1, "hires": 2, "delay_days": 7}
    assert forecast.scenario(framed(rows, options=options)).message == (
        "With every chance times 1.10, deals closing 7 days later, and 2 new reps, 2026-Q3 would "
        "land €10 above where it is likely to land as it is."
    )
    assert forecast.scenario(framed(rows)).message.startswith("Without a change")
    worse = [*rows[:2], {**rows[2], "mean": -10.0}]
    assert "would land €10 below where" in forecast.scenario(framed(worse, options=options)).message
    same = [*rows[:2], {**rows[2], "mean": 0.0}]
    assert forecast.scenario(framed(same, options={"win_rate_factor": 1.1})).message == (
        "With every chance times 1.10, 2026-Q3 would land where it is likely to land as it is."
    )


def scored(method: str, week: int, wape: float) -> dict[str, Any]:
    return {
        "method": method, "week": week, "wape": wape, "wape_low": wape / 2, "wape_high": wape * 2, "bias":
        0.01, "relative_crps": 0.05, "mase": 0.5, "coverage_80": 0.8,
    }  # fmt: skip


def test_methods_are_compared_at_week_five() -> None:
    rows = [
        scored(name, week, miss * week / 5)
        for name, miss in (("stage_weighted", 0.2), ("shipped", 0.1))
        for week in (1, 5)
    ]
    exhibit = forecast.methods(framed(rows))
    assert exhibit.message == (
        "At week 5 the forecast's typical miss was 10% of bookings; 20% for the stage-weighted pipeline."
    )
    assert exhibit.table is not None
    assert exhibit.table["method"].tolist() == ["The forecast", "Stage-weighted pipeline"]
    assert exhibit.table["between"].tolist() == ["5% to 20%", "10% to 40%"]
    assert forecast.methods(framed([scored("shipped", 5, NAN)])).is_text


def test_misses_of_the_last_quarters() -> None:
    base = {"method": "shipped", "week": 5, "chosen": "simulation", "p10": 80.0, "p90": 120.0}
    rows = [
        {**base, "quarter": "2026-Q1", "mean": 90.0, "actual": 100.0},
        {**base, "quarter": "2026-Q2", "mean": 100.0, "actual": 130.0},
    ]
    exhibit = forecast.misses(framed(rows))
    assert exhibit.message == (
        "In week 5 the last 2 quarters were forecast with ranges that held 1 time of 2. The "
        "largest miss was 23% too low, in 2026-Q2."
    )
    assert exhibit.table is not None
    assert exhibit.table["off"].tolist() == pytest.approx([100 / 130 - 1, -0.1])
    held = "In week 5 the last quarter was forecast with a range that"
    assert forecast.misses(framed(rows[:1])).message.startswith(f"{held} held. ")
    assert forecast.misses(framed(rows[1:])).message.startswith(f"{held} did not hold. ")
    always = forecast.misses(framed([rows[0], {**rows[0], "quarter": "2025-Q4"}])).message
    assert "the last 2 quarters were forecast with ranges that always held. " in always
    never = forecast.misses(framed([rows[1], {**rows[1], "quarter": "2026-Q3"}])).message
    assert never.startswith("In week 5 the last 2 quarters were forecast with ranges that never held. ")
    exact = forecast.misses(framed([{**rows[0], "mean": 100.0}])).message
    assert exact == f"{held} held. No forecast missed."


def test_calls_and_commitments() -> None:
    row = {"callers": 2, "past_calls": 4, "wape": 0.1, "bias": 0.05, "corrected": 95.0, "period": "2026-Q3"}
    rows = [{"caller": "rep", "call": 100.0, **row}, {"caller": "model", "call": 90.0, **row}]
    assert forecast.calls(framed(rows)).message == "Reps call €100; the forecast expects €90."
    silent = [{**rows[0], "call": NAN, "past_calls": 0}, rows[1]]
    assert (
        forecast.calls(framed(silent)).message == "Nobody has called the quarter; the forecast expects €90."
    )
    bias = [{"owner_id": f"rep-{n}", "committed": 10.0, "factor": 0.8, "corrected": 8.0} for n in range(26)]
    exhibit = forecast.commit_bias(framed(bias))
    assert exhibit.message == (
        "€260 is committed beyond what is booked; by what such commits brought it comes to €208."
    )
    assert exhibit.table is not None
    assert exhibit.table.attrs["notes"] == ["1 more rep is in the file beside this page."]
    worthless = [{**row, "factor": 0.0, "corrected": 0.0} for row in bias]
    assert forecast.commit_bias(framed(worthless)).message.endswith("brought it comes to nothing.")
    free = [{**row, "committed": 0.0, "corrected": 0.0} for row in bias]
    assert forecast.commit_bias(framed(free)).message == "Nothing is committed beyond what is booked."


def test_calibration_names_the_group_that_is_furthest_off() -> None:
    base = {"forecasts": 30, "deals": 20}
    rows = [
        {"predicted": 0.1, "observed": 0.12, "low": 0.05, "high": 0.2, **base},
        {"predicted": 0.9, "observed": 0.7, "low": 0.5, "high": 0.85, **base},
    ]
    exhibit = forecast.calibration(framed(rows))
    assert exhibit.message == (
        "In 1 of 2 groups of deals the chance given lies within what 60 past forecasts allow. Deals"
        " given 90% were won 70% of the time."
    )
    assert exhibit.figure is not None
    held, off = rows
    for shown, begin in (
        ([held, held], "In all 2 groups of deals the chance given lies within what 60 past forecasts allow."),
        ([off, off], "In none of 2 groups of deals does the chance given lie within what 60 past forecasts"),
        ([{**held, "forecasts": 1}], "The chance given lies within what 1 past forecast allows."),
        ([off], "The chance given does not lie within what 30 past forecasts allow."),
    ):
        assert forecast.calibration(framed(shown)).message.startswith(begin)


def test_basis_and_scoreboard() -> None:
    facts = [
        {"fact": "past_wins", "value": 12.0, "unit": "deals"},
        {"fact": "is_pooled", "value": 1.0, "unit": "flag"},
    ]
    exhibit = forecast.basis(framed(facts, method="simulation", reason="It is wide."))
    assert exhibit.message == "The method is Simulation. It is wide."
    assert exhibit.table is not None
    assert exhibit.table["figure"].tolist() == ["12", "yes"]
    base = {
        "period": "2026-Q2",
        "sealed_on": dt.date(2026, 5, 4),
        "call": 90.0,
        "actual": 100.0,
        "is_backdated": False,
    }
    rows = [{**base, "caller": "rep", "off": -0.1}, {**base, "caller": "model", "off": 0.05}]
    told = forecast.scoreboard(framed(rows))
    assert told.message == "Sealed before the quarter ended, the mean miss was: The forecast 5% and Reps 10%."
    late = [{**row, "is_backdated": True} for row in rows]
    assert "prove nothing" in forecast.scoreboard(framed(late)).message
    coming = [{**row, "off": NAN, "actual": NAN} for row in rows]
    assert "when its quarter is over" in forecast.scoreboard(framed(coming)).message
