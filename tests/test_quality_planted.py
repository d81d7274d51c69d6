"""The dirty rows of the sample: every one is found, and nothing clean is called dirty."""

from __future__ import annotations

import itertools
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from salesops_kit.compute import Calculator, resolve_as_of, resolve_quarter
from salesops_kit.data import engine, scope
from salesops_kit.data.dataset import Rows, open_rows, open_snapshot, team_tree
from salesops_kit.data.sample.card import FOUND_BY

QUARTER = "2027-Q3"
FOLDER = Path(__file__).parent.parent / "data" / "sample"
PLANTED = json.loads((FOLDER / "planted.json").read_text(encoding="utf-8"))["dirty_rows"]


@lru_cache
def sample() -> Rows:
    return open_rows(open_snapshot("sample"))


@lru_cache
def company() -> Calculator:
    period = resolve_quarter(sample(), QUARTER)
    return Calculator(sample(), resolve_as_of(sample(), "", period), period)


def table(name: str, **options: Any) -> pd.DataFrame:
    return company().table(f"quality.{name}", **options)


def check_of(row: dict[str, Any]) -> str:
    return FOUND_BY[kind_of(row)]


def kind_of(row: dict[str, Any]) -> str:
    return "near duplicate" if row["kind"].startswith("near duplicate") else str(row["kind"])


def test_every_planted_row_is_found_and_nothing_clean_is_called_dirty() -> None:
    listed = table("fix_list", severity="info", top=100_000)
    wanted = {(check_of(row), row["key"], row["column"]) for row in PLANTED if row["key"]}
    mine = listed[listed["check_id"].isin({check for check, _key, _column in wanted})]
    found = set(zip(mine["check_id"], mine["record_id"], mine["field"], strict=True))
    # The row without an id is known by its place.
    nameless = {item for item in found if item[1].startswith("opportunities.csv, ")}
    assert found - nameless == wanted
    assert len(nameless) == sum(row["key"] is None for row in PLANTED)


def test_the_data_card_tells_recall_and_precision_of_every_kind() -> None:
    listed = table("fix_list", severity="info", top=100_000)
    found = set(zip(listed["check_id"], listed["record_id"], listed["field"], strict=True))
    planted = {(check_of(row), row["key"], row["column"]) for row in PLANTED}
    lines = []
    for kind, check in FOUND_BY.items():
        mine = [row for row in PLANTED if kind_of(row) == kind]
        keyed = {(check, row["key"], row["column"]) for row in mine if row["key"]}
        named = {item for item in found if item[0] == check}
        # The row without an id is known by its place in the file.
        placed = {item for item in named if str(item[1]).startswith("opportunities.csv, ")}
        hits = len(keyed & named) + (len(placed) if kind == "missing key" else 0)
        called = named - planted - placed
        recall, precision = hits / len(mine), hits / (hits + len(called))
        lines.append(
            f"| {kind} | {check} | {len(mine)} | {recall:.0%} | {precision:.0%} |".replace("%", " %")
        )
    assert len(lines) == len({kind_of(row) for row in PLANTED})
    assert "\n".join(lines) in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_what_is_suggested_is_what_was_spoilt() -> None:
    listed = table("fix_list", severity="info", top=100_000).set_index("record_id")
    accounts = [row for row in PLANTED if row["kind"].startswith("near duplicate")]
    for row in accounts:
        assert listed.loc[row["key"], "suggested"] == f"merge into {row['kind'].rpartition(' ')[2]}"
    for row in (row for row in PLANTED if row["kind"] == "variant of a category"):
        suggested = listed.loc[[row["key"]]].query("check_id == 'spelling'")["suggested"].iloc[0]
        assert suggested != row["value"]
        assert suggested.casefold() == row["value"].strip().casefold()


def test_habits_are_those_of_a_plain_count() -> None:
    states = engine.collect(sample().table("opportunity_states"))
    now = states[
        states["valid_to_date"].isna()
        & ~states["is_closed"].astype(bool)
        & ~states["is_deleted"].astype(bool)
    ]
    listed = table("fix_list", severity="info", top=100_000)
    found = {name: set(part["record_id"]) for name, part in listed.groupby("check_id")}
    assert found["regressed"] == set(
        now.loc[now["stage_position"] < now["reached_position"], "opportunity_id"]
    )
    pushed = set()
    for deal, part in states[states["opportunity_id"].isin(now["opportunity_id"])].groupby("opportunity_id"):
        days = part.sort_values("state_no")
        lasting = days[days["valid_to_date"].isna() | (days["valid_to_date"] > days["valid_from_date"])]
        months = [
            date.year * 12 + date.month
            for date in lasting.loc[~lasting["is_closed"].astype(bool), "close_date"]
        ]
        if sum(after > before for before, after in itertools.pairwise(months)) >= 3:
            pushed.add(deal)
    assert found["pushed"] == pushed
    assert found["required-fields"] == set(
        now.loc[now["amount"].isna() & (now["stage_position"] >= 3), "opportunity_id"]
    )


@pytest.mark.campaign
def test_teams_add_up_to_the_company_deal_by_deal() -> None:
    period = resolve_quarter(sample(), QUARTER)
    as_of = resolve_as_of(sample(), "", period)
    whole = table("fix_list", top=100_000)
    whole = whole[(whole["table"] == "opportunities") & (whole["check_id"] != "unreadable")]
    parts = []
    for team in team_tree(sample()).leaves:
        mine = Calculator(scope.cut(sample(), (team,)), as_of, period).table("quality.fix_list", top=100_000)
        parts.append(mine[(mine["table"] == "opportunities") & (mine["check_id"] != "unreadable")])
    columns = ["check_id", "record_id", "field", "amount"]
    added = pd.concat(parts)[columns].sort_values(columns).values.tolist()
    assert added == whole[columns].sort_values(columns).values.tolist()


def test_money_that_the_problems_expose_is_in_the_figures() -> None:
    effect = table("effect").set_index("measure")
    score = table("scores").attrs["total"]
    gone = -effect.loc[["bookings", "open_pipeline"], "difference"].sum()
    assert gone == pytest.approx(score["amount_with_problem"])
    assert effect.loc["bookings", "with_all"] == pytest.approx(table("tie_out")["computed"].iloc[0])
    assert table("tie_out_deals").empty
