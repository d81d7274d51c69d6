"""One team's slice: its own rows at their time, and nothing of another team's."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from salesops_kit.data import engine, scope
from salesops_kit.data.dataset import Rows, TeamTree, import_export, open_rows, open_snapshot, team_tree
from salesops_kit.data.slices import open_slice, write_slice
from salesops_kit.errors import InputError
from salesops_kit.settings import NO_TEAM
from tests.canary import TEAMS, foreign_marks, mark, write_company


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    folder = tmp_path_factory.mktemp("canary")
    write_company(folder / "raw")
    import_export([folder / "raw"], "", folder / "canonical")
    return open_rows(open_snapshot(str(folder / "canonical")))


def texts(rows: Rows) -> str:
    """Every table of a slice as one text."""
    return "\n".join(engine.collect(table).to_csv() for table in rows.tables.values())


@pytest.mark.parametrize("team", TEAMS)
def test_a_slice_holds_no_foreign_word(company: Rows, team: str) -> None:
    written = texts(scope.cut(company, (team,)))
    assert f"{team}only" in written
    for word in foreign_marks(team).values():
        assert [line for line in written.splitlines() if word in line] == []


def test_a_deal_that_moved_on_stands_as_the_team_last_had_it(company: Rows) -> None:
    states = engine.collect(company.table("opportunity_states"))
    moved = states[(states["exit"] == "transferred")].iloc[0]
    deals = engine.collect(scope.cut(company, (moved["team"],)).table("opportunities"))
    deal = deals.set_index("opportunity_id").loc[moved["opportunity_id"]]
    assert (deal["owner_id"], deal["stage"], deal["amount"]) == (
        moved["owner_id"],
        moved["stage"],
        moved["amount"],
    )
    assert pd.isna(deal["next_step"])
    assert pd.isna(deal["route"])


def test_states_are_partitioned_by_leaf_teams(company: Rows) -> None:
    whole = company.table("opportunity_states").count().to_pyarrow().as_py()
    parts = [
        scope.cut(company, (team,)).table("opportunity_states").count().to_pyarrow().as_py()
        for team in team_tree(company).leaves
    ]
    assert sum(parts) == whole
    assert all(parts)


def test_history_of_a_slice_names_only_owners_that_the_slice_knows(company: Rows) -> None:
    for team in TEAMS:
        rows = scope.cut(company, (team,))
        known = set(engine.collect(rows.table("opportunity_states"))["owner_id"].dropna())
        assert set(engine.collect(rows.table("opportunity_history"))["owner_id"].dropna()) <= known


def test_a_parent_is_the_sum_of_its_leaves(company: Rows) -> None:
    tree = team_tree(company)
    assert tree == TeamTree(TEAMS, {"woods": TEAMS})
    assert tree.members("company") is None
    assert tree.members("woods") == TEAMS
    with pytest.raises(InputError, match="Did you mean cedar"):
        tree.members("ceder")


def test_dated_rows_go_to_the_owners_team_of_the_day(company: Rows) -> None:
    ash = engine.collect(scope.cut(company, ("ash",)).table("activities"))
    birch = engine.collect(scope.cut(company, ("birch",)).table("activities"))
    assert set(ash["activity_id"].str.rpartition("-")[2]) == {"ashonly"}
    assert set(birch["activity_id"].str.rpartition("-")[2]) == {"birchonly"}
    assert "mover" in set(ash["owner_id"])


def test_a_written_slice_reads_back_the_same(company: Rows, tmp_path: Path) -> None:
    cut = scope.cut(company, ("ash",))
    write_slice(cut, tmp_path / "slice")
    again = open_slice(tmp_path / "slice")
    assert again.settings == cut.settings
    assert again.observed_until == cut.observed_until
    assert set(again.tables) == set(cut.tables)
    for name, table in cut.tables.items():
        assert again.table(name).count().to_pyarrow() == table.count().to_pyarrow(), name


def test_company_wide_control_totals_leave_with_the_company_only(tmp_path: Path) -> None:
    write_company(tmp_path / "raw", deals_per_team=3)
    (tmp_path / "raw" / "control_totals.csv").write_text(
        "source,period,measure,value\nfinance,2026-Q1,bookings,123\n", encoding="utf-8"
    )
    import_export([tmp_path / "raw"], "", tmp_path / "canonical")
    rows = open_rows(open_snapshot(str(tmp_path / "canonical")))
    assert "control_totals" in rows.tables
    assert "control_totals" not in scope.cut(rows, ("ash",)).tables


def test_who_left_the_last_team_is_named_where_the_deals_are(tmp_path: Path) -> None:
    write_company(tmp_path / "raw")
    members = tmp_path / "raw" / "team_memberships.csv"
    lines = members.read_text(encoding="utf-8").splitlines()
    owner = mark("elm", "rep0")
    ended = [
        f"{line.rpartition(',')[0]},2026-02-01" if line.startswith(f"{owner},") else line for line in lines
    ]
    assert ended != lines
    members.write_text("\n".join(ended) + "\n", encoding="utf-8")
    import_export([tmp_path / "raw"], "", tmp_path / "canonical")
    rows = open_rows(open_snapshot(str(tmp_path / "canonical")))
    cut = scope.cut(rows, (NO_TEAM,))
    assert owner in set(engine.collect(cut.table("opportunity_states"))["owner_id"])
    assert engine.collect(cut.table("reps"))["owner_id"].tolist() == [owner]
