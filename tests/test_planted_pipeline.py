"""What was planted in the sample shows in the tables on the open pipeline, and their pages agree."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import Any

import pandas as pd
import pytest

from salesops_kit.compute import Calculator, reference_for, resolve_as_of, resolve_quarter
from salesops_kit.data import scope
from salesops_kit.data.dataset import team_tree
from tests.test_planted import PLANTED, leaf_teams, sample

TRUTHS = PLANTED["truths"]
QUARTER = "2027-Q3"
MID_QUARTER = "2026-09-10"


@lru_cache
def company_figures(as_of: str) -> dict[str, Any]:
    period = resolve_quarter(sample(), QUARTER)
    return Calculator(sample(), resolve_as_of(sample(), as_of, period), period).references("pipeline")


@lru_cache
def calculator(team: str = "company", as_of: str = MID_QUARTER) -> Calculator:
    rows = sample()
    members = team_tree(rows).members(team)
    period = resolve_quarter(rows, QUARTER)
    figures = reference_for(company_figures(as_of), len(members or ()))
    cut = rows if members is None else scope.cut(rows, members)
    return Calculator(cut, resolve_as_of(rows, as_of, period), period, figures)


def table(name: str, team: str = "company", as_of: str = MID_QUARTER, **options: Any) -> pd.DataFrame:
    return calculator(team, as_of).table(f"pipeline.{name}", **options)


def test_the_pull_to_the_years_end_shows_in_linearity() -> None:
    """Decisions wait for the quarter's end, most of all for the year's: only there is much left for it."""
    frame = table("linearity", as_of="").set_index("quarter")
    assert frame["last_two_weeks_share"].idxmax() == "2026-Q4"
    assert frame["linearity"].idxmax() == "2026-Q4"
    assert frame.loc["2026-Q4", "gap"] < -0.2
    # An even two weeks would hold 14 of about 91 days.
    assert frame["last_two_weeks_share"].mean() > 14 / 91 * 1.3


def test_the_drop_of_conversion_shows_in_velocity() -> None:
    frame = table("velocity", as_of="", quarters=8).set_index("quarter")
    drop = dt.date.fromisoformat(TRUTHS["drop_from"])
    quarters = {label: sample().settings.fiscal.quarter(label) for label in frame.index}
    before = [label for label, quarter in quarters.items() if quarter.end <= drop]
    since = [label for label, quarter in quarters.items() if quarter.start >= drop]
    won = frame["won"].groupby(frame.index.isin(since)).sum()
    decided = frame["opportunities"].groupby(frame.index.isin(since)).sum()
    ratio = (won / decided)[True] / (won / decided)[False]
    assert len(before) + len(since) == 8
    # Renewals do not drop, so that the share of all deals falls less than the planted factor.
    assert TRUTHS["drop_factor"] < ratio < 0.95


def test_the_bottleneck_shows_in_what_the_team_needs() -> None:
    frame = table("coverage").set_index("team")
    team = TRUTHS["bottleneck_team"]
    assert frame["conversion"].idxmin() == team
    assert frame["required_coverage"].idxmax() == team
    assert (frame["quarters_observed"] == 8).all()
    assert (frame["target_source"] == "plan").all()


def test_the_reorganisation_shows_as_deals_handed_over() -> None:
    day = dt.date.fromisoformat(TRUTHS["reorganisation"])
    frame = table("slippage", as_of="", quarters=8).set_index("quarter")
    quarter = sample().settings.fiscal.quarter_of(day).label
    assert frame.loc[quarter, "transferred_deals"] > 0
    assert frame.drop(index=quarter)["transferred_deals"].max() < frame.loc[quarter, "transferred_deals"]


def test_create_and_close_is_as_the_data_card_measures_it() -> None:
    frame = table("create_and_close", as_of="", quarters=13)
    measured = PLANTED["measured"]["won deals created in the quarter they closed in"]
    # The card counts from the first day on, the table from the first quarter whose opening is known.
    assert frame["created_in_quarter_deals"].sum() / frame["deals"].sum() == pytest.approx(
        measured["rate"], abs=0.02
    )
    assert frame["deals"].sum() == pytest.approx(measured["n"], abs=5)


@pytest.mark.parametrize("as_of", [MID_QUARTER, pytest.param("", marks=pytest.mark.campaign)])
def test_teams_sum_to_the_company(as_of: str) -> None:
    teams = team_tree(sample()).leaves
    for name, keys, numbers in (
        ("composition", ["due"], ["deals", "amount"]),
        ("by_week", ["series", "week"], ["due_deals", "due_amount", "won_amount", "open_amount"]),
        ("slippage", ["quarter"], ["due_deals", "due_amount", "moved_out_amount", "transferred_amount"]),
        ("linearity", ["quarter"], ["bookings", "deals"]),
        ("pace_by_quarter", ["quarter"], ["booked_by_day"]),
        ("create_and_close", ["quarter"], ["bookings", "created_in_quarter"]),
    ):
        whole = table(name, as_of=as_of).set_index(keys)[numbers]
        parts = pd.concat([table(name, team, as_of) for team in teams]).groupby(keys)[numbers].sum()
        parts = parts.reindex(whole.index).fillna(0)
        assert parts.to_numpy(float) == pytest.approx(whole.to_numpy(float), abs=0.005), name


def test_a_team_reads_the_same_on_its_own_page_and_on_the_companys() -> None:
    for name in ("coverage", "velocity", "slippage"):
        page = table(name, by="team").set_index("team")
        for team in leaf_teams():
            own = table(name, team, by="team").set_index("team").loc[team]
            pd.testing.assert_series_equal(page.loc[team], own, check_exact=False, rtol=1e-9)


def test_the_same_quarter_ties_with_the_other_pages() -> None:
    first = calculator().table("funnel.headlines").set_index("id")["value"]
    whole = table("coverage", by="").iloc[0]
    assert whole["won_to_date"] == pytest.approx(first["bookings_won"], abs=0.005)
    assert table("pace").iloc[0]["booked_to_date"] == pytest.approx(first["bookings_won"], abs=0.005)
    assert table("composition", by="").iloc[0]["amount"] == pytest.approx(first["open_pipeline"], abs=0.005)
    closing = calculator().table("funnel.waterfall").set_index("step").loc["closing", "amount"]
    assert whole["open_due"] == pytest.approx(closing, abs=0.005)
    weeks = table("by_week")
    now = weeks[weeks["series"] == "this"].iloc[-1]
    assert now[["due_amount", "open_amount"]].tolist() == pytest.approx([closing, first["open_pipeline"]])
    bands = table("ageing")
    assert bands["amount"].sum() == pytest.approx(first["open_pipeline"], abs=0.005)
    over = int(bands["over_p90"].sum())
    assert over == len(table("aged_deals")) > 0
