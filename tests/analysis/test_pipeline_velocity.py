"""Velocity: the known answer, its interval against a bootstrap, and one cohort for all four figures."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from salesops_kit.analysis.funnel import win_rate
from salesops_kit.analysis.pipeline import velocity
from salesops_kit.errors import InputError, NotAvailableError
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.histories import DAY, LOST, WON, random_histories, rows_of, state_at
from tests.states import Change, deal, stages_table, states_table, table_of

SETTINGS = Settings()
Q1 = Period(dt.date(2026, 1, 1), dt.date(2026, 4, 1), "2026-Q1")
AS_OF = dt.date(2026, 3, 31)
DEALS = {"opportunity_id": "string", "created_date": "date", "loss_reason": "string"}
Closed = tuple[float | None, int | None, bool]


def closed(deals: list[Closed], **options: Any) -> pd.DataFrame:
    """Velocity of deals given as amount, days from created to closed, and won or lost."""
    day = dt.date(2026, 2, 20)
    rows, created = [], []
    for number, (amount, days, won) in enumerate(deals):
        first = Change(dt.date(2025, 6, 1), amount=amount, close_date=day)
        rows.append(deal(f"D{number}", [first, first.then(day, stage=WON if won else LOST)]))
        created.append((f"D{number}", None if days is None else day - days * DAY, None))
    return run(rows, created, **options)


def run(rows: list[list[dict[str, Any]]], created: list[tuple[Any, ...]], **options: Any) -> pd.DataFrame:
    arguments = {"as_of": AS_OF, "period": Q1, "settings": SETTINGS, **options}
    return velocity(states_table(rows), stages_table(), table_of(DEALS, created), **arguments)


def test_known_answer() -> None:
    won: list[Closed] = [(20_000, 40, True), (30_000, 60, True)] * 5
    row = closed(won + [(99_000, 7, False)] * 30).iloc[0]
    assert row[["opportunities", "won", "win_rate"]].tolist() == [40, 10, 0.25]
    assert row[["mean_won_amount", "mean_cycle_days"]].tolist() == [25_000, 50]
    assert row["velocity"] == 5_000
    assert row["low"] < 5_000 < row["high"]


def test_one_cohort_for_all_four_figures() -> None:
    frame = closed([(100, 10, True), (None, 10, True), (900, None, True), (50, 5, False)])
    row = frame.iloc[0]
    assert row[["opportunities", "won", "mean_won_amount", "mean_cycle_days"]].tolist() == [2, 1, 100, 10]
    assert frame.attrs["notes"] == ["2 won deals without an amount or a creation date are left out."]


def test_nothing_to_measure_is_missing_not_zero() -> None:
    assert closed([]).iloc[0]["opportunities"] == 0
    for deals in ([], [(50, 5, False)], [(100, 0, True), (100, 0, True)]):
        row = closed(deals).iloc[0]
        assert row[["velocity", "low", "high"]].isna().all()
    single = closed([(100, 10, True)]).iloc[0]
    assert (single["velocity"], np.isnan(single["low"])) == (10, True)
    assert closed([(100, -5, True), (100, 20, True)]).iloc[0]["mean_cycle_days"] == 10


def test_limits_agree_with_a_bootstrap() -> None:
    draw = np.random.default_rng(11)
    deals: list[Closed] = [
        (round(float(draw.lognormal(4, 0.6)), 2), int(draw.integers(10, 120)), bool(draw.random() < 0.35))
        for _deal in range(300)
    ]
    row = closed(deals).iloc[0]
    amount, days, won = (np.array([deal[place] for deal in deals], dtype=float) for place in range(3))
    resampled = draw.integers(0, len(deals), (4000, len(deals)))
    w = won[resampled]
    draws = (w * amount[resampled]).sum(1) * w.sum(1) / (w * days[resampled]).sum(1)
    low, high = np.percentile(draws, [2.5, 97.5])
    assert row["low"] == pytest.approx(low, rel=0.03)
    assert row["high"] == pytest.approx(high, rel=0.03)


@pytest.mark.campaign
def test_limits_cover_what_is_true() -> None:
    draw = np.random.default_rng(5)
    hits = 0
    for _trial in range(60):
        # Mean amount 100, mean length 50, chance 0.4: 120 deals bring 120 x .4 x 100 / 50 = 96 a day.
        deals: list[Closed] = [
            (round(float(draw.gamma(2, 50)), 2), int(draw.integers(20, 81)), bool(draw.random() < 0.4))
            for _deal in range(120)
        ]
        row = closed(deals).iloc[0]
        hits += row["low"] <= 96 <= row["high"]
    assert 50 <= hits <= 60


def test_duplicates_and_unqualified_deals_are_no_opportunities() -> None:
    day = dt.date(2026, 2, 20)
    first = Change(dt.date(2025, 6, 1), close_date=day)
    rows = [
        deal("A", [first, first.then(day, stage=LOST)]),
        deal("B", [first, first.then(day - DAY, stage="Proposal"), first.then(day, stage=LOST)]),
        deal("C", [first, first.then(day - DAY, stage="Proposal"), first.then(day, stage=LOST)]),
        deal("D", [first, first.then(day, stage=WON)]),
    ]
    created = [
        ("A", first.day, None),
        ("B", first.day, None),
        ("C", first.day, " Duplicate"),
        ("D", first.day, None),
    ]
    row = run(rows, created, settings=Settings(first_qualified_stage="Proposal")).iloc[0]
    assert row[["opportunities", "won"]].tolist() == [2, 1]


@pytest.mark.parametrize("as_of", [AS_OF, dt.date(2026, 2, 15)])
def test_agrees_with_a_slow_reading_and_with_the_win_rate(as_of: dt.date) -> None:
    histories = random_histories(21, 150)
    rows = rows_of(histories)
    created = [(f"D{n}", changes[0].day - 3 * DAY, None) for n, changes in enumerate(histories)]
    frame = run(rows, created, as_of=as_of, by="team", quarters=3).set_index(["team", "quarter"])
    seen = 0
    for label in ("2025-Q3", "2025-Q4", "2026-Q1"):
        quarter = SETTINGS.fiscal.quarter(label)
        for team in ("North", "South"):
            cohort = []
            for (_id, born, _reason), changes in zip(created, histories, strict=True):
                state = state_at(changes, as_of)
                if state is None or state.is_deleted or state.stage not in (WON, LOST) or state.team != team:
                    continue
                if state.close_date is None or not quarter.contains(state.close_date):
                    continue
                if state.stage == LOST or state.amount is not None:
                    days = max((state.close_date - born).days, 0)
                    cohort.append((state.stage == WON, float(state.amount or 0), days))
            won = [each for each in cohort if each[0]]
            if not cohort:
                assert (team, label) not in frame.index
                continue
            row = frame.loc[(team, label)]
            assert row[["opportunities", "won"]].tolist() == [len(cohort), len(won)]
            if won:
                amount, days = (sum(each[place] for each in won) / len(won) for place in (1, 2))
                assert row["velocity"] == pytest.approx(len(cohort) * len(won) / len(cohort) * amount / days)
                seen += 1
    assert seen >= 4
    rates = win_rate(
        states_table(rows),
        stages_table(),
        table_of(DEALS, created),
        as_of=as_of,
        period=Q1,
        settings=SETTINGS,
    )
    whole = run(rows, created, as_of=as_of)
    dropped = int(rates.loc[0, "won"]) - int(whole.loc[0, "won"])
    assert whole.loc[0, "opportunities"] == rates.loc[0, "n"] - dropped


def test_a_deal_counts_on_the_edges_of_its_quarter() -> None:
    rows, created = [], []
    edges = (dt.date(2025, 12, 31), Q1.start, Q1.last_day, Q1.end)
    for number, day in enumerate(edges):
        first = Change(dt.date(2025, 6, 1), close_date=day)
        rows.append(deal(f"D{number}", [first, first.then(dt.date(2025, 12, 1), stage=WON)]))
        created.append((f"D{number}", dt.date(2025, 6, 1), None))
    frame = run(rows, created, quarters=2)
    assert frame["quarter"].tolist() == ["2025-Q4", "2026-Q1"]
    assert frame["won"].tolist() == [1, 2]


def test_what_cannot_be_computed_is_refused() -> None:
    states = states_table([])
    context: dict[str, Any] = {"as_of": AS_OF, "period": Q1, "settings": SETTINGS}
    with pytest.raises(NotAvailableError, match="the date on which each deal was created"):
        velocity(states, stages_table(), None, **context)
    with pytest.raises(InputError, match="expected 1 or more; got '0'"):
        run([], [], quarters=0)
