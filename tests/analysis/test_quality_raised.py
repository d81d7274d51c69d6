"""Which checks are raised, whose records raise them, and which reports they are about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from salesops_kit.analysis.quality import checks, raised, raised_for
from salesops_kit.analysis.quality._raised import COLUMNS
from salesops_kit.display import notices
from tests.analysis import quality_world as w
from tests.states import table_of

STAYS = {"owner_id": "string", "team": "string", "valid_from_date": "date", "valid_to_date": "date"}


def memberships() -> Any:
    return table_of(
        STAYS,
        [
            ("rep-1", "West", None, w.day(2, 1)),
            ("rep-1", "East", w.day(2, 1), None),
            ("rep-2", "North", None, None),
        ],
    )


def found(folder: Path | None = None, **files: str) -> pd.DataFrame:
    rules = w.policy(folder, **files) if folder else None
    return raised(**w.world(), team_memberships=memberships(), **w.context(rules))


def rows(frame: pd.DataFrame) -> dict[tuple[str, str], int]:
    return {(row.check_id, row.team): row.rows for row in frame.itertuples()}


def test_every_raised_error_and_warning_is_counted_as_the_checks_count_it() -> None:
    world, context = w.world(), w.context()
    listed = checks(**world, **context)
    listed = listed[(listed["status"] == "raised") & listed["severity"].isin(["error", "warning"])]
    frame = found()
    assert list(frame.columns) == COLUMNS
    assert frame.groupby("check_id")["rows"].sum().to_dict() == listed.set_index("check_id")["rows"].to_dict()
    assert len(frame)


def test_a_record_without_a_team_is_of_its_owners_team_on_that_day() -> None:
    by = rows(found())
    twice = {team: n for (check, team), n in by.items() if check == "duplicate-leads"}
    assert twice == {"North": 3}
    assert {team for (check, team) in by if check == "duplicate-accounts"} == {"(no team)"}


def test_a_check_within_its_tolerance_is_not_raised(tmp_path: Path) -> None:
    text = "checks: [{id: overdue, tolerance: 0.9}, {id: negative-amount, severity: error}]"
    frame = found(tmp_path, checks=text)
    assert "overdue" in set(found()["check_id"])
    assert "overdue" not in set(frame["check_id"])
    assert set(frame.loc[frame["check_id"] == "negative-amount", "severity"]) == {"error"}
    assert frame["severity"].tolist() == sorted(frame["severity"])


def test_without_deals_and_memberships_nothing_is_raised() -> None:
    world = w.world()
    states = world["opportunity_states"]
    frame = raised(states.filter(states.opportunity_id == "nobody's"), **w.context())
    assert list(frame.columns) == COLUMNS
    assert frame.empty


FRAME = pd.DataFrame(
    [
        ("a", "No amount", "error", "opportunities", "East", 2),
        ("a", "No amount", "error", "opportunities", "West", 1),
        ("b", "Entered twice", "warning", "leads", "East", 5),
        ("c", "Overdue", "warning", "opportunities", "East", 3),
    ],
    columns=COLUMNS,
)


@pytest.mark.parametrize(
    ("members", "tables", "expected"),
    [
        (None, ["opportunities", "leads"], ["No amount 3", "Entered twice 5", "Overdue 3"]),
        (["East"], ["opportunities", "leads"], ["No amount 2", "Entered twice 5", "Overdue 3"]),
        (["West"], ["opportunities", "leads"], ["No amount 1"]),
        (["East"], ["leads"], ["Entered twice 5"]),
        (["North"], ["leads"], []),
    ],
)
def test_a_report_is_about_its_teams_and_tables(
    members: list[str] | None, tables: list[str], expected: list[str]
) -> None:
    mine = raised_for(FRAME, members=members, tables=tables)
    assert [f"{one['title']} {one['rows']}" for one in mine] == expected


def test_the_notice_names_errors_first_and_the_most_frequent_warnings() -> None:
    mine = [{"title": f"W{n}", "severity": "warning", "rows": 9 - n} for n in range(6)]
    mine.append({"title": "No amount", "severity": "error", "rows": 1200})
    errors, warnings = (notices.raised(mine, severity) for severity in ("error", "warning"))
    text = notices.raised_text(errors, warnings)
    assert text == "Errors: No amount (1,200). Warnings: W0 (9); W1 (8); W2 (7); W3 (6); and 2 more."
    assert notices.raised_text([], warnings[:1]) == "Warnings: W0 (9)."
    assert notices.raised_text([], []) == ""
