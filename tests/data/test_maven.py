"""Maven Analytics' CRM export, imported by the mapping that the kit ships: known answers."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from salesops_kit.compute import Calculator, resolve_as_of, resolve_quarter
from salesops_kit.data import engine, scope
from salesops_kit.data.dataset import Rows, import_export, open_rows, team_tree

EXPORT = Path(__file__).resolve().parents[3] / "shared" / "data" / "maven_crm"
pytestmark = pytest.mark.skipif(not EXPORT.is_dir(), reason="needs ../shared/data/maven_crm")
QUARTERS = ["2017-Q1", "2017-Q2", "2017-Q3", "2017-Q4"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return open_rows(import_export([EXPORT], "maven", tmp_path_factory.mktemp("maven") / "out"))


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    """The deals straight from the files, with manager, region and list price."""
    deals = pd.read_csv(EXPORT / "sales_pipeline.csv", parse_dates=["engage_date", "close_date"])
    deals["product"] = deals["product"].replace("GTXPro", "GTX Pro")
    deals = deals.merge(pd.read_csv(EXPORT / "sales_teams.csv"), on="sales_agent", validate="many_to_one")
    return deals.merge(pd.read_csv(EXPORT / "products.csv"), on="product", validate="many_to_one")


def show(rows: Rows, table: str, quarter: str = "", team: str = "company", **options: Any) -> pd.DataFrame:
    """What ``salesops show`` computes."""
    period = resolve_quarter(rows, quarter)
    members = team_tree(rows).members(team)
    cut = rows if members is None else scope.cut(rows, members)
    return Calculator(cut, resolve_as_of(rows, "", period), period).table(table, **options)


def test_the_company_answers(rows: Rows) -> None:
    rate = show(rows, "funnel.win_rate").iloc[0]
    assert (rate["won"], rate["lost"], rate["excluded"]) == (4238, 2473, 0)
    assert rate["rate"] == pytest.approx(4238 / 6711, abs=1e-6)
    assert rate["won_amount"] == 10_005_534
    assert rows.observed_until == dt.date(2017, 12, 31)


def test_the_median_won_cycle_is_57_days(rows: Rows, raw: pd.DataFrame) -> None:
    cycle = show(rows, "funnel.cycle").set_index("outcome")
    won = raw[raw["deal_stage"] == "Won"]
    assert (won["close_date"] - won["engage_date"]).dt.days.median() == 57
    assert cycle.loc["won", ["closed", "closed_only_median"]].to_list() == [4238, 57]


def test_the_agents_show_no_evidence_of_a_difference(rows: Rows) -> None:
    by_agent = show(rows, "funnel.win_rate", by="owner_id")
    assert round(by_agent.attrs["test"]["p_value"], 2) == 0.26
    assert "no evidence" in " ".join(by_agent.attrs["notes"]).lower()
    assert by_agent["won"].sum() == 4238


def test_prospects_stay_open_and_unnamed_accounts_are_flagged(rows: Rows) -> None:
    states = engine.collect(rows.table("opportunity_states"))
    last = states.sort_values("state_no").groupby("opportunity_id").last()
    assert last["stage"].value_counts().to_dict() == {
        "Won": 4238, "Lost": 2473, "Engaging": 1589, "Prospecting": 500,
    }  # fmt: skip
    assert not last.loc[last["stage"] == "Prospecting", "is_closed"].any()
    found = engine.collect(rows.table("exclusions"))
    assert found.groupby(["action", "column_name"]).size().to_dict() == {("kept", "account_id"): 1425}


def test_misspelt_names_are_put_right(rows: Rows, raw: pd.DataFrame) -> None:
    deals = engine.collect(rows.table("opportunities"))
    assert set(deals["product_id"]) == set(raw["product"])
    assert set(deals["product_id"]) <= set(engine.collect(rows.table("products"))["product_id"])
    assert (deals["product_id"] == "GTX Pro").sum() == (raw["product"] == "GTX Pro").sum() == 1480
    assert "technolgy" not in set(engine.collect(rows.table("accounts"))["industry"])


def test_teams_are_the_managers_and_regions_their_sum(rows: Rows, raw: pd.DataFrame) -> None:
    tree = team_tree(rows)
    assert set(tree.leaves) == set(raw["manager"])
    by_region = raw.groupby("regional_office")["manager"].agg(lambda names: tuple(sorted(set(names))))
    assert tree.parents == by_region.to_dict()


@pytest.mark.parametrize("quarter", QUARTERS)
def test_quarterly_figures_equal_a_recomputation_from_the_file(
    rows: Rows, raw: pd.DataFrame, quarter: str
) -> None:
    closed = raw[raw["close_date"].dt.to_period("Q") == pd.Period(quarter.replace("-", ""))]
    won = closed[closed["deal_stage"] == "Won"]
    rate = show(rows, "funnel.win_rate", quarter).iloc[0]
    assert (rate["won"], rate["lost"]) == (len(won), len(closed) - len(won))
    assert rate["won_amount"] == won["close_value"].sum()


def test_the_quarters_sum_to_the_whole(rows: Rows) -> None:
    parts = pd.concat([show(rows, "funnel.win_rate", quarter) for quarter in QUARTERS])
    assert (parts["won"].sum(), parts["lost"].sum(), parts["won_amount"].sum()) == (4238, 2473, 10_005_534)


def test_each_managers_figures_equal_a_recomputation_from_the_file(rows: Rows, raw: pd.DataFrame) -> None:
    closed = raw[raw["deal_stage"].isin(["Won", "Lost"])]
    expected = closed.groupby("manager").agg(
        won=("deal_stage", lambda stage: (stage == "Won").sum()), n=("deal_stage", "size"),
        won_amount=("close_value", "sum"),
    )  # fmt: skip
    for manager, figures in expected.iterrows():
        rate = show(rows, "funnel.win_rate", team=str(manager)).iloc[0]
        assert (rate["won"], rate["n"], rate["won_amount"]) == tuple(figures), manager
    one = next(iter(team_tree(rows).parents))
    members = team_tree(rows).parents[one]
    assert show(rows, "funnel.win_rate", team=one).iloc[0]["won"] == expected.loc[list(members), "won"].sum()


def test_open_deals_of_the_past_count_at_list_price(rows: Rows, raw: pd.DataFrame) -> None:
    states = engine.collect(rows.table("opportunity_states"))
    prices = raw.set_index("opportunity_id")["sales_price"]
    open_states = states[~states["is_closed"].astype(bool)]
    assert list(open_states["amount"]) == [
        Decimal(int(prices[deal])) for deal in open_states["opportunity_id"]
    ]
    won = states[states["is_won"].astype(bool)].set_index("opportunity_id")["amount"]
    values = raw[raw["deal_stage"] == "Won"].set_index("opportunity_id")["close_value"]
    assert {deal: int(value) for deal, value in won.items()} == values.astype(int).to_dict()


def test_what_is_derived_is_said(rows: Rows) -> None:
    text = " ".join(rows.notes)
    assert "no stage history" in text
    assert "list price" in text
