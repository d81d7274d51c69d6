"""The order of a run's reports, and that none waits for another's page to be rendered."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from salesops_kit.errors import InputError
from salesops_kit.publishing.ledger import Entry
from salesops_kit.publishing.manifest import Timings
from salesops_kit.publishing.plan_file import parse_plan
from salesops_kit.publishing.run import run
from salesops_kit.publishing.schedule import Task, longest_first
from tests.publishing.kit import TinyPreparer, templates_in, write_template


def task(name: str, *seconds: float, report: str = "funnel", must_run: bool = True) -> Task:
    """A task that took so many seconds to start, run and render when it was last good."""
    good = None
    if seconds:
        timings = Timings(start=seconds[0], cells=seconds[1], render=seconds[2])
        good = SimpleNamespace(manifest=SimpleNamespace(timings=timings))
    job: Any = SimpleNamespace(report=report, name=name)
    return Task(job, cast(Any, None), must_run, Path(name), cast("Entry | None", good), sentinel="")


def order(*tasks: Task) -> list[str]:
    return [one.job.name for one in longest_first(tasks)]


def test_the_longest_goes_first_by_all_that_it_took() -> None:
    assert order(task("a", 1, 1, 1), task("b", 0, 5, 0), task("c", 0, 0, 4)) == ["b", "c", "a"]


def test_a_scope_that_never_ran_takes_as_long_as_the_others_on_average() -> None:
    new = task("new")
    assert order(task("short", 0, 1, 0), new, task("long", 0, 4, 0)) == ["long", "new", "short"]


def test_a_report_that_never_ran_goes_first_and_what_is_skipped_not_at_all() -> None:
    known = task("known", 0, 9, 0)
    assert order(known, task("first", report="new"), task("skipped", 0, 99, 0, must_run=False)) == [
        "first",
        "known",
    ]
    assert order() == []


def test_a_skipped_scope_still_tells_how_long_the_report_takes() -> None:
    assert order(task("x", 0, 3, 0, report="pay"), task("new"), task("old", 0, 9, 0, must_run=False)) == [
        "new",
        "x",
    ]


WAITS = """\
import time
from pathlib import Path
here = Path.cwd().parents[3]  # the reports folder: a report works in .staging/<run>/<number>/scratch
deadline = time.monotonic() + 60
while not list(here.glob("leaders/*/*/b_quick.html")):
    assert time.monotonic() < deadline, "the other report was not rendered meanwhile"
    time.sleep(0.05)"""


def test_a_report_is_rendered_and_published_while_another_executes(tmp_path: Path) -> None:
    """The first report's cell ends only when the second is public: were pages rendered one after the
    other at the end, or by the process that executes, it would wait in vain."""
    write_template(tmp_path / "t", "a_waits", WAITS)
    write_template(tmp_path / "t", "b_quick")
    result = run(
        parse_plan("{data: x, reports: [a_waits, b_quick], jobs: 2, teams: woods}"),
        TinyPreparer(leaf_teams=("woods",)),
        reports_root=tmp_path / "reports",
        templates=templates_in(tmp_path / "t"),
    )
    assert [entry.manifest.status for entry in result.entries] == ["success"] * 2, result.failures


def test_a_plan_sets_the_limits(tmp_path: Path) -> None:
    plan = parse_plan("{data: x, reports: slow, limits: {cell: 1, report: 40}}")
    assert (plan.plan.limits.start, plan.plan.limits.cell, plan.plan.limits.report) == (60, 1, 40)
    write_template(tmp_path / "t", "slow", "import time; time.sleep(600)")
    result = run(
        plan, TinyPreparer(), reports_root=tmp_path / "reports", templates=templates_in(tmp_path / "t")
    )
    error = result.failures[0].manifest.error
    assert error is not None
    assert error.name == "CellTimeout"


@pytest.mark.parametrize("limits", ["{cell: 0}", "{cell: soon}", "{cells: 3}"])
def test_a_wrong_limit_is_refused(limits: str) -> None:
    with pytest.raises(InputError, match="cell"):
        parse_plan(f"{{data: x, reports: slow, limits: {limits}}}")
