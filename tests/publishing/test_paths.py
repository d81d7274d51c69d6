"""Hostile names stay inside the reports folder, private files are private, nothing follows a link."""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesops_kit.errors import InputError
from salesops_kit.publishing.files import make_folder, replace_file, write_file
from salesops_kit.publishing.paths import (
    Address,
    check_inside,
    collisions,
    is_run_id,
    quarter_folder,
    relative_link,
    scope_folder,
)

PIECES = ["../", "..\\", "/etc/", "CON", "aux.txt", "{x.__class__}", "-rf", "\u7532" * 86, "EMEA", "emea"]
PIECES += ["a\0b", "<script>", "'; DROP", "%2e%2e%2f", ".", "..", "~", "$(id)", "a\nb", "\u202egnp"]
HOSTILE = [a + b for a in PIECES for b in ("", *PIECES[:9])]


def test_two_hundred_hostile_names_are_short_safe_and_distinct() -> None:
    names = list(dict.fromkeys(HOSTILE))
    assert len(names) >= 190
    folders = [scope_folder(name) for name in names]
    assert all(
        len(folder) <= 47 and folder.replace("-", "").isalnum() and folder.isascii() for folder in folders
    )
    assert not any(folder.startswith("-") for folder in folders)
    assert len({folder.casefold() for folder in folders}) == len(names)
    assert collisions(names) == []


@given(st.text(), st.text())
def test_two_names_share_a_folder_only_when_they_are_canonically_equal(one: str, two: str) -> None:
    equal = unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", two)
    assert (scope_folder(one) == scope_folder(two)) is equal


@given(st.text(max_size=30), st.text(max_size=30))
def test_every_address_is_inside(scope: str, quarter: str) -> None:
    for audience in ("leaders", "teams", "private"):
        stable = Address(audience, quarter_folder(quarter), scope_folder(scope), "funnel").stable
        assert not stable.is_absolute()
        assert len(stable.parts) == 4
        assert set(stable.parts).isdisjoint({"..", "."})


def test_layout() -> None:
    leaders = Address("leaders", "2026-Q3", "company", "funnel")
    assert leaders.bundle("000001-20260101T000000Z") == PurePosixPath(
        "leaders/2026-Q3/company/funnel/000001-20260101T000000Z"
    )
    assert Address("teams", "2026-Q3", "x-1", "funnel").stable == PurePosixPath(
        "teams/x-1/2026-Q3/funnel.html"
    )
    link = relative_link(leaders.bundle("000001-20260101T000000Z"), leaders.stable)
    assert link == "funnel/000001-20260101T000000Z"
    assert (quarter_folder("2026-Q3"), quarter_folder("")) == ("2026-Q3", "all-time")
    assert quarter_folder("../x") == scope_folder("../x")


def test_letters_written_twice_are_found() -> None:
    assert len(collisions(["Caf\u00e9", "Cafe\u0301", "Cafe"])) == 1
    assert collisions(["EMEA", "emea", "EMEA"]) == []


def test_run_ids() -> None:
    assert is_run_id("000042-20261121T231500Z")
    assert not any(map(is_run_id, ["42-20261121T231500Z", "000042-20261121T231500Z.", "../000042", ""]))


def test_symbolic_links_are_refused(tmp_path: Path) -> None:
    root, outside = tmp_path / "reports", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "leaders").symlink_to(outside)
    with pytest.raises(InputError, match="symbolic link"):
        make_folder(root, PurePosixPath("leaders/2026-Q3"))
    (tmp_path / "linked").symlink_to(root)
    with pytest.raises(InputError, match="symbolic link"):
        make_folder(tmp_path / "linked", PurePosixPath("teams"))
    for path in ("../x", "/etc"):
        with pytest.raises(InputError, match="leaves"):
            check_inside(root, PurePosixPath(path))
    assert list(outside.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_private_modes_hold_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = make_folder(tmp_path, PurePosixPath("private/r1"), private=True)
        write_file(folder / "a", b"x", private=True)
        replace_file(folder / "a", b"y", private=True)
        write_file(folder / "b", b"x")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"private": 0o700, "r1": 0o700, "a": 0o600, "b": 0o644}


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_file_asked_for_by_name_has_the_mode_of_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        replace_file(tmp_path / "fixes.xlsx", b"x", private=None)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "fixes.xlsx").stat().st_mode) == mode


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "page.html"
    replace_file(target, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
