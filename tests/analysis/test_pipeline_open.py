"""What the pipeline consists of, how it stood week by week, and how old its deals are."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pytest

from salesops_kit.analysis.funnel import time_in_stage
from salesops_kit.analysis.pipeline import aged_deals, ageing, by_week, composition
from salesops_kit.errors import InputError
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.histories import DAY, TEAMS, is_live, is_won, money, of_team, random_histories, rows_of, state_at
from tests.states import Change, deal, stages_table, states_table, table_of

SETTINGS = Settings()
Q1 = Period(dt.date(2026, 1, 1), dt.date(2026, 4, 1), "2026-Q1")
AS_OF = dt.date(2026, 2, 10)
OLD = dt.date(2025, 9, 1)
BANDS = ("up_to_p50", "p50_to_p75", "p75_to_p90", "over_p90", "no_benchmark")


def due_on(close_date: dt.date | None, amount: float | None = 100) -> Change:
    return Change(OLD, amount=amount, close_date=close_date)


def composed(rows: list[list[dict[str, Any]]], **options: Any) -> pd.DataFrame:
    return composition(states_table(rows), **{"as_of": AS_OF, "settings": SETTINGS, **options})


@pytest.mark.parametrize(
    ("close_date", "expected"),
    [
        (AS_OF - DAY, "overdue"),
        (dt.date(2025, 12, 31), "overdue"),
        (AS_OF, "this"),
        (dt.date(2026, 3, 31), "this"),
        (dt.date(2026, 4, 1), "next"),
        (dt.date(2026, 6, 30), "next"),
        (dt.date(2026, 7, 1), "later"),
        (None, "undated"),
    ],
)
def test_a_deal_is_due_by_its_close_date(close_date: dt.date | None, expected: str) -> None:
    frame = composed([deal("A", [due_on(close_date)])])
    assert list(frame["due"]) == ["overdue", "this", "next", "later", "undated"]
    assert frame.loc[frame["deals"] == 1, "due"].tolist() == [expected]
    assert frame["amount"].sum() == 100


def test_what_was_true_at_the_date_counts_and_nothing_later() -> None:
    first = due_on(dt.date(2026, 3, 31))
    later = first.then(AS_OF + DAY, amount=900, stage="Closed Lost", team="South")
    frame = composed([deal("A", [first, later])], by="team,stage")
    assert frame.drop(columns="unknown_amount").to_dict("records") == [
        {"team": "North", "stage": "Discovery", "deals": 1, "amount": 100.0, "share": 1.0}
    ]
    assert composed([deal("A", [first, later.then(AS_OF)])])["deals"].sum() == 0


def test_stages_stand_in_their_order_and_unknown_amounts_are_said() -> None:
    rows = [
        deal("A", [due_on(None).then(OLD, stage="Proposal", amount=None)]),
        deal("B", [due_on(None).then(OLD, stage="Negotiation", amount=30)]),
        deal("C", [due_on(None, 10)]),
        deal("D", [due_on(None).then(OLD, is_deleted=True)]),
    ]
    frame = composed(rows, by="stage")
    assert frame["stage"].tolist() == ["Discovery", "Proposal", "Negotiation"]
    assert frame["amount"].tolist() == [10, 0, 30]
    assert frame["share"].tolist() == [0.25, 0, 0.75]
    assert frame.attrs["notes"] == ["1 open deal has no amount and counts as 0."]


def test_dimensions_pass_through_and_unknown_ones_are_refused() -> None:
    types = {"opportunity_id": "string", "lead_source": "string", "route": "string"}
    deals = table_of(types, [("A", "Website", "x"), ("B", None, "x")])
    rows = [deal("A", [due_on(AS_OF)]), deal("B", [due_on(AS_OF, 50)])]
    frame = composed(rows, by="lead_source,due", opportunities=deals)
    assert frame[["lead_source", "due", "amount"]].to_numpy().tolist() == [
        ["(none)", "this", 50.0],
        ["Website", "this", 100.0],
    ]
    assert composed(rows, by="route", opportunities=deals)["amount"].tolist() == [150]
    with pytest.raises(InputError, match=r"unknown dimension 'lead_sauce'.*lead_source"):
        composed(rows, by="lead_sauce", opportunities=deals)


def test_reps_are_named_and_namesakes_told_apart() -> None:
    reps = table_of({"owner_id": "string", "name": "string"}, [("rep-1", "Kim"), ("rep-2", "Kim")])
    rows = [
        deal(owner, [due_on(AS_OF).then(OLD, owner_id=owner, stage=stage)])
        for owner, stage in (("rep-1", "Discovery"), ("rep-2", "Discovery"), ("rep-3", "Proposal"))
    ]
    frame = composed(rows, by="owner_id,stage", reps=reps)
    assert frame["rep_name"].tolist() == ["Kim (rep-1)", "Kim (rep-2)", "rep-3"]


def test_an_empty_pipeline() -> None:
    frame = composed([])
    assert frame["deals"].tolist() == [0] * 5
    assert frame["share"].isna().all()
    assert composed([], by="team").empty
    assert composed([], by="")["deals"].tolist() == [0]


def test_fiscal_quarters_decide_what_is_due() -> None:
    rows = [deal("A", [due_on(dt.date(2026, 4, 30))])]
    fiscal = Settings(fiscal_start_month=2)
    assert composed(rows, settings=fiscal).set_index("due").loc["this", "deals"] == 1


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("as_of", [dt.date(2025, 6, 30), AS_OF, dt.date(2026, 4, 20)])
def test_composition_agrees_with_a_slow_reading_and_teams_sum_to_the_company(
    seed: int, as_of: dt.date
) -> None:
    histories = random_histories(seed)
    slow: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0.0])
    for changes in histories:
        state = state_at(changes, as_of)
        if state is not None and is_live(state):
            cell = slow[state.team, state.stage]
            cell[0] += 1
            cell[1] += money(state)
    rows = rows_of(histories)
    fast = composed(rows, as_of=as_of, by="team,stage")
    assert {(row.team, row.stage): [row.deals, row.amount] for row in fast.itertuples()} == {
        key: [value[0], pytest.approx(value[1])] for key, value in slow.items()
    }
    whole = composed(rows, as_of=as_of)
    parts = [composed(of_team(rows, team), as_of=as_of) for team in TEAMS]
    assert (whole["deals"] == parts[0]["deals"] + parts[1]["deals"]).all()
    assert whole["amount"].to_numpy() == pytest.approx((parts[0]["amount"] + parts[1]["amount"]).to_numpy())


def weekly(rows: list[list[dict[str, Any]]], as_of: dt.date = AS_OF, **options: Any) -> pd.DataFrame:
    return by_week(states_table(rows), **{"as_of": as_of, "period": Q1, "settings": SETTINGS, **options})


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("as_of", [dt.date(2026, 1, 1), AS_OF, dt.date(2026, 3, 31), dt.date(2026, 4, 5)])
def test_weeks_agree_with_a_slow_reading(seed: int, as_of: dt.date) -> None:
    histories = random_histories(seed)
    frame = weekly(rows_of(histories), as_of)
    assert set(frame["series"]) == {"this", "previous", "year_ago"}
    for row in frame.itertuples():
        quarter = SETTINGS.fiscal.quarter(row.quarter)
        states = [state for changes in histories if (state := state_at(changes, row.day)) is not None]
        live = [state for state in states if is_live(state)]
        due = [state for state in live if state.close_date and quarter.contains(state.close_date)]
        won = [s for s in states if is_won(s) and s.close_date and quarter.contains(s.close_date)]
        for group, deals, amount in (
            (due, row.due_deals, row.due_amount),
            (won, row.won_deals, row.won_amount),
            (live, row.open_deals, row.open_amount),
        ):
            assert deals == len(group)
            assert amount == pytest.approx(sum(map(money, group)))


def test_days_of_the_three_series_lie_equally_far_into_their_quarters() -> None:
    frame = weekly([deal("A", [due_on(AS_OF).then(dt.date(2024, 6, 1))])])
    this = frame[frame["series"] == "this"]
    assert this["week"].tolist() == list(range(7))
    assert this["day"].iloc[[0, 1, -1]].tolist() == [dt.date(2025, 12, 31), dt.date(2026, 1, 7), AS_OF]
    for series, day in (("previous", dt.date(2025, 11, 10)), ("year_ago", dt.date(2025, 2, 10))):
        other = frame[frame["series"] == series].set_index("week")
        assert other.loc[6, "day"] == day
        assert other["day"].iloc[-1] == SETTINGS.fiscal.quarter(other["quarter"].iloc[0]).last_day
    whole = weekly([deal("A", [due_on(AS_OF).then(dt.date(2024, 6, 1))])], Q1.last_day)
    assert whole[whole["series"] == "this"]["day"].iloc[-1] == Q1.last_day


def test_days_before_the_history_have_no_row() -> None:
    young = weekly([deal("A", [due_on(AS_OF).then(dt.date(2026, 1, 7))])])
    assert young["series"].unique().tolist() == ["this"]
    assert young["week"].tolist() == [1, 2, 3, 4, 5, 6]
    assert weekly([]).empty


def visit(name: str, days: int | None, start: dt.date, amount: float | None = 10) -> list[dict[str, Any]]:
    """A deal that spends some days in Discovery; None: it is still there."""
    first = Change(start, amount=amount)
    ends = [] if days is None else [first.then(start + days * DAY, stage="Closed Lost")]
    return deal(name, [first, *ends])


def ten_visits() -> list[list[dict[str, Any]]]:
    """Visits of 1 to 10 days, all over: p50 is 5, p75 is 8, p90 is 9."""
    return [visit(f"V{days}", days, dt.date(2026, 1, 5)) for days in range(1, 11)]


def aged(rows: list[list[dict[str, Any]]], **options: Any) -> pd.DataFrame:
    arguments = {"as_of": AS_OF, "period": Q1, "settings": SETTINGS, **options}
    return ageing(states_table(rows), **arguments)


def test_a_deal_on_a_limit_belongs_to_the_band_below() -> None:
    # Past visits whose shares lie clear of the limits, so that the few open ones do not move them.
    shares = {5: 60, 8: 20, 9: 15, 10: 5}
    past = [
        visit(f"{days}-{n}", days, dt.date(2026, 1, 5))
        for days, count in shares.items()
        for n in range(count)
    ]
    ages = {"A": 5, "B": 6, "C": 8, "D": 9, "E": 10, "F": 30}
    rows = past + [visit(name, None, AS_OF - age * DAY, 2.0**age) for name, age in ages.items()]
    row = aged(rows).iloc[0]
    assert [row["p50"], row["p75"], row["p90"], row["benchmark"]] == [5, 8, 9, "own"]
    assert [row[band] for band in BANDS] == [1, 2, 1, 2, 0]
    assert [row[f"{band}_amount"] for band in BANDS] == [2**5, 2**6 + 2**8, 2**9, 2**10 + 2**30, 0]
    assert row["over_p90_share"] == pytest.approx(2 / 6)
    assert row["median_age_days"] == 8.5


def test_limits_are_those_of_time_in_stage() -> None:
    draw = np.random.default_rng(9)
    rows = []
    for number in range(150):
        change = Change(dt.date(2025, 2, 1) + int(draw.integers(400)) * DAY)
        changes = [change]
        for stage in ("Proposal", "Negotiation", "Closed Lost"):
            day = changes[-1].day + int(draw.integers(1, 40)) * DAY
            changes.append(changes[-1].then(day, stage=stage, team=TEAMS[int(draw.integers(2))]))
            if stage == "Closed Lost":
                changes[-1] = changes[-1].then(day, team=changes[-2].team)
        rows.append(deal(f"D{number}", changes))
    context: dict[str, Any] = {"as_of": dt.date(2026, 3, 20), "period": Q1, "settings": SETTINGS}
    frame = aged(rows, **context)
    times = time_in_stage(states_table(rows), stages_table(), **context, trailing_quarters=4)
    both = frame.merge(times, on=["pipeline", "stage"], suffixes=("", "_funnel"))
    assert both["benchmark"].tolist() == ["own"] * 3
    for name in ("p50", "p75", "p90"):
        assert both[name].tolist() == both[f"{name}_funnel"].tolist()


def test_without_own_limits_the_companys_are_used_and_said() -> None:
    rows = [visit("A", None, AS_OF - 40 * DAY), visit("B", None, AS_OF - 3 * DAY, None)]
    alone = aged(rows).iloc[0]
    assert (alone["benchmark"], alone["no_benchmark"], np.isnan(alone["over_p90_share"])) == ("none", 2, True)
    company = {
        "stage_times": {
            "first_day": dt.date(2025, 4, 1).toordinal(),
            "last_day": AS_OF.toordinal(),
            "figures": {"": {"Discovery": {"p50": 3.0, "p75": 9.0, "p90": 20.0}}},
        }
    }
    frame = aged(rows, reference=company)
    assert frame[["benchmark", "up_to_p50", "over_p90"]].iloc[0].tolist() == ["company", 1, 1]
    assert "the company's times are used: Discovery" in frame.attrs["notes"][0]
    # Figures over other days say nothing here.
    assert aged(rows, reference=company, as_of=AS_OF + DAY)["benchmark"].tolist() == ["none"]


@pytest.mark.parametrize("seed", [5, 6])
def test_bands_sum_to_what_is_open(seed: int) -> None:
    rows = rows_of(random_histories(seed, 90))
    frame = aged(rows, by="team")
    assert (frame[list(BANDS)].sum(axis=1) == frame["deals"]).all()
    amounts = frame[[f"{band}_amount" for band in BANDS]].sum(axis=1)
    assert amounts.to_numpy() == pytest.approx(frame["amount"].to_numpy())
    opened = composed(rows, by="team").set_index("team")
    assert frame.groupby("team")["deals"].sum().to_dict() == opened["deals"].to_dict()
    assert aged([]).empty


def test_aged_deals_are_those_over_the_limit_and_know_by_how_much() -> None:
    rows = [*ten_visits(), *(visit(f"P{n}", 2, dt.date(2026, 1, 5)) for n in range(40))]
    rows += [visit("A", None, AS_OF - 30 * DAY, 5), visit("B", None, AS_OF - 12 * DAY, 500)]
    rows += [visit("C", None, AS_OF, 900), visit("D", None, AS_OF - 50 * DAY, None)]
    names = table_of({"opportunity_id": "string", "name": "string"}, [("A", "Anvil"), ("B", None)])
    context = {"as_of": AS_OF, "period": Q1, "settings": SETTINGS}
    limit = aged(rows)["p90"].iloc[0]
    frame = aged_deals(states_table(rows), names, **context)
    assert frame["opportunity_id"].tolist() == ["B", "A", "D"]
    assert frame["age_days"].tolist() == [12, 30, 50]
    assert frame["days_over"].tolist() == [12 - limit, 30 - limit, 50 - limit]
    assert frame["amount"].isna().tolist() == [False, False, True]
    assert frame["name"].tolist()[1] == "Anvil"
    assert aged(rows)["over_p90"].sum() == 3
    short = aged_deals(states_table(rows), names, **context, top=1)
    assert (len(short), short.attrs["notes"]) == (1, ["2 more deals are not listed."])
    assert len(aged_deals(states_table(rows), names, **context, all_deals=True)) == 4
    with pytest.raises(InputError, match="expected 1 or more; got '0'"):
        aged_deals(states_table(rows), names, **context, top=0)


def test_nothing_of_a_deal_after_the_date_is_used() -> None:
    rows = rows_of(random_histories(8))
    known = [
        [
            {
                **row,
                **(
                    {"valid_to_date": None, "valid_to_at": None, "exit": None, "next_stage": None}
                    if row["valid_to_date"] and row["valid_to_date"] > AS_OF
                    else {}
                ),
            }
            for row in states
            if row["valid_from_date"] <= AS_OF
        ]
        for states in rows
    ]
    for function in (composed, aged, weekly):
        pd.testing.assert_frame_equal(function(rows), function([states for states in known if states]))


def test_row_order_does_not_matter() -> None:
    rows = [row for states in rows_of(random_histories(7)) for row in states]
    shuffled = [rows[at] for at in np.random.default_rng(1).permutation(len(rows))]
    for function in (composed, aged, weekly):
        pd.testing.assert_frame_equal(function([rows]), function([shuffled]))


def test_null_flags_and_owners_are_no_error() -> None:
    rows = deal("A", [due_on(None, None).then(OLD, owner_id=None)])
    for row in rows:
        row.update(is_closed=None, is_won=None, is_deleted=None)
    frame = composed([rows], by="owner_id")
    assert frame[["owner_id", "deals"]].to_numpy().tolist() == [["(none)", 1]]
    assert isinstance(
        aged_deals(states_table([rows]), as_of=AS_OF, period=Q1, settings=SETTINGS), pd.DataFrame
    )
    assert ibis.memtable(frame).count().to_pyarrow().as_py() == 1
