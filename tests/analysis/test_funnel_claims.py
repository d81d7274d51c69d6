"""Claims among many comparisons, dimensions of any table, and the range of what a bottleneck costs."""

from __future__ import annotations

import datetime as dt
import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep

from salesops_kit.analysis.funnel import (
    bottlenecks,
    cohorts,
    company_reference,
    conversion,
    cycle,
    time_in_stage,
    win_rate,
)
from salesops_kit.analysis.funnel._claims import against_the_others, with_claims
from salesops_kit.errors import InputError
from salesops_kit.estimators.intervals import benjamini_hochberg
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.states import Change, deal, stages_table, states_table, table_of

DAY0 = dt.date(2026, 1, 1)
Q1 = Period(DAY0, dt.date(2026, 4, 1), "2026-Q1")
CONTEXT: dict[str, Any] = {"as_of": dt.date(2026, 3, 31), "period": Q1, "settings": Settings()}
TEAMS = (("North", 8, 60), ("South", 40, 60), ("West", 36, 60), ("East", 30, 60))
DEALS = {
    "opportunity_id": "string", "owner_id": "string", "account_id": "string", "created_date": "date",
    "loss_reason": "string", "lead_source": "string", "product_id": "string", "tier": "string",
    "won": "string", "age": "string",
}  # fmt: skip
ACCOUNTS = {"account_id": "string", "segment": "string", "kind": "string"}


@pytest.mark.parametrize("seed", range(6))
def test_adjusted_p_values_are_those_of_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    raw = rng.uniform(0, 0.2, 23) ** (1 + seed % 3)
    assert benjamini_hochberg(raw) == pytest.approx(multipletests(raw, method="fdr_bh")[1])
    with_gaps = np.insert(raw, [0, 9, 23], np.nan)
    assert benjamini_hochberg(with_gaps)[~np.isnan(with_gaps)] == pytest.approx(benjamini_hochberg(raw))


def test_each_group_stands_against_the_others_together() -> None:
    won, n = np.array([30, 45, 44, 3, 0]), np.array([100, 100, 98, 5, 0])
    found = against_the_others(won, n)
    for place in range(4):
        rest, size = won.sum() - won[place], n.sum() - n[place]
        cells = [[won[place], n[place] - won[place]], [rest, size - rest]]
        expected = stats.chi2_contingency(cells, correction=False)
        if place == 3:
            expected = stats.fisher_exact(cells)
        assert found["p_value"].iloc[place] == pytest.approx(expected.pvalue)
        limits = confint_proportions_2indep(won[place], n[place], rest, size, method="newcomb")
        assert found.iloc[place][["difference_low", "difference_high"]].tolist() == pytest.approx(
            limits, abs=1e-6
        )
    raw = found["p_value"].to_numpy()[:4]
    assert found["adjusted_p_value"].to_numpy()[:4] == pytest.approx(multipletests(raw, method="fdr_bh")[1])
    assert found.iloc[4].drop("evidence").isna().all()
    assert not found["evidence"].iloc[4]
    assert against_the_others([3], [8])["p_value"].isna().all()
    assert against_the_others([], []).empty


def test_comparisons_in_all_reports_are_allowed_for() -> None:
    rates = pd.DataFrame({"difference": [0.3, 0.01, np.nan], "difference_variance": [0.01, 0.01, 0.01]})
    raw = 2 * stats.norm.sf(3)
    alone = with_claims(rates)
    assert alone["p_value"].iloc[0] == pytest.approx(raw)
    assert alone["adjusted_p_value"].iloc[0] == pytest.approx(2 * raw)
    assert alone["evidence"].tolist() == [True, False, False]
    assert with_claims(rates, 9)["adjusted_p_value"].iloc[0] == pytest.approx(18 * raw)
    assert with_claims(rates, 10)["evidence"].tolist() == [False, False, False]
    assert with_claims(rates.assign(difference_variance=0.0))["p_value"].isna().all()


def test_hardly_any_of_many_equal_groups_is_claimed() -> None:
    rng = np.random.default_rng(11)
    claimed = [
        against_the_others(rng.binomial(40, 0.3, 30), np.full(30, 40))["evidence"].any()
        for _turn in range(300)
    ]
    assert np.mean(claimed) < 0.075


