"""Whatever cannot be written, old reports stay as they were, and the next run makes up for it."""

from __future__ import annotations

import ctypes
import datetime as dt
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from salesops_kit.errors import SalesOpsError
from salesops_kit.publishing import files, schedule, worker
from salesops_kit.publishing.plan_file import parse_plan
from salesops_kit.publishing.run import RunResult, run
from salesops_kit.publishing.verify import verify
from tests.publishing import wholeness
from tests.publishing.inline import Inline, Remembered
from tests.publishing.kit import DEALS, TinyPreparer, short_folder, templates_in, write_template

PLAN = parse_plan("{data: sample, reports: bookings, teams: EMEA}")
NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
NEW_DEALS = (*DEALS, ("EMEA", "2026-Q3", 1.0))
PAGE = "leaders/2026-Q3/emea-{}/bookings.html"


class Desk:
    """A published report, and runs that would publish the next one."""

    def __init__(self, base: Path, remembered: Remembered) -> None:
        self.base, self.remembered = base, remembered
        self.temporary = base / "tmp"
        self.temporary.mkdir()
        write_template(base / "t", "bookings")
        assert self.run(base / "published", TinyPreparer()).exit_code == 0
        self.page = wholeness.stable_pages(base / "published")[0].relative_to(base / "published")
        assert self.run(base / "published", TinyPreparer(NEW_DEALS), dry_run=True).exit_code == 0

    def run(self, root: Path, preparer: TinyPreparer | None = None, **options: Any) -> RunResult:
        with self.remembered.in_use():
            return run(
                PLAN,
                preparer or TinyPreparer(NEW_DEALS),
                reports_root=root,
                templates=templates_in(self.base / "t"),
                now=lambda: NOW,
                make_executor=Inline,
                **options,
            )

    def copy(self, root: Path) -> Path:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.base / "published", root)
        return root

    def bundle_files(self, root: Path) -> dict[str, bytes]:
        """The files of the first run's bundle."""
        return {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in sorted(root.glob("leaders/*/*/bookings/000001-*/**/*"))
            if path.is_file()
        }

    def check_after_a_failure(self, root: Path) -> str:
        """Old files identical, the page whole; returns which page is shown."""
        assert self.bundle_files(root) == self.bundle_files(self.base / "published")
        made = wholeness.check_pages(root)
        assert list(made) == [self.page.as_posix()]
        is_stale = bool(wholeness.BANNER.search((root / self.page).read_bytes()))
        return "stale" if is_stale else "old" if made[self.page.as_posix()].startswith("000001-") else "new"

    def check_after_a_retry(self, root: Path) -> None:
        result = self.run(root)
        assert result.exit_code == 0, result.failures
        assert wholeness.check_pages(root)[self.page.as_posix()] != "000001-20261121T000000Z"
        assert not wholeness.BANNER.search((root / self.page).read_bytes())
        assert verify(root) == []
        assert wholeness.leftovers(root, self.temporary) == []
        again = self.run(root)
        assert [entry.manifest.status for entry in again.entries] == ["skipped"]


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with short_folder() as base, pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(base / "tmp"))
        # With one sentinel, one clock and one number, a page is the same each time and rendered once.
        patch.setattr(schedule, "secrets", SimpleNamespace(token_hex=lambda size: "5e" * size))
        yield Desk(base, Remembered())


