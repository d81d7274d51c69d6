"""What stands in a run's way is refused before a kernel starts; what a run makes has the modes it should."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from salesops_kit.errors import InputError
from salesops_kit.publishing import recovery
from salesops_kit.publishing.verify import REBUILD, REMOVE, verify
from tests.publishing.desk import Desk
from tests.publishing.kit import write_template

posix = pytest.mark.skipif(os.name != "posix", reason="links and modes are POSIX")


def page_of(desk: Desk) -> Path:
    return next(desk.root.glob("leaders/2026-Q3/emea-*/bookings.html"))


@posix
@pytest.mark.parametrize("place", ["index.html", ".runs", "page"])
def test_a_link_where_a_run_will_write_is_refused_before_it_begins(
    desk: Desk, tmp_path: Path, place: str
) -> None:
    desk.run()
    target = page_of(desk) if place == "page" else desk.root / place
    kept = tmp_path / "kept"
    target.rename(kept)
    target.symlink_to(kept)
    with pytest.raises(InputError, match="symbolic link"):
        desk.run()
    assert place == ".runs" or all(problem.next_step for problem in verify(desk.root))


def test_all_that_is_in_the_way_is_said_at_once_and_how_to_go_on(desk: Desk, tmp_path: Path) -> None:
    desk.run()
    page, index = page_of(desk), desk.root / "index.html"
    for path in (page, index):
        path.unlink()
        path.mkdir()
    other = next(desk.root.glob("leaders/2026-Q3/apac-*"))
    other.rename(tmp_path / "other")
    other.write_text("a file")
    with pytest.raises(InputError) as refused:
        desk.run()
    said = {Path(str(problem.file)).name: problem for problem in refused.value.problems}
    assert {page.name, index.name, other.name} <= set(said)
    assert {problem.next_step for problem in said.values()} == {REMOVE}
    for found in verify(desk.root):
        if found.file in ("index.html", page.relative_to(desk.root).as_posix()):
            assert str(found.next_step).startswith(REMOVE)
    for path in (page, index):
        path.rmdir()
    other.unlink()
    (tmp_path / "other").rename(other)
    assert desk.run().exit_code == 0
    assert verify(desk.root) == []


def test_a_lost_catalog_is_said(desk: Desk) -> None:
    desk.run()
    (desk.root / "index.html").unlink()
    assert [(p.what, p.file) for p in verify(desk.root)] == [("the catalog is missing", "index.html")]
    desk.run()
    assert verify(desk.root) == []


def test_nobody_is_told_to_remove_reports_of_which_only_the_record_is_lost(desk: Desk) -> None:
    desk.run()
    stray = desk.root / "leaders" / "stray.html"
    stray.write_text("whose?")
    for record in (desk.root / ".runs").glob("*.json"):
        record.unlink()
    steps = {problem.file: problem.next_step for problem in verify(desk.root)}
    assert steps.pop("leaders/stray.html") == REMOVE
    assert set(steps.values()) == {REBUILD}
    assert len(steps) == 4
    stray.unlink()
    assert desk.run().exit_code == 0
    assert verify(desk.root) == []


@pytest.mark.parametrize("place", [".runs/000007-20269922T211537Z.json", "bundle"])
def test_a_name_that_only_looks_like_a_runs_stops_none(desk: Desk, place: str) -> None:
    desk.run()
    if place == "bundle":
        (page_of(desk).with_suffix("") / "000010-20269922T211537Z").mkdir()
    else:
        (desk.root / place).write_text("{}")
    assert recovery.recover(desk.root) == []
    assert desk.run().exit_code == 0


@posix
def test_what_is_no_file_among_the_records_holds_nobody_up(desk: Desk) -> None:
    desk.run()
    os.mkfifo(desk.root / ".runs" / "000007-20261122T211537Z.json")
    (desk.root / ".runs" / "000008-20261122T211537Z.json").mkdir()
    assert verify(desk.root) == []
    (desk.root / ".lock").write_text("9" * 5000)
    assert desk.run().exit_code == 0


@posix
@pytest.mark.parametrize("mask", [0o077, 0o000])
def test_modes_are_those_of_the_kit_whatever_the_process_takes_away(desk: Desk, mask: int) -> None:
    write_template(desk.templates, "pay", audience="private")
    before = os.umask(mask)
    try:
        desk.run(plan="{data: sample, reports: [bookings, pay], teams: EMEA}")
    finally:
        os.umask(before)
    for path in (desk.root, *(desk.root / "leaders").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path
    for path in ((desk.root / "private"), *(desk.root / "private").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_files_that_a_notebook_puts_among_those_to_be_published_are_not(desk: Desk) -> None:
    planted = (
        "import os\nfolder = os.path.join(os.path.dirname(os.getcwd()), 'bundle')\n"
        "os.makedirs(folder)\nopen(os.path.join(folder, 'more.html'), 'w').write('<script>')"
    )
    write_template(desk.templates, "bookings", planted)
    result = desk.run()
    assert {e.manifest.error.name for e in result.entries if e.manifest.error} == {"WroteElsewhere"}
    assert not list(desk.root.rglob("more.html"))
