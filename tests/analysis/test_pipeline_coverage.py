"""Coverage: what is due against the gap, and what past quarters needed on the same day."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salesops_kit.analysis.funnel import headlines, waterfall
from salesops_kit.analysis.pipeline import company_reference, coverage
from salesops_kit.analysis.pipeline._coverage import required
from salesops_kit.analysis.pipeline._yield import Yield
from salesops_kit.errors import InputError
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.estimators.test_targets import PLAN, QUOTAS
from tests.histories import (
    DAY,
    LOST,
    OWNERS,
    TEAMS,
    WON,
    is_live,
    is_won,
    money,
    of_team,
    random_histories,
    rows_of,
    state_at,
)
from tests.states import Change, deal, stages_table, states_table, table_of

SETTINGS = Settings()
Q1 = Period(dt.date(2026, 1, 1), dt.date(2026, 4, 1), "2026-Q1")
AS_OF = dt.date(2026, 2, 10)
Rows = list[list[dict[str, Any]]]


def run(rows: Rows, target: float | None = 1000, team: str = "North", **options: Any) -> pd.DataFrame:
    arguments = {"as_of": AS_OF, "period": Q1, "settings": SETTINGS, **options}
    budget = table_of(PLAN, [] if target is None else [(team, Q1.start, "bookings", target)])
    return coverage(states_table(rows), arguments.pop("plan", budget), **arguments)


def won(name: str, amount: float, closing: dt.date, created: dt.date, due: dt.date | None = None) -> Any:
    first = Change(created, amount=amount, close_date=due or closing)
    return deal(name, [first, first.then(closing, stage=WON, close_date=closing)])


def one_past_quarter() -> Rows:
    """On 10 November 400 were due in the last quarter, of which 100 was won; 50 more came from elsewhere."""
    since, later = dt.date(2025, 9, 1), dt.date(2025, 12, 1)
    lost = Change(since, amount=300, close_date=later)
    return [
        won("A", 100, later, since),
        deal("B", [lost, lost.then(later, stage=LOST)]),
        won("C", 50, later, dt.date(2025, 11, 20)),
        won("E", 70, dt.date(2025, 10, 20), since),
    ]


def now(amount: float = 600, booked: float = 200) -> Rows:
    return [
        deal("X", [Change(dt.date(2025, 12, 1), amount=amount, close_date=dt.date(2026, 3, 1))]),
        won("Y", booked, dt.date(2026, 1, 20), dt.date(2025, 12, 1)),
    ]


def test_by_hand() -> None:
    row = run(one_past_quarter() + now()).iloc[0]
    assert row[["target", "target_source", "won_to_date", "gap"]].tolist() == [1000, "plan", 200, 800]
    assert row[["open_deals", "open_due", "coverage"]].tolist() == [1, 600, 0.75]
    # One quarter and one team say nothing of other teams, so that the share stands as it is.
    assert row[["conversion", "expected_elsewhere", "quarters_observed"]].tolist() == [0.25, 50, 1]
    assert row["required_coverage"] == pytest.approx((800 - 50) / (0.25 * 800))
    assert row["low"] < row["required_coverage"] < row["high"]
    assert row["reason"] == ""


@pytest.mark.parametrize(
    ("target", "missing", "reason"),
    [
        (None, ["target", "gap", "coverage", "required_coverage"], "There is no target."),
        (0, ["target", "gap", "coverage", "required_coverage"], "There is no target."),
        (200, ["coverage", "required_coverage"], "The target is reached."),
        (150, ["coverage", "required_coverage"], "The target is reached."),
    ],
)
def test_what_cannot_be_divided_is_missing_with_a_reason(
    target: float | None, missing: list[str], reason: str
) -> None:
    row = run(one_past_quarter() + now(), target).iloc[0]
    figures = ["target", "gap", "coverage", "required_coverage"]
    assert [name for name in figures if pd.isna(row[name])] == missing
    assert row["reason"] == reason
    assert row["open_due"] == 600


def test_no_past_and_no_time_left_are_said() -> None:
    assert run(now()).iloc[0]["reason"] == "There is no past quarter to learn from."
    over = run(one_past_quarter() + now(), as_of=Q1.last_day).iloc[0]
    assert (over["reason"], over["coverage"]) == ("The quarter is over.", 0.75)
    assert np.isnan(over["required_coverage"])
    never = [states for states in one_past_quarter() if states[0]["opportunity_id"] == "B"]
    expected = "Nothing that was due on this day of past quarters was won in them."
    assert run(never + now()).iloc[0]["reason"] == expected


def test_the_next_quarter_is_seen_from_before_it_opens() -> None:
    # 10 February lies 50 days before the second quarter, 12 August as long before the last one.
    before = [won("P", 40, dt.date(2025, 11, 1), dt.date(2025, 8, 12))]
    lost = Change(dt.date(2025, 8, 1), amount=60, close_date=dt.date(2025, 12, 1))
    before.append(deal("Q", [lost, lost.then(dt.date(2025, 12, 1), stage=LOST)]))
    soon = [deal("Z", [Change(dt.date(2025, 12, 1), amount=90, close_date=dt.date(2026, 4, 1))])]
    budget = table_of(PLAN, [("North", day, "bookings", 60) for day in (Q1.start, Q1.end)])
    row = run(before + one_past_quarter() + now() + soon, plan=budget, ahead=1).iloc[0]
    assert row[["quarter", "won_to_date", "open_due", "gap", "coverage"]].tolist() == [
        "2026-Q2",
        0,
        90,
        60,
        1.5,
    ]
    # The quarter that still runs says nothing of what its pipeline comes to.
    assert row[["conversion", "quarters_observed"]].tolist() == [0.4, 1]
    assert row["expected_elsewhere"] == 100 + 50 + 70
    with pytest.raises(InputError, match="expected 0 or more; got '-1'"):
        run([], ahead=-1)


def test_quotas_stand_in_and_reps_have_their_own() -> None:
    quota = ("rep-1", None, Q1.start, Q1.end, "bookings", 500)
    frame = run(now(), None, by="owner_id", quotas=table_of(QUOTAS, [quota, ("rep-9", *quota[1:])]))
    assert frame[["owner_id", "target", "target_source", "open_due"]].to_numpy().tolist() == [
        ["rep-1", 500, "rep quotas", 600],
        ["rep-9", 500, "rep quotas", 0],
    ]


def slow_past(
    histories: list[list[Change]], group: str, key: str, day: dt.date, quarter: Period, as_of: dt.date
) -> Any:
    """Due and converted amounts, what was booked by the day, and in the end, of one group."""
    due = converted = booked = final = 0.0
    for changes in histories:
        then, last = state_at(changes, day), state_at(changes, as_of)

        def belongs(state: Change | None) -> bool:
            mine = state is not None and (not group or getattr(state, group) == key)
            return bool(mine and state and state.close_date and quarter.contains(state.close_date))

        ends_here = is_won(last) and belongs(last)
        if last is not None and ends_here:
            final += money(last)
        if then is not None and belongs(then):
            if is_live(then):
                due += money(then)
                converted += money(then) if ends_here else 0
            elif is_won(then):
                booked += money(then)
    return due, converted, booked, final


@pytest.mark.parametrize("by", ["", "team", "owner_id"])
@pytest.mark.parametrize("as_of", [dt.date(2026, 1, 1), AS_OF, dt.date(2026, 3, 20)])
def test_agrees_with_a_slow_reading(by: str, as_of: dt.date) -> None:
    histories = random_histories(31, 400)
    rows = rows_of(histories)
    frame = run(rows, None, by=by, as_of=as_of)
    keys = {"": [""], "team": list(TEAMS), "owner_id": list(OWNERS)}[by]
    first = min(changes[0].day for changes in histories)
    shrunk = positive = 0
    for place, key in enumerate(keys):
        row = frame.iloc[place]
        due, _converted, booked, _final = slow_past(histories, by, key, as_of, Q1, as_of)
        assert row["open_due"] == pytest.approx(due)
        assert row["won_to_date"] == pytest.approx(booked)
        past, quarter = [], Q1
        for _quarter in range(8):
            quarter = SETTINGS.fiscal.previous(quarter)
            day = min(quarter.start + (as_of - Q1.start), quarter.last_day)
            if day >= first:
                past.append(slow_past(histories, by, key, day, quarter, as_of))
        # Quarters before a group's first deal are none of its own.
        while past and not any(past[-1]):
            past.pop()
        elsewhere = [final - booked - converted for _due, converted, booked, final in past]
        assert row["expected_elsewhere"] == pytest.approx(np.mean(elsewhere))
        share = sum(each[1] for each in past) / sum(each[0] for each in past)
        assert row["conversion_low"] < row["conversion"] < row["conversion_high"]
        if not by:
            assert row["conversion"] == pytest.approx(share)
        positive += share > 0
        shrunk += abs(row["conversion"] - share) > 1e-9
    assert shrunk == (len(keys) if by else 0)
    assert positive


def test_due_and_won_are_those_of_the_other_pages_and_teams_sum_to_the_company() -> None:
    rows = rows_of(random_histories(32, 120))
    whole = run(rows, None, by="").iloc[0]
    parts = run(rows, None)
    for name in ("won_to_date", "open_due", "open_deals"):
        assert parts[name].sum() == pytest.approx(whole[name])
    context: dict[str, Any] = {"as_of": AS_OF, "period": Q1, "settings": SETTINGS}
    closing = waterfall(states_table(rows), **context).set_index("step").loc["closing"]
    assert whole[["open_due", "open_deals"]].tolist() == pytest.approx(closing[["amount", "deals"]].tolist())
    first = headlines(states_table(rows), stages_table(), **context).set_index("id")
    assert whole["won_to_date"] == pytest.approx(first.loc["bookings_won", "value"])


def test_a_team_reads_the_same_in_its_own_slice_and_on_the_companys_page() -> None:
    rows = rows_of(random_histories(33, 160))
    figures = company_reference(states_table(rows), as_of=AS_OF, period=Q1, settings=SETTINGS)
    assert figures["teams"] == 2
    page = run(rows, 5000, reference=figures).set_index("team").loc["North"]
    own = run(of_team(rows, "North"), 5000, reference=figures).set_index("team").loc["North"]
    pd.testing.assert_series_equal(page, own)
    whole = run(rows, 5000, by="", reference=figures).iloc[0]
    assert whole["conversion"] == pytest.approx(figures["coverage"]["0"]["rate"])
    # A company's figures seen from another day are not used.
    stale = run(of_team(rows, "North"), 5000, reference=figures, as_of=AS_OF + DAY).iloc[0]
    alone = run(of_team(rows, "North"), 5000, as_of=AS_OF + DAY).iloc[0]
    assert stale["conversion"] == alone["conversion"]


def test_more_quarters_narrow_the_limits_and_quarters_that_differ_widen_them() -> None:
    rough = required(100, 0.5, Yield(5, 10, 20, 5, 8), None)
    fine = required(100, 0.5, Yield(500, 1000, 20, 0.1, 8), None)
    assert rough[0] == fine[0] == pytest.approx(1.6)
    assert rough[1] < fine[1] < 1.6 < fine[2] < rough[2]
    assert required(100, 0.5, Yield(5, 10, 150, 0, 8), None)[0] == 0
    assert np.isnan(required(0, 0.5, Yield(5, 10, 20, 5, 8), None)[0])


@pytest.mark.campaign
def test_limits_cover_the_requirement_of_quarters_like_these() -> None:
    """In a made-up company every quarter has 20 deals of 10 due, won at 0.3, and 30 from elsewhere."""
    draw = np.random.default_rng(2)
    truth = (200 - 30) / (0.3 * 200)
    hits = 0
    for _company in range(40):
        rows: Rows = []
        quarter = Q1
        for number in range(8):
            quarter = SETTINGS.fiscal.previous(quarter)
            before, end = quarter.start - 5 * DAY, quarter.start + 70 * DAY
            for deal_no in range(20):
                first = Change(before, amount=10, close_date=end)
                stage = WON if draw.random() < 0.3 else LOST
                rows.append(deal(f"{number}-{deal_no}", [first, first.then(end, stage=stage)]))
            late = round(float(draw.normal(30, 8)), 2)
            rows.append(won(f"{number}-late", late, end, quarter.start + 60 * DAY))
        row = run(rows, 200).iloc[0]
        hits += row["low"] <= truth <= row["high"]
    assert hits >= 35


def test_empty_history() -> None:
    assert run([], None).empty
    row = run([]).iloc[0]
    assert row[["target", "open_due", "coverage"]].tolist() == [1000, 0, 0]
    assert run([], None, by="").iloc[0]["reason"] == "There is no target."


def test_deals_without_an_owner_are_a_group_of_their_own() -> None:
    since, later = dt.date(2025, 9, 1), dt.date(2025, 12, 1)
    nobody = Change(since, amount=70, close_date=later, owner_id=None)
    rows = [
        *one_past_quarter(),
        deal("N", [nobody, nobody.then(later, stage=WON, close_date=later)]),
        deal("O", [Change(dt.date(2026, 1, 5), amount=30, close_date=dt.date(2026, 3, 1), owner_id=None)]),
    ]
    frame = run(rows, target=None, by="owner_id").set_index("owner_id")
    assert frame.loc["(none)", ["open_deals", "open_due"]].tolist() == [1, 30]
    assert frame.loc["(none)", "quarters_observed"] == 1
