"""The skip and regression matrix: by hand, against a slow walk, and as shares that sum to one."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salesops_kit.analysis.funnel import conversion, transitions
from salesops_kit.errors import InputError
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.states import Change, deal, stages_table, states_table

DAY0 = dt.date(2026, 1, 1)
Q1 = Period(DAY0, dt.date(2026, 4, 1), "2026-Q1")
ORDER = {"Discovery": 1, "Proposal": 2, "Negotiation": 3, "Closed Won": 4, "Closed Lost": 5}


def on(day: int) -> dt.date:
    return DAY0 + dt.timedelta(days=day)


def walk(name: str, *steps: tuple[int, str], **more: Any) -> list[dict[str, Any]]:
    return deal(name, [Change(on(day), stage=stage, **more) for day, stage in steps])


WALKS = [
    walk("A", (0, "Discovery"), (10, "Proposal"), (30, "Negotiation"), (40, "Closed Won")),
    walk("B", (0, "Discovery"), (20, "Closed Lost")),
    walk("C", (0, "Discovery"), (21, "Negotiation"), (25, "Proposal"), (35, "Closed Won")),
    walk("D", (5, "Discovery")),
    walk("E", (0, "Discovery"), (14, "Proposal")),
]


def run(walks: Any = None, **more: Any) -> pd.DataFrame:
    options: dict[str, Any] = {"as_of": on(60), "period": Q1, "settings": Settings(), **more}
    return transitions(states_table(WALKS if walks is None else walks), stages_table(), **options)


def cells(frame: pd.DataFrame, *columns: str) -> dict[tuple[str, str], list[Any]]:
    return {
        (row["from_stage"], row["to_stage"]): [row[name] for name in columns]
        for row in frame.to_dict("records")
    }


def test_the_matrix_of_a_period_by_hand() -> None:
    frame = run()
    assert cells(frame, "kind", "moves", "n", "median_days") == {
        ("Discovery", "Proposal"): ["next", 2, 4, 12],
        ("Discovery", "Negotiation"): ["skipped", 1, 4, 21],
        ("Discovery", "Closed Lost"): ["lost", 1, 4, 20],
        ("Proposal", "Negotiation"): ["next", 1, 2, 20],
        ("Proposal", "Closed Won"): ["won", 1, 2, 10],
        ("Negotiation", "Proposal"): ["regressed", 1, 2, 4],
        ("Negotiation", "Closed Won"): ["won", 1, 2, 10],
    }
    assert cells(frame, "share", "low", "high")["Discovery", "Proposal"] == pytest.approx(
        [0.5, 0.15003899, 0.84996101]
    )
    assert frame["is_mature"].all()


def test_a_period_counts_the_days_of_its_moves_and_nothing_later() -> None:
    frame = run(as_of=on(20))
    assert cells(frame, "moves") == {
        ("Discovery", "Proposal"): [2],
        ("Discovery", "Closed Lost"): [1],
    }
    assert run(as_of=on(19))["to_stage"].tolist() == ["Proposal"]
    march = Period(on(31), on(62), "x")
    late = run(period=march)
    # The stays began before the window; the moves were made in it.
    assert cells(late, "moves", "median_days") == {
        ("Proposal", "Closed Won"): [1, 10],
        ("Negotiation", "Closed Won"): [1, 10],
    }


def test_a_cohort_follows_its_stays_and_its_shares_sum_to_one() -> None:
    frame = run(view="cohort")
    found = cells(frame, "kind", "moves", "n", "share")
    assert found["Discovery", "Proposal"] == ["next", 2, 5, pytest.approx(2 / 5)]
    assert found["Discovery", "(still there)"] == ["open", 1, 5, pytest.approx(1 / 5)]
    # E went to Proposal on day 14 and is still there.
    assert found["Proposal", "(still there)"][1:] == [1, 3, pytest.approx(1 / 3)]
    sums = frame.groupby(["pipeline", "from_stage"])["share"].sum()
    assert sums.tolist() == pytest.approx([1] * 3)
    assert not frame["is_mature"].any()
    assert "could be followed for 180 days" in frame.attrs["notes"][0]
    old = run(view="cohort", as_of=on(60 + 31 + 180), period=Q1)
    assert old["is_mature"].all()
    assert old.attrs["notes"] == []


def test_the_cohort_is_that_of_conversion_where_nothing_began_before() -> None:
    frame = run(view="cohort", horizon_days=15)
    rates = conversion(
        states_table(WALKS), stages_table(), as_of=on(60), period=Q1, settings=Settings(), horizon_days=15
    ).set_index("stage")
    by_kind = (
        frame.assign(kind=frame["kind"].replace({"won": "skipped"}))
        .groupby(["from_stage", "kind"])["share"]
        .sum()
    )
    assert by_kind["Discovery", "next"] == pytest.approx(rates.loc["Discovery", "next_rate"])
    assert by_kind["Discovery", "lost"] == pytest.approx(rates.loc["Discovery", "lost_rate"]) == 0
    assert by_kind["Proposal", "skipped"] == pytest.approx(rates.loc["Proposal", "skipped_rate"])
    assert by_kind["Negotiation", "regressed"] == pytest.approx(rates.loc["Negotiation", "regressed_rate"])


def test_deleted_and_handed_over_deals_make_no_move() -> None:
    first = Change(on(0))
    walks = [
        deal("A", [first, first.then(on(5), is_deleted=True)]),
        deal("B", [first, first.then(on(5), team="South")]),
        walk("C", (0, "Discovery"), (9, "Proposal")),
    ]
    walks[1] = walks[1][:1]
    assert cells(run(walks), "moves", "n") == {("Discovery", "Proposal"): [1, 1]}
    cohort = cells(run(walks, view="cohort"), "moves", "n", "share")
    assert cohort["Discovery", "Proposal"] == [1, 3, 1]


def random_walks(rng: np.random.Generator) -> list[list[dict[str, Any]]]:
    walks = []
    for number in range(40):
        day, stage, steps = int(rng.integers(60)), "Discovery", []
        while True:
            steps.append((day, stage))
            if ORDER[stage] > 3 or rng.random() < 0.15:
                break
            day += int(rng.integers(1, 30))
            stage = str(rng.choice([name for name in ORDER if name != stage]))
        walks.append(walk(f"R{number}", *steps))
    return walks


@pytest.mark.parametrize("seed", range(3))
def test_equals_a_slow_count(seed: int) -> None:
    rng = np.random.default_rng(seed)
    walks = random_walks(rng)
    as_of = on(int(rng.integers(40, 160)))
    start = on(30)
    period = Period(start, on(120), "x")
    last = min(as_of, period.last_day)
    lengths: dict[tuple[str, str], list[int]] = {}
    for states in walks:
        for here, there in itertools.pairwise(states):
            if start <= there["valid_from_date"] <= last:
                days = (there["valid_from_date"] - here["valid_from_date"]).days
                lengths.setdefault((here["stage"], there["stage"]), []).append(days)
    frame = run(walks, as_of=as_of, period=period)
    assert cells(frame, "moves", "median_days") == {
        pair: [len(days), float(np.median(days))] for pair, days in lengths.items()
    }
    assert frame.groupby("from_stage")["share"].sum().tolist() == pytest.approx(
        [1] * frame["from_stage"].nunique()
    )
    cohort = run(walks, as_of=as_of, period=period, view="cohort", horizon_days=25)
    for (stage,), rows in cohort.groupby(["from_stage"]):
        stays = []
        for states in walks:
            for place, state in enumerate(states):
                if state["stage"] == stage and start <= state["valid_from_date"] <= last:
                    after = states[place + 1] if place + 1 < len(states) else None
                    gone = after is not None and after["valid_from_date"] <= as_of
                    until = after["valid_from_date"] if gone else as_of  # type: ignore[index]
                    stays.append(((until - state["valid_from_date"]).days, after["stage"] if gone else None))  # type: ignore[index]
        under_way, shares = 1.0, dict.fromkeys(ORDER, 0.0)
        for age in range(26):
            seen = sum(length >= age for length, _to in stays)
            gone_now = [to for length, to in stays if length == age and to]
            for to in gone_now:
                shares[to] += under_way / seen
            under_way *= 1 - len(gone_now) / seen if seen else 1
        found = rows.set_index("to_stage")["share"].to_dict()
        assert found.pop("(still there)") == pytest.approx(under_way)
        assert found == pytest.approx({to: shares[to] for to in found})
        assert sum(shares.values()) + under_way == pytest.approx(1)
        assert (rows["n"] == len(stays)).all()
        assert ((rows["low"] <= rows["share"] + 1e-12) & (rows["share"] <= rows["high"] + 1e-12)).all()


def test_nothing_moves_and_wrong_options() -> None:
    assert run([]).empty
    assert run([], view="cohort").empty
    assert run([walk("A", (0, "Discovery"))]).empty
    alone = run([walk("A", (0, "Discovery"))], view="cohort")
    assert cells(alone, "moves", "share") == {("Discovery", "(still there)"): [1, 1]}
    with pytest.raises(InputError, match="horizon_days"):
        run(horizon_days=0)
