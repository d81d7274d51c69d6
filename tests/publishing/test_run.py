"""Whole runs with real kernels: what is published, skipped, kept back, marked and verified."""

from __future__ import annotations

import csv
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from salesops_kit.errors import InputError, LockHeldError
from salesops_kit.publishing import ledger, recovery
from salesops_kit.publishing.lock import hold_lock
from salesops_kit.publishing.plan_file import parse_plan
from salesops_kit.publishing.publish import commit
from salesops_kit.publishing.run import RunResult, run
from salesops_kit.publishing.verify import verify
from tests.publishing.kit import DEALS, TinyPreparer, templates_in, write_template

PLAN = "{data: sample, reports: bookings, teams: all, quarters: 2026-Q3, jobs: 2}"
PAY = """\
rep: str = "r1"           # Person | one of: reps
quarter: str = "2026-Q3"  # Fiscal quarter | one of: quarters"""


def publish(
    root: Path, templates: Path, preparer: TinyPreparer | None = None, plan: str = PLAN, **options: object
) -> RunResult:
    return run(
        parse_plan(plan, file="plan.yml"),
        preparer or TinyPreparer(),
        reports_root=root,
        templates=templates_in(templates),
        **options,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, RunResult]:
    base = tmp_path_factory.mktemp("published")
    write_template(base / "templates", "bookings")
    result = publish(base / "reports", base / "templates")
    return base / "reports", base / "templates", result


@pytest.fixture
def again(published: tuple[Path, Path, RunResult], tmp_path: Path) -> tuple[Path, Path]:
    """A copy of the published folder, to change."""
    shutil.copytree(published[0], tmp_path / "reports")
    return tmp_path / "reports", published[1]


