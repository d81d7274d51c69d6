"""Targets: from the plan or quotas, for the days of one quarter, and never twice."""

from __future__ import annotations

import datetime as dt
from typing import Any

import ibis
import pytest

from salesops_kit.estimators.targets import owner_targets, target_notes, team_targets, whole_target
from salesops_kit.settings import Settings
from tests.states import table_of

SETTINGS = Settings()
Q1 = SETTINGS.fiscal.quarter("2026-Q1")
JANUARY, APRIL = Q1.start, Q1.end
PLAN = {"team": "string", "period_start_date": "date", "measure": "string", "amount": "decimal(18, 4)"}
QUOTAS = {
    "owner_id": "string",
    "team": "string",
    "period_start_date": "date",
    "period_end_date": "date",
    "measure": "string",
    "quota": "decimal(18, 4)",
}
REPS = {"owner_id": "string", "manager_id": "string"}
MEMBERS = {"owner_id": "string", "team": "string", "valid_from_date": "date", "valid_to_date": "date"}
TEAMS = {"team": "string", "parent_team": "string"}


def plan(*rows: tuple[str | None, dt.date, float | None]) -> ibis.Table:
    return table_of(PLAN, [(team, start, "bookings", amount) for team, start, amount in rows])


def quota(owner: str | None, team: str | None, amount: float, **days: dt.date) -> tuple[Any, ...]:
    return owner, team, days.get("start", JANUARY), days.get("end", APRIL), "Bookings", amount


def found(
    budget: ibis.Table | None = None,
    quotas: list[tuple[Any, ...]] | None = None,
    reps: list[tuple[Any, ...]] = (),  # type: ignore[assignment]
    members: list[tuple[Any, ...]] = (),  # type: ignore[assignment]
) -> dict[str, tuple[float, str]]:
    listed = None if quotas is None else table_of(QUOTAS, quotas)
    frame = team_targets(budget, listed, table_of(REPS, reps), table_of(MEMBERS, members), Q1, SETTINGS)
    return {row.team: (round(row.target, 6), row.target_source) for row in frame.itertuples()}


def test_plan_then_team_quota_then_reps_quotas() -> None:
    quotas = [
        quota(None, "North", 1),
        quota(None, "South", 2),
        quota("r1", None, 30),
        quota("r2", None, 40),
        quota("r3", None, 50),
    ]
    members = [("r1", "West", None, None), ("r2", "West", JANUARY, APRIL), ("r3", "South", None, None)]
    assert found(plan(("North", JANUARY, 900)), quotas, members=members) == {
        "North": (900, "plan"),
        "South": (2, "team quota"),
        "West": (70, "rep quotas"),
    }
    assert found() == {}


def test_a_manager_of_a_rep_with_a_quota_counts_once_and_a_rep_without_team_not() -> None:
    quotas = [quota("boss", None, 100), quota("r1", None, 60), quota("drifter", None, 7)]
    members = [("boss", "West", None, None), ("r1", "West", None, None), ("drifter", "West", APRIL, None)]
    assert found(None, quotas, [("r1", "boss"), ("boss", None)], members) == {"West": (60, "rep quotas")}


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        ([JANUARY, dt.date(2026, 2, 1), dt.date(2026, 3, 1), APRIL], 300),
        ([dt.date(2025, 10, 1), JANUARY, APRIL], 100),
        ([dt.date(2025, 1, 1), JANUARY], 100 * 90 / 365),
        ([JANUARY], 100),
        ([dt.date(2025, 10, 1)], None),
    ],
)
def test_how_far_apart_budgets_start_tells_what_they_cover(
    starts: list[dt.date], expected: float | None
) -> None:
    budget = found(plan(*(("North", start, 100) for start in starts)))
    assert budget == ({} if expected is None else {"North": (round(expected, 6), "plan")})


def test_quotas_count_by_their_days_in_the_quarter() -> None:
    year = quota("r1", None, 365, end=dt.date(2027, 1, 1))
    months = [quota("r2", None, 5, end=dt.date(2026, 2, 1)), quota("r2", None, 6, start=dt.date(2026, 2, 1))]
    before = quota("r3", None, 9, start=dt.date(2025, 10, 1), end=JANUARY)
    frame = owner_targets(table_of(QUOTAS, [year, *months, before]), Q1)
    assert frame[["owner_id", "target"]].to_numpy().tolist() == [["r1", 90.0], ["r2", 11.0]]
    assert owner_targets(None, Q1).empty


def test_other_measures_and_unknown_amounts_are_left_out() -> None:
    rows = [
        ("North", JANUARY, "new logos", 5),
        ("South", JANUARY, None, 6),
        ("West", JANUARY, "bookings", None),
    ]
    assert found(table_of(PLAN, rows)) == {"South": (6, "plan")}


def test_the_whole_counts_no_target_twice() -> None:
    tree = table_of(TEAMS, [("North", "All"), ("South", "All"), ("All", None), ("Far", "Farther")])

    def whole(*rows: tuple[str, dt.date, float]) -> tuple[float, str]:
        frame = team_targets(plan(*rows), None, None, None, Q1, SETTINGS)
        return whole_target(frame, tree)

    assert whole(("North", JANUARY, 1), ("South", JANUARY, 2), ("All", JANUARY, 50)) == (3, "plan")
    assert whole(("All", JANUARY, 50), ("Far", JANUARY, 7)) == (57, "plan")
    amount, source = whole()
    assert (amount != amount, source) == (True, "")
    mixed = team_targets(
        plan(("North", JANUARY, 1)), table_of(QUOTAS, [quota(None, "South", 2)]), None, None, Q1, SETTINGS
    )
    assert whole_target(mixed, None) == (3, "several")


def test_what_may_count_twice_is_told() -> None:
    members = table_of(
        MEMBERS, [("r1", "Nord", None, None), ("r2", "Key", None, None), ("r3", "West", None, None)]
    )
    tree = table_of(TEAMS, [("West", "All")])
    quotas = table_of(QUOTAS, [quota("r1", None, 30), quota("r2", None, 40), quota("r3", None, 50)])

    def told(*names: str, teams: ibis.Table | None = tree, stays: ibis.Table | None = members) -> list[str]:
        budget = plan(*((name, JANUARY, 1) for name in names))
        return target_notes(team_targets(budget, quotas, None, members, Q1, SETTINGS), teams, stays)

    assert told("Nrod", "West") == [
        "Nrod has a target and is no team that the data know; it counts beside the targets of the teams.",
        "Key and Nord are not in the plan; their targets come from quotas.",
    ]
    assert told("Nord", "Key", "All", "West") == []
    assert told("Nord", "Key", "West", "A", "B\u200b", teams=None) == [
        "A and B⟨U+200B⟩ have targets and are no teams that the data know; they count beside the targets of "
        "the teams."
    ]
    # Without any list of teams nobody can say which name is wrong; without a plan all is by quotas.
    assert told("Nrod", "Key", "West", teams=None, stays=None)[1:] == []
    assert told() == []
