"""The lock that lets one run at a time publish into a reports folder."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from salesops_kit.errors import LockHeldError
from salesops_kit.publishing.files import FILE_MODE, make_folder
from salesops_kit.publishing.paths import LOCK, check_inside
from salesops_kit.publishing.temporary import remove_left

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@dataclass(frozen=True)
class Lock:
    """A lock that is held; its file names the holder, and the folders that it keeps elsewhere."""

    descriptor: int

    def note(self, folders: Sequence[Path] = ()) -> None:
        """Write down who holds the lock and which temporary folders go with it."""
        if sys.platform == "win32":  # Locked bytes cannot be read by others there.
            return
        content = "\n".join([str(os.getpid()), *map(str, folders)]).encode("utf-8", "surrogateescape")
        os.pwrite(self.descriptor, content, 0)
        os.ftruncate(self.descriptor, len(content))


@contextmanager
def hold_lock(root: Path) -> Iterator[Lock]:
    """Hold the lock of a reports folder; raises :class:`LockHeldError` when another run has it.

    The system releases the lock when its holder dies, so that a stale lock file stops nobody. What the
    last holder noted and could not remove is removed.
    """
    make_folder(root, PurePosixPath())
    check_inside(root, PurePosixPath(LOCK))
    path = root / LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), FILE_MODE)
    try:
        holder, _noted = _read(path)
        try:
            _take(descriptor)
        except OSError:
            who = f" (process {holder})" if holder else ""
            raise LockHeldError(
                f"{path}: another run{who} is publishing here. Wait for it to end, or publish elsewhere."
            ) from None
        holder, noted = _read(path)
        if holder:
            remove_left(holder, noted)
        lock = Lock(descriptor)
        lock.note()
        yield lock
    finally:
        os.close(descriptor)


def _read(path: Path) -> tuple[int, list[str]]:
    """The process and the folders that a lock file names; 0 when it names none."""
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return 0, []
    is_process = bool(lines) and re.fullmatch(r"[0-9]{1,10}", lines[0]) is not None
    return (int(lines[0]), lines[1:]) if is_process else (0, [])
