"""A check that a company calls an error stops the reports its records are in; a warning is told there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from salesops_kit.data.dataset import import_export

ROOT = Path(__file__).parents[1]
SETTINGS = """\
name: stops
observed_until: 2026-03-31
first_qualified_stage: One
stages: [{stage: One}, {stage: Won, is_closed: true, is_won: true}]
"""
CHECKS = "checks: [{id: negative-amount, severity: SEVERITY}]\n"
PLAN = "{data: DATA, quarters: 2026-Q1, teams: [company, A, B], reports: [funnel, data_quality], jobs: 2}\n"
NAMED = "Amount is negative (1)"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two teams; one open deal of A has a negative amount."""
    raw = tmp_path_factory.mktemp("stops") / "raw"
    raw.mkdir()
    deals = ["opportunity_id,stage,amount,owner_id,created_date,close_date"]
    for owner in ("ann", "bob"):
        deals += [f"{owner}{n},Won,100,{owner},2026-01-0{n + 1},2026-02-1{n}" for n in range(3)]
    deals.append("wrong,One,-5,ann,2026-03-01,2026-05-20")
    members = "owner_id,team,valid_from_date,valid_to_date\nann,A,,\nbob,B,,\n"
    for name, text in (
        ("dataset.yml", SETTINGS), ("team_memberships.csv", members),
        ("opportunities.csv", "\n".join(deals) + "\n"),
    ):  # fmt: skip
        (raw / name).write_text(text, encoding="utf-8")
    import_export([raw], "", raw.parent / "data")
    return raw.parent / "data"


def published(data: Path, severity: str) -> tuple[int, dict[tuple[str, str], dict[str, Any]]]:
    """The exit code, and the newest manifest of each report and scope."""
    (data / "checks.yml").write_text(CHECKS.replace("SEVERITY", severity), encoding="utf-8")
    reports, plan = data.parent / f"r-{severity}", data.parent / "plan.yml"
    plan.write_text(PLAN.replace("DATA", str(data)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "salesops_kit", "run", str(plan), "--reports", str(reports)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    (record,) = (reports / ".runs").glob("*.json")
    jobs = [job["manifest"] for job in json.loads(record.read_text(encoding="utf-8"))["jobs"]]
    assert jobs, done.stderr
    return done.returncode, {(job["report"], job["scope"]): job for job in jobs}


def test_an_error_stops_the_reports_that_it_is_about(data: Path) -> None:
    code, found = published(data, "error")
    assert code == 1
    for scope in ("company", "A"):
        stopped = found["funnel", scope]
        assert stopped["status"] == "failed"
        assert NAMED in stopped["error"]["message"]
    assert found["funnel", "B"]["status"] == "success"
    # The page that lists the problems is not stopped by them.
    assert {found["data_quality", scope]["status"] for scope in ("company", "A", "B")} == {"success"}


def test_a_warning_is_told_at_the_head_of_the_page(data: Path) -> None:
    code, found = published(data, "warning")
    assert code == 0, [(key, job["error"]) for key, job in found.items()]
    assert {job["status"] for job in found.values()} == {"success"}
    assert found["funnel", "A"]["quality"]["warnings"][0] == NAMED
    assert NAMED not in str(found["funnel", "B"]["quality"])
    (page,) = (data.parent / "r-warning").glob("*/*/a-*/funnel.html")
    assert NAMED in page.read_text(encoding="utf-8").split('role="note"')[1][:2000]