def walks_of() -> list[list[dict[str, Any]]]:
    """Per team, so many deals that go on from Discovery and are won, of so many; amounts differ."""
    walks = []
    for team, moved, n in TEAMS:
        for number in range(n):
            first = Change(DAY0, team=team, owner_id=f"{team}-{number % 3}", amount=500 + 10 * number)
            if number < moved:
                middle = first.then(DAY0 + dt.timedelta(days=10), stage="Proposal")
                end = "Closed Lost" if number % 4 == 0 else "Closed Won"
                last = first.then(
                    DAY0 + dt.timedelta(days=30), stage=end, close_date=DAY0 + dt.timedelta(days=30)
                )
                walks.append(deal(f"{team}{number}", [first, middle, last]))
            else:
                day = DAY0 + dt.timedelta(days=15)
                walks.append(
                    deal(f"{team}{number}", [first, first.then(day, stage="Closed Lost", close_date=day)])
                )
    return walks


WALKS = walks_of()


@functools.cache
def all_states() -> Any:
    return states_table(WALKS)


@functools.cache
def deals_table() -> Any:
    rows = []
    for number, states in enumerate(WALKS):
        tier = ("gold", "silver", None)[number % 3]
        name, owner = states[0]["opportunity_id"], states[0]["owner_id"]
        rows.append((name, owner, f"ACC{number % 5}", DAY0, None, "Web", f"P{number % 2}", tier, "no", "7"))
    return table_of(DEALS, rows)


@functools.cache
def accounts_table() -> Any:
    return table_of(ACCOUNTS, [(f"ACC{n}", f"S{n % 2}", "x") for n in range(5)])


TABLES = {
    "conversion": (conversion, ["pipeline", "stage"], "entrants"),
    "time_in_stage": (time_in_stage, ["pipeline", "stage"], "at_risk"),
    "bottlenecks": (bottlenecks, ["pipeline", "stage"], "entrants"),
    "win_rate": (win_rate, [], "n"),
    "cycle": (cycle, ["outcome"], "closed"),
    "cohorts": (cohorts, ["cohort", "age_months"], "deals"),
}


@functools.cache
def table(name: str, by: str) -> pd.DataFrame:
    function = TABLES[name][0]
    given: dict[str, Any] = {"opportunities": deals_table(), "accounts": accounts_table(), **CONTEXT}
    if name != "cycle":
        given["stages"] = stages_table()
    return function(opportunity_states=all_states(), by=by, **given)  # type: ignore[operator]


@pytest.mark.parametrize(
    "by", ["owner_id,segment", "lead_source,product_id", "pipeline", "tier", "account.kind,team"]
)
@pytest.mark.parametrize("name", TABLES)
def test_groups_of_any_dimension_sum_to_the_whole(name: str, by: str) -> None:
    _function, keys, count = TABLES[name]
    parts, whole = table(name, by), table(name, "")
    assert parts.columns.is_unique
    names = [each for each in by.split(",") if each not in keys]
    assert not parts.duplicated([*names, *keys]).any()
    for each in names:
        assert parts[each].notna().all()
    if keys:
        sums, expected = (frame.groupby(keys)[count].sum() for frame in (parts, whole))
        assert sums[sums > 0].to_dict() == expected[expected > 0].to_dict()
    else:
        assert parts[count].sum() == whole[count].sum() == len(WALKS)
    if by == "tier":
        assert set(parts["tier"]) == {"gold", "silver", "(none)"}


@pytest.mark.parametrize("name", TABLES)
def test_a_dimension_with_the_name_of_a_figure_must_name_its_table(name: str) -> None:
    taken = "won" if name in ("win_rate", "cohorts") else "age"
    with pytest.raises(InputError, match=f"opportunity.{taken}"):
        table(name, taken)
    assert f"opportunity.{taken}" in table(name, f"opportunity.{taken}")


def team_and_company() -> tuple[pd.DataFrame, dict[str, Any]]:
    reference = company_reference(all_states(), stages_table(), deals_table(), **CONTEXT)
    north = [states for states in WALKS if states[0]["team"] == "North"]
    return bottlenecks(states_table(north), stages_table(), reference=reference, **CONTEXT), reference


