"""What was planted in the sample is found, and what is only noise is called noise."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from salesops_kit.compute import Calculator, reference_for, resolve_as_of, resolve_quarter
from salesops_kit.data import scope
from salesops_kit.data.dataset import Rows, open_rows, open_snapshot, team_tree

QUARTER = "2027-Q3"
PLANTED = json.loads((Path(__file__).parent.parent / "data/sample/planted.json").read_text(encoding="utf-8"))


@lru_cache
def sample() -> Rows:
    return open_rows(open_snapshot("sample"))


@lru_cache
def company_figures(quarter: str) -> dict[str, Any]:
    period = resolve_quarter(sample(), quarter)
    return Calculator(sample(), resolve_as_of(sample(), "", period), period).references()


def calculator(team: str, quarter: str = QUARTER, *, compared: bool = False) -> Calculator:
    rows = sample()
    members = team_tree(rows).members(team)
    period = resolve_quarter(rows, quarter)
    as_of = resolve_as_of(rows, "", period)
    figures = reference_for(company_figures(quarter), len(members or ())) if compared else None
    return Calculator(rows if members is None else scope.cut(rows, members), as_of, period, figures)


def leaf_teams() -> list[str]:
    return [team for team in team_tree(sample()).leaves if team != "(no team)"]


def test_the_bottleneck_is_found_where_it_was_planted() -> None:
    found = {
        (team, row.stage)
        for team in leaf_teams()
        for row in calculator(team, compared=True)
        .table("funnel.bottlenecks", trailing_quarters=4)
        .itertuples()
        if row.evidence and row.difference < 0
    }
    assert ("EMEA South", "Proposal") in found
    assert {stage for team, stage in found if team != "EMEA South"} == set()


def test_the_bottleneck_costs_the_team_most() -> None:
    table = calculator("EMEA South", compared=True).table("funnel.bottlenecks", trailing_quarters=4)
    assert table.iloc[0]["stage"] == "Proposal"
    assert table.iloc[0]["revenue_lost"] > 2 * table.iloc[1]["revenue_lost"]


@pytest.mark.parametrize("team", ["US East", "US West", "APAC", "Canada", "EMEA North", "EMEA South"])
def test_win_rates_of_a_teams_reps_are_called_noise(team: str) -> None:
    test = calculator(team).table("funnel.win_rate", by="owner_id").attrs["test"]
    assert not test["evidence"]


def test_team_waterfalls_sum_to_the_companys_line_by_line() -> None:
    tree = team_tree(sample())
    for quarter in ("2026-Q2", "2026-Q3", QUARTER):
        company = calculator("company", quarter).table("funnel.waterfall").set_index("step")
        teams = [
            calculator(team, quarter).table("funnel.waterfall").set_index("step") for team in tree.leaves
        ]
        total = sum((team["amount"].astype(float) for team in teams[1:]), teams[0]["amount"].astype(float))
        pd.testing.assert_series_equal(
            total, company["amount"].astype(float), check_exact=False, atol=0.005, rtol=0, check_names=False
        )
        steps = company["amount"].astype(float)
        assert steps.drop("closing").sum() == pytest.approx(steps["closing"], abs=0.005)


def test_the_reorganisation_shows_as_deals_handed_over() -> None:
    day = pd.Timestamp(PLANTED["truths"]["reorganisation"])
    rows = sample()
    quarter = rows.settings.fiscal.quarter_of(day.date())
    table = calculator("company", quarter.label).table("funnel.waterfall").set_index("step")
    assert table.loc["transferred_in", "deals"] > 0
    assert table.loc["transferred_in", "amount"] == -table.loc["transferred_out", "amount"]


def test_won_amounts_tie_to_the_control_totals() -> None:
    rows = sample()
    totals = rows.table("control_totals").to_pyarrow().to_pandas()
    bookings = totals[totals["measure"] == "bookings"].set_index("period")["value"].astype(float)
    assert len(bookings) >= 8
    for quarter, value in bookings.items():
        headline = calculator("company", str(quarter)).table("funnel.headlines").set_index("id")
        assert headline.loc["bookings_won", "value"] == pytest.approx(value, abs=0.005), quarter
