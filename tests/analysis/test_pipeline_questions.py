"""Risks of commit deals and the questions worth asking: each reason by hand, and the order of questions."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pytest

from salesops_kit.analysis.pipeline import ageing, commit_risks, pushes
from salesops_kit.analysis.pipeline._questions import QUESTIONS, _question
from salesops_kit.errors import InputError
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.needing import run_table
from tests.states import Change, deal, states_table, table_of

DAY = dt.timedelta(days=1)
Q1 = Period(dt.date(2027, 1, 1), dt.date(2027, 4, 1), "2027-Q1")
AS_OF = dt.date(2027, 2, 14)
START, LAST = dt.date(2027, 1, 10), Q1.last_day
TODAY = Settings(observed_until=AS_OF)
STEPS = {"opportunity_id": "string", "name": "string", "next_step": "string", "next_step_date": "date"}
LOG = {"opportunity_id": "string", "started_at": "timestamp('UTC')"}


def history() -> list[list[dict[str, Any]]]:
    """A year of visits, all but one of them short, so that each stage has a P90 of 10 days."""
    rows = []
    for number in range(40):
        first = Change(dt.date(2026, 2, 1) + 7 * number * DAY, close_date=dt.date(2026, 12, 31))
        second = first.then(first.day + 10 * DAY, stage="Proposal")
        stage = "Closed Won" if number % 2 else "Closed Lost"
        rows.append(deal(f"old{number:02}", [first, second, second.then(second.day + 10 * DAY, stage=stage)]))
    return rows


def commit(name: str, *later: Change, **more: Any) -> list[dict[str, Any]]:
    first = Change(AS_OF - 3 * DAY, close_date=LAST, forecast_category="Commit")
    return deal(name, [first.then(first.day, **more), *later])


def risks(
    deals: list[list[dict[str, Any]]],
    steps: list[tuple[Any, ...]] | None = None,
    log: list[tuple[Any, ...]] | None = None,
    **options: Any,
) -> pd.DataFrame:
    arguments = {"as_of": AS_OF, "period": Q1, "settings": TODAY, **options}
    return commit_risks(
        states_table([*history(), *deals]),
        None if steps is None else table_of(STEPS, steps),
        None if log is None else table_of(LOG, log),
        **arguments,
    )


def reasons(*arguments: Any, **options: Any) -> dict[str, str]:
    frame = risks(*arguments, **options)
    return dict(zip(frame["opportunity_id"], frame["reasons"], strict=True))


def test_only_commit_and_best_case_due_in_the_quarter() -> None:
    late = {"close_date": AS_OF - DAY}
    rows = [
        commit("commit", **late),
        commit("best", **late, forecast_category="Best Case", amount=900),
        commit("pipeline", **late, forecast_category="Pipeline"),
        commit("none", **late, forecast_category=None),
        commit("older", close_date=Q1.start - DAY),
        commit("won", **late, stage="Closed Won"),
        commit("clean"),
    ]
    frame = risks(rows)
    assert frame["opportunity_id"].tolist() == ["commit", "best"]
    totals = {"deals": 3, "amount": 1100, "deals_at_risk": 2, "amount_at_risk": 1000}
    assert {name: frame.attrs[name] for name in totals} == totals
    assert list(reasons(rows, category="commit")) == ["commit"]
    assert list(reasons(rows, category="best_case")) == ["best"]


def test_the_close_date_is_past_from_the_next_day_on() -> None:
    rows = [commit("today", close_date=AS_OF), commit("yesterday", close_date=AS_OF - DAY)]
    frame = risks(rows)
    assert reasons(rows) == {"yesterday": "past_close_date"}
    assert frame["days_past_due"].tolist() == [1]


def test_next_steps_are_known_on_the_last_day_only() -> None:
    steps = [
        ("none", "Deal", None, None),
        ("blank", "Deal", "  ", AS_OF - DAY),
        ("late", "Deal", "Call", AS_OF - 2 * DAY),
        ("due", "Deal", "Call", AS_OF),
        ("open", "Deal", "Call", None),
    ]
    rows = [commit(step[0]) for step in steps]
    expected = {"none": "no_next_step", "blank": "no_next_step", "late": "next_step_overdue"}
    assert reasons(rows, steps) == expected
    assert risks(rows, steps).set_index("opportunity_id").loc["late", "days_past_next_step"] == 2
    unknown = "Next steps are not known as of this day, so that none is missed."
    assert unknown not in risks(rows, steps).attrs["notes"]
    earlier = risks(rows, steps, settings=Settings(observed_until=AS_OF + DAY))
    assert earlier.empty
    assert unknown in earlier.attrs["notes"]
    # Without a declared last day, the last change of any deal is taken for it.
    assert reasons(rows, steps, settings=Settings()) == expected
    moved = [*rows, commit("x", Change(AS_OF + DAY, close_date=LAST))]
    assert reasons(moved, steps, settings=Settings()) == {}


def test_activity_counts_from_the_last_one_or_from_where_the_log_begins() -> None:
    def at(day: dt.date, hour: int = 12) -> dt.datetime:
        return dt.datetime(day.year, day.month, day.day, hour, tzinfo=dt.UTC)

    rows = [commit(name) for name in ("at 13", "at 14", "never", "later")]
    log = [
        ("at 13", at(AS_OF - 13 * DAY)), ("at 14", at(AS_OF - 14 * DAY)), ("at 14", at(AS_OF - 20 * DAY)),
        ("later", at(AS_OF - DAY)), ("at 14", at(AS_OF + DAY)),
    ]  # fmt: skip
    assert reasons(rows, log=log) == {"at 14": "no_activity", "never": "no_activity"}
    frame = risks(rows, log=log).set_index("opportunity_id")
    assert frame["days_without_activity"].to_dict() == {"at 14": 14, "never": 20}
    assert reasons(rows, log=log, days_without_activity=21) == {}
    # 2 a.m. UTC on the 15th is still the evening of the 14th in New York.
    zone = Settings(observed_until=AS_OF, zone="America/New_York")
    evening = [*log, ("at 14", at(AS_OF + DAY, hour=2))]
    assert reasons(rows, log=evening, settings=zone) == {"never": "no_activity"}
    assert reasons(rows, log=evening) == {"at 14": "no_activity", "never": "no_activity"}


def test_age_is_judged_by_the_stages_own_p90() -> None:
    aged = Change(AS_OF, stage="Proposal", close_date=LAST, forecast_category="Commit")
    rows = [deal(f"{days} days", [aged.then(AS_OF - days * DAY)]) for days in (10, 11)]
    frame = risks(rows).set_index("opportunity_id")
    assert frame["reasons"].to_dict() == {"11 days": "over_stage_p90"}
    assert frame.loc["11 days", ["stage_age_days", "stage_p90_days"]].tolist() == [11, 10]
    limits = ageing(states_table([*history(), *rows]), as_of=AS_OF, period=Q1, settings=TODAY)
    assert limits["p90"].tolist() == [10]


def test_a_step_that_nobody_ever_wrote_down_is_not_missed() -> None:
    frame = risks([commit("A", close_date=AS_OF - DAY)], [("A", "Deal", None, None)])
    assert frame["reasons"].item() == "past_close_date"
    assert any("Next steps are not known" in note for note in frame.attrs["notes"])


def test_reasons_stand_in_one_order_and_amounts_may_be_unknown() -> None:
    rows = [commit("A", close_date=AS_OF - DAY, amount=None)]
    frame = risks(rows, [("A", "Deal", None, None), ("closed", "Deal", "Sign", None)])
    assert frame["reasons"].item() == "past_close_date, no_next_step"
    assert pd.isna(frame["amount"].item())
    assert frame["name"].item() == "Deal"


def test_no_deal_no_row_and_wrong_options() -> None:
    assert commit_risks(states_table([]), as_of=AS_OF, period=Q1, settings=TODAY).empty
    with pytest.raises(InputError, match="days_without_activity: no day"):
        risks([], days_without_activity=0)


@lru_cache
def open_world() -> ir.Table:
    """Past quarters in which half of the Proposal deals were won, and open deals of many sizes."""
    rows = [deal("first", [Change(dt.date(2026, 6, 1), close_date=None)])]
    autumn, winter = dt.date(2026, 10, 5), dt.date(2026, 12, 31)
    for number in range(30):
        for stage, won in (("Discovery", number < 3), ("Proposal", number < 15)):
            first = Change(autumn, stage=stage, close_date=winter)
            end = first.then(dt.date(2026, 12, 5), stage="Closed Won" if won else "Closed Lost")
            rows.append(deal(f"{stage}{number:02}", [first, end.then(end.day, close_date=end.day)]))
    later = Change(dt.date(2026, 12, 1), close_date=winter, amount=500)
    rows.append(deal("later", [later, later.then(dt.date(2026, 12, 20), stage="Closed Won")]))
    for number in range(8):
        stage = "Proposal" if number % 2 else "Discovery"
        rows.append(
            deal(f"open{number}", [Change(START, stage=stage, amount=10 * (number + 1), close_date=LAST)])
        )
    rows.append(deal("unpriced", [Change(START, amount=None, close_date=LAST)]))
    return states_table(rows)


def asked(
    states: ir.Table | None = None, as_of: dt.date = AS_OF, name: str = "pipeline.questions", **options: Any
) -> pd.DataFrame:
    context = {"as_of": as_of, "period": Q1, "settings": TODAY}
    return run_table(
        name, {"opportunity_states": open_world() if states is None else states}, context, **options
    )


def test_chances_and_shares_are_the_forecasts() -> None:
    frame = asked(top=20).set_index("opportunity_id")
    assert len(frame) == 8
    deals = asked(name="forecast.deals").set_index("opportunity_id").loc[frame.index]
    assert frame["probability"].tolist() == deals["chance"].tolist()
    assert frame["share"].tolist() == deals["variance_share"].tolist()
    variance = frame["probability"] * (1 - frame["probability"]) * frame["amount"] ** 2
    # Of all open deals, so that those not due in the quarter have their part too.
    assert (frame["share"] / frame["share"].sum()).to_numpy() == pytest.approx(
        (variance / variance.sum()).to_numpy()
    )
    assert frame["share"].is_monotonic_decreasing
    assert (frame["expected"] == frame["probability"] * frame["amount"]).all()
    assert frame.loc["open0", "probability"] < frame.loc["open1", "probability"]


def test_the_first_are_those_with_the_most_variance() -> None:
    frame = asked(top=2)
    # 80 at about .5 in Proposal, then 60: an even chance says less than a larger amount at .1 would.
    assert frame["opportunity_id"].tolist() == ["open7", "open5"]
    assert frame.attrs["deals"] == 8
    assert frame.attrs["listed_share"] == pytest.approx(frame["share"].sum())
    assert "1 open deal has no amount and counts as 0." in frame.attrs["notes"]


def test_without_a_past_the_largest_amounts_come_first() -> None:
    rows = [deal(f"D{n}", [Change(START, amount=n, close_date=LAST)]) for n in (5, 9, 7)]
    frame = asked(states_table(rows))
    assert frame["opportunity_id"].tolist() == ["D9", "D7", "D5"]
    assert frame[["probability", "share"]].isna().all(axis=None)


def test_the_quarter_over_or_empty() -> None:
    assert asked(as_of=Q1.last_day).empty
    assert asked(states_table([])).empty
    with pytest.raises(InputError, match="expected 1 or more; got '0'"):
        asked(top=0)


NOTHING = {
    "category": "pipeline", "days_past_due": np.nan, "stage_age_days": 5.0, "stage_p90_days": 10.0,
    "has_next_step": None, "days_past_next_step": np.nan, "amount": 100.0, "amount_30_days_ago": 100.0,
    "pushes": 0, "days_without_activity": np.nan, "probability": 0.3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "question"),
    [
        ({}, "what_is_left_to_do"),
        ({"probability": 0.5}, "why_not_commit"),
        ({"probability": 0.5, "category": "commit"}, "what_is_left_to_do"),
        ({"days_without_activity": 14.0, "probability": 0.9}, "is_it_alive"),
        ({"days_without_activity": 13.0}, "what_is_left_to_do"),
        ({"stage_age_days": 11.0, "days_without_activity": 14.0}, "why_so_long_in_stage"),
        ({"stage_age_days": 11.0, "stage_p90_days": np.nan}, "what_is_left_to_do"),
        ({"pushes": 1}, "what_is_left_to_do"),
        ({"pushes": 2, "stage_age_days": 11.0}, "why_this_time"),
        ({"amount_30_days_ago": 90.0, "pushes": 2}, "is_the_amount_agreed"),
        ({"amount_30_days_ago": np.nan}, "what_is_left_to_do"),
        ({"has_next_step": True}, "what_is_left_to_do"),
        ({"has_next_step": False, "amount_30_days_ago": 90.0}, "what_is_the_next_step"),
        ({"has_next_step": True, "days_past_next_step": 1.0}, "what_is_the_next_step"),
        ({"category": "commit", "stage_age_days": 11.0, "has_next_step": False}, "why_commit_at_this_age"),
        ({"days_past_due": 1.0, "category": "commit", "stage_age_days": 11.0}, "has_it_slipped"),
    ],
)
def test_the_first_question_that_the_facts_raise(facts: dict[str, Any], question: str) -> None:
    assert _question({**NOTHING, **facts}) == question
    assert question in QUESTIONS


def test_facts_of_a_deal() -> None:
    first = Change(dt.date(2026, 12, 1), close_date=dt.date(2027, 1, 31), amount=50)
    pushed = first.then(AS_OF - 31 * DAY, close_date=dt.date(2027, 2, 28), amount=70)
    raised = pushed.then(AS_OF - 10 * DAY, close_date=LAST, amount=90, stage="Proposal")
    states = states_table([deal("A", [first, pushed, raised])])
    row = asked(states).iloc[0]
    assert row[["pushes", "amount_30_days_ago", "stage_age_days"]].tolist() == [2, 70, 10]
    assert row["question"] == "is_the_amount_agreed"
    counted = pushes(states, as_of=AS_OF, period=Q1, settings=TODAY).set_index("pushes")
    assert counted.loc["2", "open_deals"] == 1