def test_the_loss_of_a_bottleneck_by_hand() -> None:
    frame, reference = team_and_company()
    top = frame.iloc[0]
    moved, won = sum(m for _team, m, _n in TEAMS), sum(m - -(-m // 4) for _team, m, _n in TEAMS)
    assert (top["stage"], top["entrants"], top["moved_on_rate"]) == ("Discovery", 60, pytest.approx(8 / 60))
    assert top["downstream_win_rate"] == pytest.approx(won / moved)
    assert reference["stages"]["0"]["figures"][""]["Discovery"]["downstream_closed"] == moved
    amounts = [float(s[-1]["amount"]) for s in WALKS if s[-1]["is_won"]]
    assert top["mean_won_amount"] == pytest.approx(np.mean(amounts))
    lost = 60 * (top["best_rate"] - 8 / 60) * won / moved * np.mean(amounts)
    assert top["revenue_lost"] == pytest.approx(lost)
    # Four teams look at as many stages each.
    raw = frame["p_value"].dropna()
    expected = np.minimum(4 * multipletests(raw, method="fdr_bh")[1], 1)
    assert frame["adjusted_p_value"].dropna().tolist() == pytest.approx(expected)
    assert top["evidence"]


def test_the_range_of_a_loss_holds_what_its_factors_leave_open() -> None:
    frame, _reference = team_and_company()
    top = frame.iloc[0]
    moved, won = sum(m for _team, m, _n in TEAMS), sum(m - -(-m // 4) for _team, m, _n in TEAMS)
    amounts = np.array([float(s[-1]["amount"]) for s in WALKS if s[-1]["is_won"]])
    rng = np.random.default_rng(5)
    draws = (
        60
        * (top["best_rate"] - rng.beta(8 + 0.5, 52 + 0.5, 40_000)).clip(0)
        * rng.beta(won + 0.5, moved - won + 0.5, 40_000)
        * rng.normal(amounts.mean(), amounts.std(ddof=1) / np.sqrt(len(amounts)), 40_000)
    )
    low, high = np.quantile(draws, [0.025, 0.975])
    assert top["revenue_lost_low"] == pytest.approx(low, rel=0.1)
    assert top["revenue_lost_high"] == pytest.approx(high, rel=0.1)
    others = frame.iloc[1:]
    assert (others["revenue_lost_low"] <= others["revenue_lost"]).all()
    assert (others["revenue_lost"] <= others["revenue_lost_high"]).all()
    assert (frame["revenue_lost_low"] >= 0).all()


def test_without_a_reference_no_loss_has_a_range() -> None:
    frame = bottlenecks(all_states(), stages_table(), **CONTEXT)
    assert frame[["revenue_lost", "revenue_lost_low", "revenue_lost_high"]].isna().all(axis=None)


def test_by_team_in_the_company_each_row_is_compared_once() -> None:
    reference = company_reference(all_states(), stages_table(), deals_table(), **CONTEXT)
    given: dict[str, Any] = {"reference": reference, **CONTEXT}
    frame = bottlenecks(all_states(), stages_table(), by="team", **given)
    expected = multipletests(frame["p_value"].dropna(), method="fdr_bh")[1]
    assert frame["adjusted_p_value"].dropna().tolist() == pytest.approx(expected)
    assert frame.iloc[0][["team", "stage"]].tolist() == ["North", "Discovery"]
    rates = conversion(all_states(), stages_table(), by="team", **given)
    assert rates["adjusted_p_value"].dropna().tolist() == pytest.approx(
        multipletests(rates["p_value"].dropna(), method="fdr_bh")[1]
    )
    claimed = rates[rates["evidence"]]
    assert ("North", "Discovery") in set(zip(claimed["team"], claimed["stage"], strict=True))
    assert ((claimed["difference_low"] > 0) | (claimed["difference_high"] < 0)).all()


def test_reps_are_compared_with_all_others_and_only_by_count() -> None:
    frame = win_rate(all_states(), stages_table(), deals_table(), by="team", **CONTEXT)
    north = frame.set_index("team").loc["North"]
    others = frame[frame["team"] != "North"][["won", "n"]].sum()
    assert north["difference"] == pytest.approx(north["rate"] - others["won"] / others["n"])
    assert north["evidence"]
    value = win_rate(all_states(), stages_table(), deals_table(), by="team", variant="value", **CONTEXT)
    assert "evidence" not in value
    assert "evidence" not in win_rate(all_states(), stages_table(), deals_table(), **CONTEXT)