def snapshot(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_everything_is_published_and_ties(published: tuple[Path, Path, RunResult]) -> None:
    root, _, result = published
    assert result.exit_code == 0, [entry.manifest.error for entry in result.failures]
    won = {e.manifest.scope: e.manifest.headlines[0]["value"] for e in result.entries}
    assert won == {"company": 310.75, "EMEA": 250.25, "APAC": 60.5}
    assert {gate.status for e in result.entries for gate in e.manifest.gates} == {"passed"}
    assert verify(root) == []
    assert not (root / ".staging").exists()
    for entry in result.entries:
        assert (root / entry.address.stable).is_file()
        names = {
            p.relative_to(root / str(entry.bundle)).as_posix() for p in (root / str(entry.bundle)).rglob("*")
        }
        assert names == {
            "page.html",
            "notebook.ipynb",
            "tables.xlsx",
            "tables",
            "tables/deals.csv",
            "manifest.json",
        }


def test_a_page_holds_its_own_rows_and_working_links(published: tuple[Path, Path, RunResult]) -> None:
    root, _, result = published
    entry = next(e for e in result.entries if e.manifest.scope == "EMEA")
    for path in [root / entry.address.stable, *(root / str(entry.bundle)).rglob("*.*")]:
        text = path.read_bytes()
        assert b"APAC" not in text, path
    with (root / str(entry.bundle) / "tables" / "deals.csv").open(encoding="utf-8-sig", newline="") as stream:
        assert list(csv.reader(stream)) == [["Team", "Amount (USD)"], ["EMEA", "250.25"]]
    page = (root / entry.address.stable).read_text(encoding="utf-8")
    assert "context = json.load" not in page
    for name in ("notebook.ipynb", "tables.xlsx"):
        link = f"bookings/{entry.manifest.run}/{name}"
        assert f'href="{link}"' in page
        assert (root / entry.address.folder / link).is_file()


def test_parameters_arrive_typed(published: tuple[Path, Path, RunResult]) -> None:
    root, _, result = published
    notebook = json.loads((root / str(result.entries[0].bundle) / "notebook.ipynb").read_text())
    injected = next(c for c in notebook["cells"] if "injected-parameters" in c["metadata"].get("tags", []))
    assert "".join(injected["source"]).splitlines()[1:] == [
        f'team = "{result.entries[0].manifest.scope}"',
        'quarter = "2026-Q3"',
        'data = "sample"',
        "horizon = 2",
    ]
    assert "cells" not in json.dumps(notebook["metadata"])


def test_a_second_run_does_nothing(again: tuple[Path, Path]) -> None:
    before = snapshot(again[0])
    result = publish(*again)
    assert [e.manifest.status for e in result.entries] == ["skipped"] * 3
    assert (result.exit_code, result.run[:7]) == (0, "000002-")
    after = snapshot(again[0])
    assert {name for name in after if before.get(name) != after[name]} == {
        f".runs/{result.run}.json",
        ".lock",
        "index.html",
    } - ({".lock"} if before[".lock"] == after[".lock"] else set())
    assert verify(again[0]) == []


def test_a_dry_run_writes_nothing(again: tuple[Path, Path], tmp_path: Path) -> None:
    result = publish(tmp_path / "none", again[1], dry_run=True)
    assert [row["scope"] for row in result.rows] == ["company", "EMEA", "APAC"]
    assert not (tmp_path / "none").exists()


def test_a_failure_keeps_the_last_good_page_with_a_banner(
    again: tuple[Path, Path], published: tuple[Path, Path, RunResult]
) -> None:
    root, templates = again
    before = snapshot(root)
    preparer = TinyPreparer([*DEALS, ("EMEA", "2026-Q3", 1.0)])
    preparer.broken_for = {"EMEA"}
    result = publish(root, templates, preparer, PLAN.replace("all", "EMEA"))
    assert result.exit_code == 1
    error = result.failures[0].manifest.error
    assert error is not None
    assert (error.cell, error.name) == (None, "OSError")
    assert "hunter22" not in b"".join(snapshot(root).values()).decode("utf-8", "ignore")
    page = (root / result.entries[0].address.stable).read_text(encoding="utf-8")
    good = next(e for e in published[2].entries if e.manifest.scope == "EMEA")
    assert good.manifest.run in page
    assert result.run in page
    assert f'href="bookings/{good.manifest.run}/tables.xlsx"' in page
    after = snapshot(root)
    assert {n for n in before if n.startswith("leaders/") and before[n] != after[n]} == {
        str(good.address.stable)
    }
    assert verify(root) == []
    catalog = after["index.html"].decode()
    assert 'data-status="failed"' in catalog
    assert f"the last good one, of run {good.manifest.run}" in catalog

    mended = publish(root, templates, plan=PLAN.replace("all", "EMEA"))
    assert [(e.manifest.status, e.manifest.reason) for e in mended.entries] == [
        ("success", "the last run failed")
    ]
    assert result.run not in (root / good.address.stable).read_text(encoding="utf-8")
    assert verify(root) == []


def test_a_gate_keeps_back_what_does_not_tie(again: tuple[Path, Path]) -> None:
    root, templates = again
    before = snapshot(root / "leaders")
    preparer = TinyPreparer([*DEALS, ("LATAM", "2026-Q3", 9.0), ("EMEA", "2026-Q3", 1.0)])
    result = publish(root, templates, preparer)
    assert [(e.manifest.scope, e.manifest.error.name) for e in result.failures if e.manifest.error] == [
        ("company", "GateFailed"),
        ("EMEA", "GateFailed"),
    ]
    assert "won: the company has 320.75, its 2 leaf teams 311.75" in str(result.failures[0].manifest.error)
    assert {n for n, content in snapshot(root / "leaders").items() if before.get(n) != content} == {
        str(e.address.stable.relative_to("leaders")) for e in result.failures
    }
    assert verify(root) == []


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_private_reports_stand_apart(tmp_path: Path) -> None:
    root = tmp_path / "reports"
    write_template(tmp_path / "t", "pay", "team = rep", audience="private", parameters=PAY)
    result = publish(root, tmp_path / "t", plan="{data: x, reports: pay}")
    assert result.exit_code == 0, result.failures
    folder = root / "private"
    for path in [folder, *folder.rglob("*"), root / ".runs", *(root / ".runs").iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    own = next(folder.glob("*/index.html")).read_text()
    assert 'href="2026-Q3/pay.html"' in own
    assert "Pay" not in (root / "index.html").read_text()
    assert verify(root) == []


def test_one_run_at_a_time_and_a_stale_lock_is_no_lock(again: tuple[Path, Path]) -> None:
    root, templates = again
    before = snapshot(root)
    with hold_lock(root), pytest.raises(LockHeldError, match="another run"):
        publish(root, templates)
    (root / ".lock").write_text("99999999")
    with hold_lock(root):
        pass
    assert {k: v for k, v in snapshot(root).items() if k != ".lock"} == {
        k: v for k, v in before.items() if k != ".lock"
    }


def test_a_linked_output_is_refused_before_anything_runs(again: tuple[Path, Path], tmp_path: Path) -> None:
    root, templates = again
    (tmp_path / "outside").mkdir()
    shutil.rmtree(root / "leaders" / "2026-Q3" / "company")
    (root / "leaders" / "2026-Q3" / "company").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="symbolic link"):
        publish(root, templates)
    assert list((tmp_path / "outside").iterdir()) == []


def test_tampering_is_found_and_mended(
    again: tuple[Path, Path], published: tuple[Path, Path, RunResult]
) -> None:
    root, templates = again
    emea, apac = (next(e for e in published[2].entries if e.manifest.scope == s) for s in ("EMEA", "APAC"))
    (root / str(emea.bundle) / "tables" / "deals.csv").write_text("x")
    (root / str(emea.bundle) / "extra.html").write_text("x")
    (root / apac.address.stable).write_text("x")
    (root / "leaders" / "2026-Q3" / "stray.html").write_text("x")
    assert {(p.file, p.what) for p in verify(root)} == {
        (f"{emea.bundle}/tables/deals.csv", "the file was changed"),
        (f"{emea.bundle}/extra.html", "no manifest knows this file"),
        (str(apac.address.stable), "the stable page is not the one published last"),
        ("leaders/2026-Q3/stray.html", "no record knows this page"),
    }
    result = publish(root, templates, plan=PLAN.replace("all", "APAC"))
    assert result.entries[0].manifest.reason == "published files were changed"
    assert str(apac.address.stable) not in {p.file for p in verify(root)}


def test_a_lost_record_is_rebuilt_from_the_bundles(again: tuple[Path, Path]) -> None:
    root, templates = again
    record = next((root / ".runs").glob("*.json"))
    kept = ledger.read_ledger(root)[0].records[0]
    record.write_text(record.read_text()[:500])
    assert any("cannot be read" in p.what for p in verify(root))
    result = publish(root, templates)
    assert [e.manifest.status for e in result.entries] == ["skipped"] * 3
    rebuilt = ledger.read_ledger(root)[0].records[0]
    assert sorted(rebuilt.jobs, key=str) == sorted(kept.jobs, key=str)
    assert (rebuilt.status, verify(root)) == ("rebuilt", [])


def test_what_a_dead_run_left_is_put_right(
    again: tuple[Path, Path], published: tuple[Path, Path, RunResult]
) -> None:
    """A bundle without its stable page was never published; one with it was."""
    root, templates = again
    kept = ledger.read_ledger(root)[0].records[0]
    ledger.write_record(root, kept.model_copy(update={"status": "running", "jobs": kept.jobs[:1]}))
    unpublished = kept.jobs[1]
    assert unpublished.stable is not None
    (root / unpublished.stable.path).unlink()
    (root / ".staging" / kept.run).mkdir(parents=True)
    assert recovery.recover(root) == []
    found = ledger.read_ledger(root)[0].records[0]
    assert found.status == "interrupted"
    assert [e.address for e in found.jobs] == [kept.jobs[0].address, kept.jobs[2].address]
    assert not (root / str(unpublished.bundle)).exists()
    assert not (root / ".staging").exists()
    assert verify(root) == []
    result = publish(root, templates)
    assert sorted(e.manifest.status for e in result.entries) == ["skipped", "skipped", "success"]


def test_runs_are_ordered_by_number_when_the_clock_goes_back(again: tuple[Path, Path]) -> None:
    import datetime as dt

    early = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
    result = publish(*again, now=lambda: early)
    assert result.run == "000002-20010101T000000Z"
    assert [r.seq for r in ledger.read_ledger(again[0])[0].records] == [1, 2]


def test_a_run_of_the_failed_alone_touches_nothing_else(again: tuple[Path, Path]) -> None:
    root, templates = again
    preparer = TinyPreparer()
    preparer.broken_for = {"APAC"}
    failed = publish(root, templates, preparer, PLAN.replace("all", "APAC"), force=True)
    assert failed.exit_code == 1
    changed = TinyPreparer([*DEALS, ("EMEA", "2026-Q3", 1.0)])
    result = publish(root, templates, changed, failed_only=True)
    assert {e.manifest.scope: (e.manifest.status, e.manifest.reason) for e in result.entries} == {
        "company": ("skipped", "has not failed"),
        "EMEA": ("skipped", "has not failed"),
        "APAC": ("success", "the last run failed"),
    }


def test_every_write_that_fails_leaves_the_old_page(
    again: tuple[Path, Path], published: tuple[Path, Path, RunResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = again
    good = published[2].entries[0]
    before = snapshot(root)
    manifest = good.manifest.model_copy(
        update={
            "run": "000009-20261121T231500Z",
            "files": [f for f in good.manifest.files if f.path[0] != "."],
        }
    )
    sync = os.fsync
    outcomes = []
    for failing in range(1, 20):
        staged = root / ".staging" / f"{failing}"
        shutil.copytree(root / str(good.bundle), staged / "bundle")
        (staged / "bundle" / "manifest.json").unlink()
        (staged / "stable.html").write_text("new")
        calls = iter(range(1, 1_000))

        def full(descriptor: int, calls: Iterator[int] = calls, failing: int = failing) -> None:
            if next(calls) == failing:
                raise OSError(28, "No space left on device")
            sync(descriptor)

        monkeypatch.setattr(os, "fsync", full)
        try:
            commit(root, good.address, staged, manifest, "T")
        except OSError:
            outcomes.append("failed")
            shutil.rmtree(root / ".staging")
            assert {k: v for k, v in snapshot(root).items() if v != before.get(k)} == {}
        else:
            outcomes.append("published")
            break
        finally:
            monkeypatch.setattr(os, "fsync", sync)
    assert outcomes.count("failed") >= 4
    assert outcomes[-1] == "published"
    assert (root / good.address.stable).read_text() == "new"


def test_only_what_changed_runs_again(again: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root, templates = again
    preparer = TinyPreparer()
    plain = preparer.key_parts

    def changed(tables: list[str], params: dict[str, object]) -> dict[str, str]:
        parts = plain(tables, params)
        return {**parts, "targets": "new"} if params["team"] == "APAC" else parts

    monkeypatch.setattr(preparer, "key_parts", changed)
    result = publish(root, templates, preparer)
    reasons = {e.manifest.scope: (e.manifest.status, e.manifest.reason) for e in result.entries}
    assert reasons == {
        "company": ("skipped", "nothing changed"),
        "EMEA": ("skipped", "nothing changed"),
        "APAC": ("success", "changed: targets"),
    }
    apac = next(e for e in result.entries if e.manifest.scope == "APAC")
    assert [(gate.name, gate.status) for gate in apac.manifest.gates] == [
        ("additive headlines", "passed"),
        ("checks of the data", "passed"),
        ("jumps", "passed"),
    ]
    assert apac.manifest.previous is not None
    assert verify(root) == []
