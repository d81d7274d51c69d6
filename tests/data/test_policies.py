"""A company's rules beside its data: checked, in the key of reports, and never in another team's slice."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from salesops_kit.compute import Calculator
from salesops_kit.data import dataset, earlier, engine, scope
from salesops_kit.data.dataset import import_export, open_rows, open_snapshot
from salesops_kit.data.earlier import EARLIER
from salesops_kit.data.slices import open_slice, write_slice
from salesops_kit.errors import InputError
from salesops_kit.preparation import Preparation
from tests.canary import TEAMS, write_company

SEGMENTS = """\
segments:
  - {{segment: Named, means: Watched, accounts: [{account}]}}
  - segment: Large
    where: [{{column: employees, operator: at_least, value: 1000}}]
otherwise: Rest
"""


@pytest.fixture
def company(tmp_path: Path) -> Path:
    write_company(tmp_path / "raw")
    import_export([tmp_path / "raw"], "", tmp_path / "company")
    return tmp_path / "company"


def accounts(folder: Path) -> Any:
    return engine.collect(open_rows(open_snapshot(str(folder))).table("accounts"))


def test_segments_are_a_dimension_and_stand_in_every_slice(company: Path, tmp_path: Path) -> None:
    before = accounts(company)
    mine = before["account_id"].iloc[0]
    (company / "segments.yml").write_text(SEGMENTS.format(account=mine), encoding="utf-8")
    rows = open_rows(open_snapshot(str(company)))
    found = engine.collect(rows.table("accounts")).set_index("account_id")["segment"]
    employees = before.set_index("account_id")["employees"].fillna(0)
    assert found[mine] == "Named"
    for account in found.index.drop(mine):
        assert found[account] == ("Large" if employees[account] >= 1000 else "Rest")
    # The company's slice holds the segments too, though its other tables are the snapshot's own files.
    preparation = Preparation(str(company))
    declared = ["quality.segments", "funnel.win_rate"]
    file = preparation.context({"team": "company"}, tmp_path / "job" / "1", "x", report_tables=declared)
    opened = open_slice(file.parent / "slice")
    assert engine.collect(opened.table("accounts")).set_index("account_id")["segment"].equals(found)
    rates = Calculator(rows, rows.observed_until).table("funnel.win_rate", by="segment")
    assert set(rates["segment"]) <= {"Named", "Large", "Rest", "(none)"}
    # A team's slice knows the segment of its accounts, and no account of another team by its id.
    team = next(
        team
        for team in TEAMS
        if mine not in engine.collect(scope.cut(rows, (team,)).table("accounts"))["account_id"].tolist()
    )
    write_slice(scope.cut(rows, (team,)), tmp_path / "slice")
    text = (tmp_path / "slice" / "slice.json").read_text(encoding="utf-8")
    assert mine not in text
    assert "Large" in text


def test_a_changed_rule_changes_the_key_of_a_report(company: Path) -> None:
    def key() -> dict[str, str]:
        return Preparation(str(company)).key_parts(["quality.checks"], {"team": "company"})

    before = key()
    assert key() == before
    (company / "checks.yml").write_text("checks: [{id: stale, severity: warning}]", encoding="utf-8")
    after = key()
    assert {name for name in after if after[name] != before.get(name)} == {"policy"}


def test_what_pages_tell_of_the_data_changes_the_key_of_a_report(company: Path) -> None:
    """Also where no table that the report reads is another."""
    made = Preparation(str(company))
    told = {
        "notes": replace(made.rows, notes=(*made.rows.notes, "Amounts in GBP are converted.")),
        "record": replace(made.rows, record=replace(made.rows.record, changes_from=dt.date(2026, 1, 1))),
    }
    before = made.key_parts(["quality.checks"], {"team": "company"})
    for name, rows in told.items():
        made.rows = rows
        after = made.key_parts(["quality.checks"], {"team": "company"})
        assert [part for part in after if after[part] != before[part]] == [name]


def test_rules_that_do_not_fit_the_data_are_refused_when_it_is_opened(company: Path) -> None:
    (company / "process.yml").write_text("stages: [{stage: Nowhere, required: [amuont]}]", encoding="utf-8")
    with pytest.raises(InputError) as refused:
        open_rows(open_snapshot(str(company)))
    assert {"Nowhere", "amuont"} == {str(p).split("'")[1] for p in refused.value.problems}


def test_a_column_of_ones_own_can_be_checked(company: Path) -> None:
    own = "checks: [{id: routed, title: Routed, severity: info, where: [{column: route, operator: filled}]}]"
    (company / "checks.yml").write_text(own, encoding="utf-8")
    rows = open_rows(open_snapshot(str(company)))
    frame = Calculator(rows, rows.observed_until).table("quality.checks").set_index("check_id")
    assert frame.loc["routed", "status"] in ("raised", "clear")
    assert frame.loc["routed", "rows"] > 0


def test_earlier_snapshots_of_a_dataset_are_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "archive").mkdir()
    monkeypatch.setattr(dataset, "archive_root", lambda: tmp_path / "archive")
    monkeypatch.setattr(earlier, "MOST_SNAPSHOTS", 2)
    folder = tmp_path / "raw"
    write_company(folder)
    settings = (folder / "dataset.yml").read_text(encoding="utf-8")
    kept = [line for line in settings.splitlines() if not line.startswith(("name:", "observed_until:"))]

    def known(day: str, name: str = "canary") -> Any:
        lines = [*kept, f"name: {name}", f"observed_until: {day}"]
        (folder / "dataset.yml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return open_rows(open_snapshot(str(folder)))

    assert EARLIER not in known("2026-03-31").tables
    assert EARLIER not in known("2026-04-30", "another").tables
    rows = known("2026-04-30")
    found = engine.collect(rows.table(EARLIER))
    assert {day.isoformat() for day in found["known_date"]} == {"2026-03-31"}
    assert found["opportunity_id"].is_unique
    assert EARLIER in rows.derived
    team = engine.collect(scope.cut(rows, TEAMS[:1]).table(EARLIER))
    assert set(team["team"]) <= set(TEAMS[:1])
    for day in ("2026-05-02", "2026-05-03"):
        rows = known(day)
    # The two newest of three.
    assert {day.isoformat() for day in engine.collect(rows.table(EARLIER))["known_date"]} == {
        "2026-04-30",
        "2026-05-02",
    }
    trend = Calculator(rows, rows.observed_until).table("quality.burn_down", by="team")
    assert trend["known_date"].nunique() == 3
