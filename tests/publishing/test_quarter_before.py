"""What a report says of the quarter before: of that of the same run, else of what was published."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from salesops_kit.publishing.run import RunResult
from salesops_kit.publishing.verify import verify
from tests.publishing.desk import Desk
from tests.publishing.kit import TinyPreparer

PLAN = "{{data: sample, reports: bookings, teams: EMEA, quarters: [{}]{}}}"
BOTH, LATER_FIRST = PLAN.format("2026-Q2, 2026-Q3", ""), PLAN.format("2026-Q3, 2026-Q2", "")
STOPS = PLAN.format("2026-Q2, 2026-Q3", ", jumps: stop")


def deals(before: float, now: float) -> tuple[tuple[str, str, float], ...]:
    """Deals enough for a jump to be no chance."""
    return tuple(
        ("EMEA", quarter, amount)
        for (quarter, amount), _ in itertools.product((("2026-Q2", before), ("2026-Q3", now)), range(25))
    )


def said(desk: Desk) -> str:
    """The note on the public page of the later quarter."""
    page = next(desk.root.glob("leaders/2026-Q3/*/bookings.html")).read_text(encoding="utf-8")
    _, found, after = page.partition('<div class="banner note" role="note"><p>')
    return after.partition("</p>")[0] if found else ""


def reasons(result: RunResult) -> dict[str, tuple[str, str]]:
    return {e.manifest.quarter: (e.manifest.status, e.manifest.reason) for e in result.entries}


@pytest.mark.parametrize("plan", [BOTH, LATER_FIRST])
def test_a_first_run_of_two_quarters_notes_the_jump_between_them(desk: Desk, plan: str) -> None:
    assert desk.run(deals(1, 10), plan=plan).exit_code == 0
    assert said(desk) == "won more than doubled: $250, after $25 in the quarter before."
    assert verify(desk.root) == []
    again = desk.run(deals(1, 10), plan=plan)
    assert set(reasons(again).values()) == {("skipped", "nothing changed")}


@pytest.mark.parametrize("plan", [BOTH, LATER_FIRST])
def test_a_corrected_quarter_before_is_the_one_that_is_told(desk: Desk, plan: str) -> None:
    desk.run(deals(1, 10), plan=plan)
    result = desk.run(deals(2, 10), plan=plan)
    assert said(desk) == "won more than doubled: $250, after $50 in the quarter before."
    # Its own rows are what they were.
    assert reasons(result)["2026-Q3"] == ("success", "changed: quarter before")
    desk.run(deals(9, 10), plan=plan)
    assert said(desk) == ""
    assert verify(desk.root) == []


def test_a_report_says_what_was_published_where_the_run_makes_no_other(desk: Desk) -> None:
    only = PLAN.format("2026-Q3", "")
    desk.run(deals(1, 10), plan=only)
    assert said(desk) == ""
    desk.run(deals(1, 10), plan=PLAN.format("2026-Q2", ""))
    assert reasons(desk.run(deals(1, 10), plan=only))["2026-Q3"] == ("success", "changed: quarter before")
    assert said(desk) == "won more than doubled: $250, after $25 in the quarter before."


def test_a_quarter_before_that_fails_leaves_what_was_published_of_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.run(deals(1, 10), plan=BOTH)
    context = TinyPreparer.context

    def broken(self: Any, params: dict[str, Any], *args: Any, **options: Any) -> Path:
        if params["quarter"] == "2026-Q2":
            raise OSError("not today")
        return context(self, params, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(TinyPreparer, "context", broken)
        failed = desk.run(deals(2, 11), plan=BOTH)
    assert {quarter: status for quarter, (status, _) in reasons(failed).items()} == {
        "2026-Q2": "failed",
        "2026-Q3": "success",
    }
    assert said(desk) == "won more than doubled: $275, after $25 in the quarter before."
    mended = desk.run(deals(2, 11), plan=BOTH)
    assert reasons(mended)["2026-Q3"] == ("success", "changed: quarter before")
    assert said(desk) == "won more than doubled: $275, after $50 in the quarter before."
    assert set(reasons(desk.run(deals(2, 11), plan=BOTH)).values()) == {("skipped", "nothing changed")}


def test_a_plan_that_stops_at_jumps_judges_what_was_published_before(desk: Desk) -> None:
    desk.run(deals(1, 10), plan=BOTH)
    result = desk.run(deals(1, 10), plan=STOPS)
    assert result.exit_code == 1
    assert [entry.manifest.quarter for entry in result.failures] == ["2026-Q3"]
    # Nor does a retry that changed nothing.
    assert desk.run(deals(1, 10), plan=STOPS, failed_only=True).exit_code == 1
    assert desk.run(deals(6, 10), plan=STOPS).exit_code == 0
