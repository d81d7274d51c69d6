"""Texts that only other teams have to do with: by the canary company's names, and deal by deal."""

from __future__ import annotations

from pathlib import Path

import pytest

from salesops_kit.data import engine, foreign, scope
from salesops_kit.data.as_of import STATES
from salesops_kit.data.dataset import Rows, import_export, open_rows, open_snapshot, team_tree
from salesops_kit.preparation import Preparation
from tests.canary import MOVER, TEAMS, write_company


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("foreign")
    write_company(base / "raw")
    import_export([base / "raw"], "", base / "canonical")
    return base / "canonical"


@pytest.fixture(scope="module")
def rows(folder: Path) -> Rows:
    return open_rows(open_snapshot(str(folder)))


def teams_of_deals(rows: Rows) -> dict[str, set[str]]:
    """The slow way: every state of every deal, one by one."""
    teams: dict[str, set[str]] = {}
    for state in engine.collect(rows.table(STATES)).itertuples():
        teams.setdefault(state.opportunity_id, set()).add(state.team)
    return teams


@pytest.mark.parametrize("team", TEAMS)
def test_no_text_of_ones_own_is_foreign_and_every_kind_is_there(rows: Rows, team: str) -> None:
    texts = foreign.foreign_texts(foreign.known_texts(rows), [team])
    assert set(texts) == {"opportunity id", "account id", "owner id", "account name", "rep name"}
    assert all(texts.values()), {kind: len(found) for kind, found in texts.items()}
    for found in texts.values():
        assert len(found) <= foreign.MOST_TEXTS
        assert not [text for text in found if f"{team}only" in text]
    assert (MOVER in texts["owner id"]) is (team not in ("ash", "birch"))
    touched = teams_of_deals(rows)
    assert not [deal for deal in texts["opportunity id"] if team in touched[deal]]


def test_deals_that_changed_hands_are_foreign_to_neither_team(rows: Rows) -> None:
    moved = {deal: teams for deal, teams in teams_of_deals(rows).items() if len(teams) > 1}
    assert moved
    known = foreign.known_texts(rows)["opportunity id"]
    sampled = [deal for deal in moved if deal in known]
    assert sampled
    for deal in sampled:
        assert known[deal] == moved[deal]


def test_a_parent_team_knows_what_its_members_know(folder: Path) -> None:
    preparation = Preparation(str(folder))
    assert preparation.foreign_texts({"team": "company"}) == {}
    assert not any(preparation.foreign_texts({"team": "woods"}).values())
    assert any(preparation.foreign_texts({"team": "elm"}).values())
    assert preparation.mentions({"team": "company"}, "whatever")


def test_a_text_may_be_mentioned_by_ones_own_rows(rows: Rows) -> None:
    """A deal's own note counts; the key columns that the slice is cut by are no proof."""
    own = scope.cut(rows, team_tree(rows).members("elm") or ())
    deals = engine.collect(own.table("opportunities"))
    assert foreign.mentions(own, deals["next_step"].dropna().iloc[0][:9])
    assert not foreign.mentions(own, "ashonly")
    assert not foreign.mentions(own, "note9999")
    account = engine.collect(own.table("accounts"))["name"].iloc[0]
    assert not foreign.mentions(own, account), "an account's own name is cut with the account"


def test_the_same_rows_give_the_same_texts(rows: Rows) -> None:
    first, second = foreign.known_texts(rows), foreign.known_texts(rows)
    assert [*map(list, first.values())] == [*map(list, second.values())]
