"""Conversion, time in stage, cycle and bottlenecks: by hand, and against a slow walk over the days."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesops_kit.analysis.funnel import (
    bookings,
    bottlenecks,
    company_reference,
    conversion,
    cycle,
    time_in_stage,
)
from salesops_kit.analysis.funnel._stages import with_reference
from salesops_kit.analysis.funnel._transitions import CAUSES, Window, count_transitions, window
from salesops_kit.errors import NotAvailableError
from salesops_kit.estimators.competing_risks import aalen_johansen, count_table, log_log_interval
from salesops_kit.estimators.intervals import wilson
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.states import Change, deal, stages_table, states_table, table_of

DAY0 = dt.date(2026, 1, 1)
OPEN = ("Discovery", "Proposal", "Negotiation")
Q1 = Period(DAY0, dt.date(2026, 4, 1), "2026-Q1")


def on(day: int) -> dt.date:
    return DAY0 + dt.timedelta(days=day)


def walk(name: str, *steps: tuple[int, str], **more: Any) -> list[dict[str, Any]]:
    """A deal that enters each stage on the given day."""
    return deal(name, [Change(on(day), stage=stage, **more) for day, stage in steps])


def rows_of(frame: pd.DataFrame, *columns: str) -> dict[str, list[Any]]:
    return {row["stage"]: [row[column] for column in columns] for row in frame.to_dict("records")}


WALKS = [
    walk("A", (0, "Discovery"), (10, "Proposal"), (30, "Negotiation"), (40, "Closed Won")),
    walk("B", (0, "Discovery"), (20, "Closed Lost")),
    walk("C", (0, "Discovery"), (20, "Negotiation"), (25, "Proposal"), (35, "Closed Won")),
    walk("D", (5, "Discovery")),
]


def run(walks: Any = None, **more: Any) -> pd.DataFrame:
    options: dict[str, Any] = {"as_of": on(60), "period": None, "settings": Settings(), **more}
    states = states_table(WALKS if walks is None else walks)
    return conversion(states, stages_table(), **options)


def test_kinds_of_exit() -> None:
    frame = run()
    assert rows_of(frame, "entrants", "at_risk", *CAUSES) == {
        "Discovery": [4, 4, 1, 1, 1, 0],
        "Proposal": [2, 2, 1, 1, 0, 0],
        "Negotiation": [2, 2, 1, 0, 0, 1],
    }
    # Discovery: a quarter goes on at day 10; at 20 one of the three left skips and one is lost.
    assert rows_of(frame, "next_rate", "skipped_rate", "lost_rate", "still_open_rate")[
        "Discovery"
    ] == pytest.approx([0.25, 0.25, 0.25, 0.25])
    assert frame["observed_days"].tolist() == [55, 20, 10]
    assert not frame["evidence"].any()
    assert frame["reference_rate"].isna().all()


def test_rates_at_a_horizon() -> None:
    frame = run(horizon_days=19)
    assert rows_of(frame, "next_rate", "lost_rate", "still_open_rate")["Discovery"] == pytest.approx(
        [0.25, 0, 0.75]
    )
    frame = run(horizon_days=20)
    assert rows_of(frame, "lost_rate")["Discovery"] == [pytest.approx(0.25)]


def test_all_stages_are_listed_also_when_nobody_was_there() -> None:
    frame = run([])
    assert frame["stage"].tolist() == list(OPEN)
    assert frame[["entrants", "at_risk", *CAUSES]].to_numpy().sum() == 0
    assert frame[["next_rate", "next_low", "still_open_rate", "observed_days"]].isna().all(axis=None)
    assert run([], by="team").empty


def test_a_passage_within_one_day_counts_at_age_0() -> None:
    frame = run([walk("A", (3, "Discovery"), (3, "Proposal"), (3, "Closed Lost"))])
    assert rows_of(frame, "entrants", "next", "lost", "observed_days")["Discovery"] == [1, 1, 0, 0]
    assert rows_of(frame, "entrants", "next", "lost", "observed_days")["Proposal"] == [1, 0, 1, 0]


def test_a_change_of_amount_splits_nothing() -> None:
    first = Change(on(0))
    for days in ([0], [0, 0], [4], [0, 4, 10], [10]):
        changes = [first, *(first.then(on(day), amount=day + 7) for day in days)]
        changes.append(first.then(on(10), stage="Proposal"))
        frame = run([deal("A", changes), *WALKS[1:]])
        expected = run([walk("A", (0, "Discovery"), (10, "Proposal")), *WALKS[1:]])
        pd.testing.assert_frame_equal(frame, expected)


def test_deleted_and_transferred_deals_are_censored_not_lost() -> None:
    first = Change(on(0))
    deleted = deal(
        "A", [first, first.then(on(5), is_deleted=True), first.then(on(9), is_deleted=True, amount=1)]
    )
    moved = deal(
        "B", [first, first.then(on(8), team="South"), first.then(on(12), team="South", stage="Proposal")]
    )
    frame = run([deleted, moved], by="team")
    shown = frame[frame["stage"] == "Discovery"].set_index("team")
    assert shown.loc["North", ["entrants", "at_risk", "next", "lost"]].tolist() == [2, 2, 0, 0]
    assert shown.loc["South", ["entrants", "at_risk", "next", "lost"]].tolist() == [0, 1, 1, 0]
    assert shown.loc["North", "still_open_rate"] == 1
    # South saw the deal from its ninth day on, when it was the only one at risk.
    assert shown.loc["South", "next_rate"] == 1


def test_the_past_is_seen_as_it_was() -> None:
    frame = run(as_of=on(19))
    assert rows_of(frame, "next", "skipped", "lost")["Discovery"] == [1, 0, 0]
    # At the end of day 19 nobody had been seen at age 20.
    assert rows_of(frame, "observed_days")["Discovery"] == [19]


def test_window_of_a_period_and_of_trailing_quarters() -> None:
    q2 = Period(dt.date(2026, 4, 1), dt.date(2026, 7, 1), "2026-Q2")
    assert window(dt.date(2026, 5, 5), q2, Settings(), 0) == Window(q2.start, dt.date(2026, 5, 5))
    assert window(dt.date(2026, 8, 5), q2, Settings(), 1) == Window(q2.start, q2.last_day)
    assert window(dt.date(2026, 8, 5), q2, Settings(), 4) == Window(dt.date(2025, 7, 1), q2.last_day)
    assert window(dt.date(2026, 5, 5), None, Settings(), 0) == Window(None, dt.date(2026, 5, 5))
    walks = [walk("A", (80, "Discovery"), (100, "Proposal")), walk("B", (89, "Discovery"), (90, "Proposal"))]
    frame = run(walks, period=q2, as_of=q2.last_day)
    # The window opens on day 90: both deals were in Discovery then, and neither entered it in the window.
    assert rows_of(frame, "entrants", "at_risk", "next")["Discovery"] == [0, 2, 2]
    assert rows_of(frame, "entrants", "at_risk", "next")["Proposal"] == [2, 2, 0]
    both = run(walks, period=q2, as_of=q2.last_day, trailing_quarters=2)
    assert rows_of(both, "entrants", "at_risk", "next")["Discovery"] == [2, 2, 2]


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    days = sorted(draw(st.lists(st.integers(0, 14), min_size=1, max_size=6)))
    changes: list[Change] = []
    for day in days:
        change = Change(
            on(day),
            stage=draw(st.sampled_from([*OPEN, *OPEN, "Closed Won", "Closed Lost"])),
            amount=draw(st.sampled_from([10, 20])),
            team=draw(st.sampled_from(["North", "South"])),
            is_deleted=draw(st.sampled_from([False, False, False, False, True])),
        )
        if changes and change.stage.startswith("Closed"):
            change = change.then(change.day, team=changes[-1].team)
        changes.append(change)
    return changes


def slow_records(histories: list[list[Change]], days: Window, team: str | None) -> pd.DataFrame:
    """One record per stay in a stage and team, from the changes themselves."""
    found = []
    for changes in histories:
        since = changes[0].day
        stays: list[dict[str, Any]] = []
        for place, change in enumerate(changes):
            before = changes[place - 1] if place else None
            if before is not None and before.stage != change.stage:
                since = change.day
            if change.stage.startswith("Closed") or change.is_deleted:
                continue
            goes_on = (
                before is not None
                and not before.is_deleted
                and (before.stage, before.team) == (change.stage, change.team)
            )
            if not goes_on:
                stays.append({"stage": change.stage, "team": change.team, "since": since, "from": change.day})
            after = changes[place + 1] if place + 1 < len(changes) else None
            stays[-1].update(to=None if after is None else after.day, cause=None)
            if after is not None and after.team == change.team and not after.is_deleted:
                stays[-1]["cause"] = exit_kind(change.stage, after.stage)
        for stay in stays:
            first = stay["from"] if days.start is None else max(stay["from"], days.start)
            ended = stay["to"] is not None and stay["to"] <= days.last
            last = stay["to"] if ended else days.last
            if first > last or stay["from"] > days.last or (team is not None and stay["team"] != team):
                continue
            age = (first - stay["since"]).days
            fresh = stay["from"] == stay["since"] or first > stay["from"]
            entry = age - 1 if fresh else age
            cause = stay["cause"] if ended else None
            replaced = ended and cause is None and stay["to"] == stay["since"]
            if not replaced:
                exit_age = (last - stay["since"]).days
                found.append({"stage": stay["stage"], "entry": entry, "exit": exit_age, "cause": cause})
    return pd.DataFrame(found, columns=["stage", "entry", "exit", "cause"])


def exit_kind(stage: str, after: str) -> str | None:
    if stage == after:
        return None
    if after == "Closed Lost":
        return "lost"
    order = [*OPEN, "Closed Won"]
    step = order.index(after) - order.index(stage)
    return "next" if step == 1 else "skipped" if step > 1 else "regressed"


@given(
    st.lists(histories(), min_size=1, max_size=10),
    st.integers(-1, 12),
    st.integers(0, 8),
    st.sampled_from([None, "North", "South"]),
)
@settings(max_examples=40)
def test_curves_agree_with_the_slow_version(
    walks: list[list[Change]], start: int, length: int, team: str | None
) -> None:
    days = Window(None if start < 0 else on(start), on(max(start, 0) + length))
    rows = [row for number, changes in enumerate(walks) for row in deal(f"D{number}", changes)]
    rows = [row for row in rows if team is None or row["team"] == team]
    counts = count_transitions(states_table([rows]), stages_table(), days, (), Settings())
    records = slow_records(walks, days, team)
    ours = aalen_johansen(counts.ages, CAUSES, counts.keys)
    theirs = aalen_johansen(count_table(records, CAUSES, ["stage"]), CAUSES, ["stage"])
    columns = ["survival", *CAUSES, "next_variance"]
    for stage in OPEN:
        # A row that is split at an age is one more line of the count table, with nothing happening there.
        left = ours[(ours["stage"] == stage) & (ours["events"] > 0)]
        right = theirs[(theirs["stage"] == stage) & (theirs["events"] > 0)]
        assert left["age"].tolist() == right["age"].tolist()
        assert left["at_risk"].tolist() == right["at_risk"].tolist()
        assert left[columns].to_numpy() == pytest.approx(right[columns].to_numpy(), abs=1e-12)
    assert counts.totals[list(CAUSES)].to_numpy().sum() == records["cause"].notna().sum()


def test_team_counts_sum_to_the_company() -> None:
    rng = np.random.default_rng(4)
    walks = [
        walk(
            f"D{i}", (int(rng.integers(30)), "Discovery"), (40, "Proposal"), team=str(rng.choice(["N", "S"]))
        )
        for i in range(20)
    ]
    counted = ["entrants", "at_risk", *CAUSES]
    by_team = run(walks, by="team")[counted].sum()
    assert by_team.tolist() == run(walks)[counted].sum().tolist()


def teams_of(*shares: tuple[str, int, int]) -> list[list[dict[str, Any]]]:
    """Per team, so many deals that move on from Discovery and then win, of so many."""
    return [
        walk(f"{team}{i}", (0, "Discovery"), (10, "Negotiation"), (20, "Closed Won"), team=team, amount=1000)
        if i < moved
        else walk(f"{team}{i}", (0, "Discovery"), (10, "Closed Lost"), team=team)
        for team, moved, n in shares
        for i in range(n)
    ]


SHARES = (("North", 5, 40), ("South", 28, 40), ("West", 24, 40))


def reference_of(walks: list[list[dict[str, Any]]], **more: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"as_of": on(60), "period": Q1, "settings": Settings(), **more}
    return company_reference(states_table(walks), stages_table(), **options)


def log_log_limits(rate: float, n: int) -> tuple[float, float]:
    power = math.exp(1.9599639845 * math.sqrt(rate * (1 - rate) / n) / (rate * -math.log(rate)))
    return rate**power, rate ** (1 / power)


def hypotenuse(one: float, other: float, correlation: float) -> float:
    return math.sqrt(one**2 + other**2 - 2 * correlation * one * other)


def test_bottleneck_is_ranked_by_revenue_and_tested_against_the_company() -> None:
    walks = teams_of(*SHARES)
    reference = reference_of(walks)
    figures = reference["stages"]["0"]["figures"][""]["Discovery"]
    assert figures["moved_on"] == pytest.approx(57 / 120)
    assert figures["moved_on_variance"] == pytest.approx(57 / 120 * 63 / 120 / 120)
    # The best team moves on 28 of 40; what is credible of that is its lower limit, above the company's rate.
    assert 57 / 120 < figures["best_moved_on"] < 28 / 40
    north = [states for states in walks if states[0]["team"] == "North"]
    options: dict[str, Any] = {"as_of": on(60), "period": Q1, "settings": Settings()}
    frame = bottlenecks(states_table(north), stages_table(), reference=reference, **options)
    top = frame.iloc[0]
    assert (top["stage"], top["entrants"], top["moved_on_rate"]) == ("Discovery", 40, pytest.approx(5 / 40))
    # Those that got past Discovery were all won.
    assert (top["downstream_win_rate"], top["mean_won_amount"]) == (1, 1000)
    assert top["revenue_lost"] == pytest.approx(40 * (figures["best_moved_on"] - 5 / 40) * 1000)
    assert top["evidence"]
    # The team is a third of the company: the difference is two thirds of that from the others.
    assert top["difference"] == pytest.approx(2 / 3 * (5 / 40 - 52 / 80))
    half = (top["difference_high"] - top["difference_low"]) / 2 / 1.959964
    # It is never narrower than the difference of two independent samples implies.
    assert half**2 > (2 / 3) ** 2 * (1 / 8 * 7 / 8 / 40 + 52 / 80 * 28 / 80 / 80)
    # Limits of the two rates on the log(-log) scale, put together by their distances (MOVER).
    (low, high), (mean_low, mean_high) = log_log_limits(5 / 40, 40), log_log_limits(57 / 120, 120)
    shared = 1 / 3 * (high - low) / (mean_high - mean_low)
    below = hypotenuse(5 / 40 - low, mean_high - 57 / 120, shared)
    above = hypotenuse(high - 5 / 40, 57 / 120 - mean_low, shared)
    assert top["difference"] - top["difference_low"] == pytest.approx(below, rel=1e-6)
    assert top["difference_high"] - top["difference"] == pytest.approx(above, rel=1e-6)
    # Beside it stands Negotiation, with nothing lost and nothing to test.
    assert frame["stage"].tolist() == ["Discovery", "Negotiation"]
    assert frame["revenue_lost"].iloc[1] == 0
    assert frame["adjusted_p_value"].iloc[0] >= frame["p_value"].iloc[0]


def test_the_company_does_not_differ_from_itself() -> None:
    walks = teams_of(*SHARES)
    options: dict[str, Any] = {"as_of": on(60), "period": Q1, "settings": Settings()}
    reference = reference_of(walks)
    frame = bottlenecks(states_table(walks), stages_table(), reference=reference, **options)
    assert frame["difference"].abs().max() == pytest.approx(0)
    assert frame["p_value"].isna().all()
    assert not frame["evidence"].any()
    rates = run(walks, period=Q1, reference=reference)
    assert not rates["evidence"].any()
    assert rates["shrunk_rate"].isna().all()


def test_a_company_whose_teams_hand_deals_over_does_not_differ_from_itself() -> None:
    walks = [*teams_of(*SHARES), *handed_on()]
    reference = reference_of(walks)
    frame = run(walks, period=Q1, reference=reference).set_index("stage")
    figures = reference["stages"]["0"]["figures"][""]["Discovery"]
    assert figures["at_risk"] == frame.loc["Discovery", "at_risk"] == 123
    zero = frame.loc[["Discovery", "Negotiation"], ["difference", "difference_low", "difference_high"]]
    assert (zero == 0).all(axis=None)
    assert frame[["shrunk_rate", "shrunk_low", "p_value"]].isna().all(axis=None)


def small_team(moved: int, n: int) -> pd.Series:
    """Discovery in ``funnel.bottlenecks`` of a small team beside the others."""
    walks = teams_of(("Small", moved, n), *SHARES)
    small = [states for states in walks if states[0]["team"] == "Small"]
    options: dict[str, Any] = {"as_of": on(60), "period": Q1, "settings": Settings()}
    frame = bottlenecks(states_table(small), stages_table(), reference=reference_of(walks), **options)
    return frame.set_index("stage").loc["Discovery"]


@pytest.mark.parametrize(("moved", "n"), [(0, 1), (1, 1), (0, 2), (2, 2), (3, 3)])
def test_none_or_all_of_a_few_deals_are_no_evidence(moved: int, n: int) -> None:
    row = small_team(moved, n)
    assert row["moved_on_rate"] == moved / n
    assert not row["evidence"]
    assert row["difference_low"] < 0 < row["difference_high"]
    assert row["p_value"] > 0.05
    assert row["revenue_lost_low"] == 0
    # The distance on zero's side is that of the exact limits of none or all of n.
    exact = 1 - 0.025 ** (1 / n)
    distance = row["difference_high" if moved == 0 else "difference_low"] - row["difference"]
    assert abs(distance) == pytest.approx(exact, abs=0.06)


def test_none_of_many_deals_are_evidence() -> None:
    row = small_team(0, 20)
    assert row["evidence"]
    assert row["difference_high"] < 0 < row["revenue_lost_low"]


def test_a_claim_is_made_exactly_where_the_limits_leave_zero_out() -> None:
    for n in (5, 8, 12):
        for moved in range(n + 1):
            row = small_team(moved, n)
            leaves_out = row["difference_low"] > 0 or row["difference_high"] < 0
            assert leaves_out == (row["p_value"] < 0.05)


def test_small_teams_like_the_company_are_hardly_ever_claimed() -> None:
    rng = np.random.default_rng(8)
    company = {"": {"Discovery": {"at_risk": 400, "next": 0.8, "next_strength": 50.0}}}
    figure = company[""]["Discovery"]
    figure["next_variance"] = 0.8 * 0.2 / 400
    figure["next_low"], figure["next_high"] = (float(end) for end in wilson(320, 400))
    for n in (1, 2, 4, 9, 25):
        moved = rng.binomial(n, 0.8, 2000)
        rates = pd.DataFrame({"pipeline": "", "stage": "Discovery", "at_risk": n, "next_rate": moved / n})
        rates["next_variance"] = rates["next_rate"] * (1 - rates["next_rate"]) / n
        rates["effective_n"], rates["unseen_rate"] = float(n), 0.0
        rates["next_low"], rates["next_high"] = log_log_interval(
            rates["next_rate"], rates["next_variance"], n=n
        )
        compared = with_reference(rates, "next", company)
        claimed = (compared["difference_low"] > 0) | (compared["difference_high"] < 0)
        assert claimed.mean() < 0.06, n


def test_deals_that_could_not_have_left_yet_do_not_hold_a_team_back() -> None:
    """A team whose deals were all created three days ago has moved none of them on, and that is no sign."""
    new = [walk(f"N{i}", (57, "Discovery"), team="New") for i in range(30)]
    reference = reference_of([*teams_of(*SHARES), *new])
    options: dict[str, Any] = {"as_of": on(60), "period": Q1, "settings": Settings()}
    row = bottlenecks(states_table(new), stages_table(), reference=reference, **options).iloc[0]
    assert (row["moved_on_rate"], row["at_risk"]) == (0, 30)
    assert row["p_value"] > 0.05
    assert not row["evidence"]
    assert row["revenue_lost_low"] == 0


def test_conversion_by_team_is_compared_and_shrunk() -> None:
    walks = teams_of(("North", 3, 4), *SHARES[1:])
    frame = run(walks, period=Q1, reference=reference_of(walks), by="team")
    north = frame[(frame["team"] == "North") & (frame["stage"] == "Discovery")].iloc[0]
    # Moving to Negotiation skips Proposal, so nobody goes on to the next stage.
    assert north["next_rate"] == 0 < north["next_high"]
    assert north["skipped_rate"] == pytest.approx(0.75)
    negotiation = frame[frame["stage"] == "Negotiation"].set_index("team")
    assert negotiation.loc["North", "next_rate"] == 1 > negotiation.loc["North", "next_low"]


def test_a_reference_over_other_days_or_another_horizon_is_not_used() -> None:
    walks = teams_of(*SHARES)
    reference = reference_of(walks)
    for changed in ({"period": None}, {"horizon_days": 30}, {"trailing_quarters": 2}, {"as_of": on(59)}):
        frame = run(walks, **{"period": Q1, "reference": reference, **changed})
        assert frame["reference_rate"].isna().all()
        assert "cover other days or another horizon" in frame.attrs["notes"][-1]
    frame = run(walks, period=Q1, reference=reference, trailing_quarters=4)
    assert frame["reference_rate"].notna().sum() == 2


def test_bottlenecks_without_a_reference() -> None:
    options: dict[str, Any] = {"as_of": on(60), "period": None, "settings": Settings()}
    frame = bottlenecks(states_table(WALKS), stages_table(), **options)
    assert frame["moved_on_rate"].notna().all()
    assert frame[["reference_rate", "revenue_lost", "p_value"]].isna().all(axis=None)
    assert frame.attrs["notes"] == ["Without the company's figures no stage can be compared."]


def test_time_in_stage_by_hand() -> None:
    ages = [1, 2, 2, 3, 4, 5, 5, 6]
    leaves = [True, True, False, True, False, True, True, False]
    walks = [
        walk(f"D{i}", (60 - age, "Discovery"), *([(60, "Proposal")] if left else []))
        for i, (age, left) in enumerate(zip(ages, leaves, strict=True))
    ]
    states = states_table(walks)
    frame = time_in_stage(states, stages_table(), as_of=on(60), period=None, settings=Settings())
    row = frame.iloc[0]
    assert frame["stage"].tolist() == list(OPEN)
    assert (row["at_risk"], row["left"], row["still_open"]) == (8, 5, 3)
    # The known answer of Kaplan-Meier: S = .875, .75, .60 (t = 3), .20 (t = 5), so the median is 5.
    assert (row["p50"], row["p75"]) == (5, 5)
    assert np.isnan(row["p90"])
    assert row["closed_only_mean"] == pytest.approx(16 / 5)
    assert row["p50_low"] <= 5
    assert (frame.loc[1, "at_risk"], frame.loc[1, "left"], frame.loc[1, "still_open"]) == (5, 0, 5)
    assert np.isnan(frame.loc[2, "closed_only_mean"])


def test_a_quantile_of_few_visits_is_not_told() -> None:
    def times(stays: int) -> pd.Series:
        walks = [walk(f"D{i}", (0, "Discovery"), (i + 1, "Proposal")) for i in range(stays)]
        options: dict[str, Any] = {"as_of": on(60), "period": None, "settings": Settings()}
        return time_in_stage(states_table(walks), stages_table(), **options).iloc[0]

    assert times(10)[["p50", "p75", "p90"]].tolist() == [5, 8, 9]
    for stays, known in ((9, ["p50", "p75"]), (5, ["p50", "p75"]), (4, []), (1, [])):
        row = times(stays)[["p50", "p75", "p90"]]
        assert row.index[row.notna()].tolist() == known
    few = times(4)
    assert few[["p50_low", "p50_high"]].isna().all()
    assert (few["at_risk"], few["left"], few["closed_only_mean"]) == (4, 4, 2.5)


def test_deals_seen_late_do_not_carry_a_quantile() -> None:
    # One deal is seen from its first day and leaves on day 11; nine are taken over at an age of 43 days.
    late = [
        deal(
            f"L{i}",
            [
                Change(on(0), team="South"),
                Change(on(43), team="North"),
                Change(on(150 + i), team="North", stage="Proposal"),
            ],
        )
        for i in range(9)
    ]
    states = states_table([walk("A", (0, "Discovery"), (11, "Proposal")), *late])
    frame = time_in_stage(
        states, stages_table(), as_of=on(200), period=None, settings=Settings(), by="team"
    ).set_index(["team", "stage"])
    row = frame.loc[("North", "Discovery")]
    assert (row["at_risk"], row["left"]) == (10, 10)
    assert row[["p50", "p75", "p90"]].isna().all()


def handed_on() -> list[list[dict[str, Any]]]:
    """Deals that North takes over on day 10 and hands on, or keeps, or gets back."""
    came = [Change(on(0), team="South"), Change(on(10), team="North")]
    away, back = Change(on(20), team="West"), Change(on(30), team="North")
    return [deal("A", came), deal("B", [*came, away]), deal("C", [*came, away, back])]


@pytest.mark.parametrize("last", [15, 25, 40])
def test_a_deal_taken_over_counts_in_a_team_also_when_it_is_handed_on_later(last: int) -> None:
    rows = [[row for row in states if row["team"] == "North"] for states in handed_on()]
    assert run(rows, as_of=on(last)).iloc[0]["at_risk"] == 3
    by_team = run(handed_on(), as_of=on(last), by="team").set_index(["team", "stage"])["at_risk"]
    assert by_team[("North", "Discovery")] == 3
    # To the company each is one stay, wherever it goes.
    assert run(handed_on(), as_of=on(last)).iloc[0]["at_risk"] == 3


@given(st.lists(histories(), min_size=1, max_size=8), st.integers(0, 14))
@settings(max_examples=30)
def test_what_comes_later_changes_no_count(walks: list[list[Change]], last: int) -> None:
    def counted(cut: bool) -> pd.DataFrame:
        kept = [[c for c in changes if not cut or c.day <= on(last)] for changes in walks]
        rows = [row for number, changes in enumerate(kept) if changes for row in deal(f"D{number}", changes)]
        north = [row for row in rows if row["team"] == "North"]
        return run([north], as_of=on(last))

    pd.testing.assert_frame_equal(counted(cut=True), counted(cut=False))


def deals_created(walks: list[list[dict[str, Any]]], reasons: dict[str, str] | None = None) -> ibis.Table:
    types = {"opportunity_id": "string", "created_date": "date", "loss_reason": "string"}
    firsts = [states[0] for states in walks]
    rows = [
        (r["opportunity_id"], r["valid_from_date"], (reasons or {}).get(r["opportunity_id"])) for r in firsts
    ]
    return table_of(types, rows)


def known_cycle() -> list[list[dict[str, Any]]]:
    """The known answer of competing risks: 10W 20L 20+ 30W 40L 50W 60+ 70L."""
    ends = [
        (10, "Won"),
        (20, "Lost"),
        (20, ""),
        (30, "Won"),
        (40, "Lost"),
        (50, "Won"),
        (60, ""),
        (70, "Lost"),
    ]
    walks = []
    for number, (age, end) in enumerate(ends):
        first = Change(on(100 - age))
        closed = [first.then(on(100), stage=f"Closed {end}", close_date=on(100))] if end else []
        walks.append(deal(f"D{number}", [first, *closed]))
    return walks


def run_cycle(walks: list[list[dict[str, Any]]], opportunities: Any = None, **more: Any) -> pd.DataFrame:
    options: dict[str, Any] = {"as_of": on(100), "period": None, "settings": Settings(), **more}
    deals = deals_created(walks) if opportunities is None else opportunities
    return cycle(states_table(walks), deals, **options).set_index("outcome")


def test_cycle_known_answer() -> None:
    frame = run_cycle(known_cycle())
    assert frame["incidence"].tolist() == pytest.approx([0.425, 0.575])
    assert frame["closed"].tolist() == [3, 3]
    # Won: .125 at 10, .275 at 30, .425 at 50; half of .425 is passed at 30, three quarters at 50.
    assert frame.loc["won", ["p50", "p75"]].tolist() == [30, 50]
    assert frame.loc["lost", ["p50", "p75"]].tolist() == [70, 70]
    assert frame.loc["won", ["closed_only_mean", "closed_only_median"]].tolist() == [30, 30]
    assert frame["p50_low"].iloc[0] <= 30 <= frame["p50_high"].fillna(np.inf).iloc[0]


def test_cycle_leaves_duplicates_and_undated_deals_out() -> None:
    walks = known_cycle()
    frame = run_cycle(walks, deals_created(walks, {"D7": "Duplicate"}))
    assert frame["closed"].tolist() == [3, 2]
    types = {"opportunity_id": "string", "created_date": "date"}
    rows = [(states[0]["opportunity_id"], None) for states in walks]
    frame = run_cycle(walks, table_of(types, rows))
    assert frame.empty
    assert "6 closed deals have no creation or close date" in frame.attrs["notes"][-1]
    with pytest.raises(NotAvailableError, match="date on which each deal was created"):
        cycle(states_table(walks), None, as_of=on(100), period=None, settings=Settings())


def test_cycle_in_a_period_sees_only_its_days() -> None:
    period = Period(on(100), on(101), "one day")
    frame = run_cycle(known_cycle(), period=period)
    assert frame["closed"].tolist() == [3, 3]
    # On that one day each age is a risk set of its own, and at 10 the only deal at risk was won.
    assert frame.loc["won", "incidence"] == 1
    before = run_cycle(known_cycle(), as_of=on(99))
    assert before["closed"].sum() == 0
    assert before["closed_only_mean"].isna().all()


@pytest.mark.parametrize("trailing_quarters", [0, 1])
@pytest.mark.parametrize("is_named", [True, False])
def test_cycle_counts_what_is_won_with_a_close_date_later_in_the_quarter(
    trailing_quarters: int, *, is_named: bool
) -> None:
    quarter = Settings().fiscal.quarter_of(on(40))
    first = Change(quarter.start)
    ends = {"before": 39, "today": 40, "later": 50, "last": (Q1.last_day - DAY0).days, "next": 200}
    walks = [
        deal(name, [first, first.then(on(40), stage="Closed Won", close_date=on(end))])
        for name, end in ends.items()
    ]
    walks.append(deal("not yet", [first, first.then(on(41), stage="Closed Won", close_date=on(41))]))
    period = quarter if is_named else None
    frame = run_cycle(walks, as_of=on(40), period=period, trailing_quarters=trailing_quarters)
    booked = bookings(states_table(walks), as_of=on(40), period=quarter, settings=Settings(), quarters=1)
    is_all = not is_named and not trailing_quarters
    assert frame.loc["won", "closed"] == booked["deals_won"].iloc[0] + is_all == 4 + is_all


def test_cycle_by_team_and_a_negative_length() -> None:
    first = Change(on(10), team="South")
    odd = deal("X", [first, first.then(on(12), stage="Closed Won", close_date=on(9))])
    walks = [*known_cycle(), odd]
    frame = cycle(
        states_table(walks),
        deals_created(walks),
        as_of=on(100),
        period=None,
        settings=Settings(),
        by="team",
    )
    assert frame[["team", "outcome"]].to_numpy().tolist() == [
        ["North", "won"],
        ["North", "lost"],
        ["South", "won"],
        ["South", "lost"],
    ]
    assert frame["closed"].tolist() == [3, 3, 1, 0]
    assert frame.loc[2, "closed_only_mean"] == 0