class Writes:
    """Counts what changes the disk, and lets one of it fail."""

    def __init__(self, failing: int = 0) -> None:
        self.failing, self.count = failing, 0
        self.failed = ""

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            self.count += 1
            if self.count == self.failing:
                self.failed = f"{name} {args[0]}"
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **options)

        return call

    @contextmanager
    def watched(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("mkdir", "rename", "replace", "fsync", "fchmod", "chmod", "ftruncate", "pwrite"):
                patch.setattr(os, name, self._counted(name, getattr(os, name)))
            open_one = os.open
            counted = self._counted("open", open_one)

            def opened(path: Any, flags: int, *args: Any, **options: Any) -> int:
                is_write = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
                return (counted if is_write else open_one)(path, flags, *args, **options)

            patch.setattr(os, "open", opened)
            yield


def test_every_write_that_fails_leaves_the_old_report_and_a_way_on(desk: Desk, tmp_path: Path) -> None:
    """Each of the writes of a run fails in turn."""
    root = tmp_path / "reports"
    every = Writes()
    desk.copy(root)
    with every.watched():
        assert desk.run(root).exit_code == 0
    assert every.count > 50
    shown: dict[str, int] = {}
    for number in range(1, every.count + 1):
        desk.copy(root)
        writes = Writes(failing=number)
        with writes.watched(), suppress(SalesOpsError):
            desk.run(root)
        assert writes.failed, number
        page = desk.check_after_a_failure(root)
        shown[page] = shown.get(page, 0) + 1
        desk.check_after_a_retry(root)
    assert set(shown) == {"old", "stale", "new"}, shown


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", str(folder)]
    if sys.platform != "linux" or shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root on Linux may mount a small disk")
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_in_any_phase_loses_nothing(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a real small disk that has less and less room left, each phase meets the end of it (not the
    catalog, which has the room that the staged files leave)."""
    failed: list[Path] = []
    real = files.write_file

    def noted(path: Path, content: bytes, *, private: bool = False) -> None:
        try:
            real(path, content, private=private)
        except OSError:
            failed.append(path)
            raise

    monkeypatch.setattr(files, "write_file", noted)
    monkeypatch.setattr(worker, "write_file", noted)
    met: set[str] = set()
    with small_disk(tmp_path / "disk", 2_000) as disk:
        root = disk / "reports"
        for room in range(0, 400, 4):
            desk.copy(root)
            filler = disk / "filler"
            _fill(filler, room)
            failed.clear()
            code = None
            with suppress(SalesOpsError):
                code = desk.run(root).exit_code
            filler.unlink()
            desk.check_after_a_failure(root)
            if code == 0:
                break
            met.add(_phase(failed[0].relative_to(root)) if failed else "folder")
            desk.check_after_a_retry(root)
        else:
            pytest.fail("the run never had enough room")
    assert met >= {"ledger", "notebook", "page", "spreadsheet", "stable page", "manifest"}, met


def _fill(filler: Path, room: int) -> None:
    """Fill the disk but for so many kilobytes."""
    with filler.open("wb", buffering=0) as stream, suppress(OSError):
        while stream.write(bytes(4096)) == 4096:
            pass
    os.truncate(filler, max(0, filler.stat().st_size // 4096 * 4096 - room * 1024))


def _phase(path: Path) -> str:
    if path.parts[0] == ".runs":
        return "ledger"
    phases = {"notebook.ipynb": "notebook", "page.html": "page", "stable.html": "stable page"}
    if path.name in phases:
        return phases[path.name]
    if path.suffix in (".csv", ".xlsx"):
        return "spreadsheet"
    return "manifest" if path.name == "manifest.json" else "catalog" if len(path.parts) == 1 else "stale page"


def test_a_read_only_disk_loses_nothing(desk: Desk, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 2_000) as disk:
        root = desk.copy(disk / "reports")
        remount = ["mount", "-o", "remount,{}", str(disk)]
        subprocess.run([part.format("ro") for part in remount], check=True)
        with pytest.raises(SalesOpsError, match=r"broke off: .*Read-only.*run the plan"):
            desk.run(root)
        assert desk.check_after_a_failure(root) == "old"
        subprocess.run([part.format("rw") for part in remount], check=True)
        desk.check_after_a_retry(root)


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    ]


@contextmanager
def no_superuser() -> Iterator[None]:
    """Root without the right to write what is not writable (CAP_DAC_OVERRIDE), in this thread."""
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("root may write everything here")
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = _Header(0x20080522, 0), (_Data * 2)()
    if libc.capget(ctypes.byref(header), data):
        pytest.skip("root's rights cannot be told here")
    before = data[0].effective
    data[0].effective = before & ~(1 << 1)
    assert libc.capset(ctypes.byref(header), data) == 0
    try:
        yield
    finally:
        data[0].effective = before
        assert libc.capset(ctypes.byref(header), data) == 0


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
@pytest.mark.parametrize(
    "folder", [".", "leaders", "leaders/2026-Q3/{scope}", "leaders/2026-Q3/{scope}/bookings"]
)
def test_a_folder_without_permission_loses_nothing(desk: Desk, tmp_path: Path, folder: str) -> None:
    root = desk.copy(tmp_path / "reports")
    closed = root / folder.format(scope=desk.page.parent.name)
    mode = closed.stat().st_mode
    with no_superuser():
        closed.chmod(0o555)
        try:
            code = None
            with suppress(SalesOpsError):
                code = desk.run(root).exit_code
        finally:
            closed.chmod(mode)
    assert code != 0 or folder == "leaders"
    desk.check_after_a_failure(root)
    if code != 0:
        desk.check_after_a_retry(root)
