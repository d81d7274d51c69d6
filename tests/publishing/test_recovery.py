"""What a dead run or somebody's hand left is put right, or named with a way out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from salesops_kit.errors import LockHeldError
from salesops_kit.publishing import ledger, publish, recovery
from salesops_kit.publishing.lock import hold_lock
from salesops_kit.publishing.set_aside import set_aside
from salesops_kit.publishing.verify import RUN_AGAIN, SET_ASIDE, verify
from tests.publishing import wholeness
from tests.publishing.desk import PLAN, Desk
from tests.publishing.kit import DEALS

CHANGED = (*DEALS, ("EMEA", "2026-Q3", 1.0))


def test_a_retry_runs_only_the_failed_and_a_second_retry_nothing(desk: Desk) -> None:
    assert desk.run().exit_code == 0
    failed = desk.run(CHANGED, broken="EMEA")
    assert (failed.exit_code, desk.statuses(failed)) == (1, {"EMEA": "failed", "APAC": "skipped"})
    for deals, broken in ((CHANGED, "EMEA"), (CHANGED, "")):
        retry = desk.run(deals, broken=broken, failed_only=True)
        wanted = "failed" if broken else "success"
        assert desk.statuses(retry) == {"EMEA": wanted, "APAC": "skipped"}
    for options in ({"failed_only": True}, {}):
        second = desk.run(CHANGED, **options)
        assert (second.exit_code, set(desk.statuses(second).values())) == (0, {"skipped"})
    assert verify(desk.root) == []


def test_a_manifest_that_is_cut_short_is_named_and_its_report_made_anew(desk: Desk) -> None:
    first = desk.run().entries[0]
    manifest = desk.root / str(first.bundle) / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:300])
    assert [(p.file, p.what, p.next_step) for p in verify(desk.root)] == [
        (f"{first.bundle}/manifest.json", "the manifest was changed", RUN_AGAIN)
    ]
    again = desk.run()
    assert {e.manifest.scope: (e.manifest.status, e.manifest.reason) for e in again.entries} == {
        "EMEA": ("success", "published files were changed"),
        "APAC": ("skipped", "nothing changed"),
    }


def test_a_record_and_a_manifest_that_are_cut_short_cost_one_report_of_the_past(desk: Desk) -> None:
    entries = desk.run().entries
    record = next((desk.root / ".runs").glob("*.json"))
    manifest = desk.root / str(entries[0].bundle) / "manifest.json"
    for path in (record, manifest):
        path.write_bytes(path.read_bytes()[:300])
    result = desk.run()
    assert [note.what.split(":")[0] for note in result.notes][:2] == [
        "the run record cannot be read",
        "the bundle has no readable manifest",
    ]
    assert desk.statuses(result) == {"EMEA": "success", "APAC": "skipped"}
    assert [p.what for p in verify(desk.root)] == ["no record knows this bundle"]


def test_a_changed_bundle_of_the_past_is_named_until_it_is_set_aside(desk: Desk) -> None:
    first = desk.run().entries[0]
    changed = desk.root / str(first.bundle) / "page.html"
    changed.write_text("edited")
    assert [p.next_step for p in verify(desk.root)] == [RUN_AGAIN]
    assert set_aside(desk.root) == [], "what is public is not taken away"
    second = next(entry for entry in desk.run().entries if entry.bundle)
    assert [(p.file, p.what, p.next_step) for p in verify(desk.root)] == [
        (f"{first.bundle}/page.html", "the file was changed", SET_ASIDE)
    ]
    catalog = (desk.root / "index.html").read_text(encoding="utf-8")
    assert f"{first.bundle}/page.html" in catalog
    assert set_aside(desk.root) == [first.bundle]
    assert verify(desk.root) == []
    moved = desk.root / ".set-aside" / str(first.bundle) / "page.html"
    assert moved.read_text() == "edited"
    catalog = (desk.root / "index.html").read_text(encoding="utf-8")
    assert first.manifest.run in catalog
    assert f"{first.bundle}/page.html" not in catalog
    assert f"{second.bundle}/page.html" in catalog
    kept = ledger.read_ledger(desk.root)[0].records[0].jobs[0]
    assert (kept.bundle, kept.set_aside) == (None, f".set-aside/{first.bundle}")
    assert set(desk.statuses(desk.run()).values()) == {"skipped"}
    assert set_aside(desk.root) == []


def test_a_bundle_of_the_past_that_is_gone_is_noted_as_lost(desk: Desk) -> None:
    first = desk.run().entries[0]
    desk.run(CHANGED)
    shutil.rmtree(desk.root / str(first.bundle))
    assert [p.next_step for p in verify(desk.root)] == [SET_ASIDE]
    assert set_aside(desk.root) == [first.bundle]
    assert ledger.read_ledger(desk.root)[0].records[0].jobs[0].set_aside == "lost"
    assert verify(desk.root) == []


def test_nothing_is_set_aside_while_a_run_publishes(desk: Desk) -> None:
    desk.run()
    with hold_lock(desk.root), pytest.raises(LockHeldError):
        set_aside(desk.root)


def test_half_written_files_are_removed(desk: Desk) -> None:
    page = wholeness.stable_pages(_published(desk))[0]
    halves = [
        desk.root / ".index.html.0123abcd.tmp",
        desk.root / ".runs" / ".000001-20261121T000000Z.json.0123abcd.tmp",
        page.with_name(".bookings.html.0123abcd.tmp"),
    ]
    kept = page.with_name("own.tmp")
    for path in (*halves, kept):
        path.write_text("half")
    (desk.root / ".staging" / "000002-20261121T000000Z").mkdir(parents=True)
    assert recovery.recover(desk.root) == []
    assert not any(path.exists() for path in (*halves, desk.root / ".staging"))
    assert kept.exists()


def test_the_folders_of_a_dead_process_are_removed(desk: Desk, tmp_path: Path) -> None:
    """Only those that a run may have made, and only when the process that noted them is gone."""
    mine, sockets = tmp_path / "tmp" / "so-0123abcd", tmp_path / "tmp" / "pymp-abcd_123"
    foreign, other = tmp_path / "other" / "so-0123abcd", tmp_path / "tmp" / "papers"
    for folder in (mine, sockets, foreign, other):
        (folder / "k").mkdir(parents=True)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for holder, remains in ((os.getpid(), True), (dead.pid, False)):
        lines = [str(holder), *map(str, (mine, sockets, foreign, other))]
        desk.root.mkdir(exist_ok=True)
        (desk.root / ".lock").write_text("\n".join(lines))
        with hold_lock(desk.root):
            assert (mine.exists(), sockets.exists()) == (remains, remains)
    assert foreign.exists()
    assert other.exists()


def _published(desk: Desk) -> Path:
    desk.run()
    return desk.root


@pytest.mark.parametrize("died", ["before the page was marked", "before the record knew the page"])
def test_a_page_whose_failure_is_on_record_is_marked_by_the_next_run(desk: Desk, died: str) -> None:
    """The run died between two steps of a failure: the record first, the banner then."""
    good = desk.run().entries[0]
    page = desk.root / good.address.stable
    before = page.read_bytes()
    failed = desk.run(CHANGED, broken="EMEA")
    marked = page.read_bytes()
    assert before != marked
    page.write_bytes(before)
    record = ledger.read_ledger(desk.root)[0].records[-1]
    update: dict[str, Any] = {"status": "running"}
    if died == "before the record knew the page":
        update["jobs"] = [entry.model_copy(update={"stable": None}) for entry in record.jobs]
    ledger.write_record(desk.root, record.model_copy(update=update))
    # Another report's run finds it.
    desk.run(CHANGED, plan=PLAN.replace("EMEA, ", ""))
    assert page.read_bytes() == marked
    assert failed.run.encode() in marked
    assert verify(desk.root) == []
    assert wholeness.failed_runs(desk.root) == {str(good.address.stable): failed.run}


def test_a_page_that_cannot_be_marked_is_no_page_of_the_record(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = desk.run().entries[0]
    before = (desk.root / good.address.stable).read_bytes()

    def broken(*_arguments: object) -> bytes:
        raise OSError("the bundle cannot be read")

    with monkeypatch.context() as patch:
        patch.setattr(publish, "stale_page", broken)
        result = desk.run(CHANGED, broken="EMEA")
    assert result.exit_code == 1
    assert (desk.root / good.address.stable).read_bytes() == before
    assert verify(desk.root) == []
    desk.run(CHANGED, plan=PLAN.replace("EMEA, ", ""))
    assert result.run.encode() in (desk.root / good.address.stable).read_bytes()


def test_a_stale_page_is_the_page_but_for_its_banner(desk: Desk) -> None:
    good = desk.run().entries[0]
    page = desk.root / good.address.stable
    before = page.read_bytes()
    desk.run(CHANGED, broken="EMEA")
    assert wholeness.BANNER.sub(b"", page.read_bytes(), count=1) == before
    assert wholeness.bundle_of(page) == desk.root / str(good.bundle)
    (desk.root / str(good.bundle) / "tables.xlsx").write_text("x")
    with pytest.raises(AssertionError, match=r"tables\.xlsx"):
        wholeness.bundle_of(page)


def test_a_record_is_json_for_other_tools(desk: Desk) -> None:
    desk.run()
    record = json.loads(next((desk.root / ".runs").glob("*.json")).read_bytes())
    assert (record["status"], [job["manifest"]["status"] for job in record["jobs"]]) == (
        "complete",
        ["success", "success"],
    )
