"""The lock that lets one run at a time publish into a reports folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from salesops_kit.errors import LockHeldError
from salesops_kit.publishing.files import FILE_MODE, make_folder
from salesops_kit.publishing.paths import LOCK, check_inside

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def hold_lock(root: Path) -> Iterator[None]:
    """Hold the lock of a reports folder; raises :class:`LockHeldError` when another run has it.

    The system releases the lock when its holder dies, so that a stale lock file stops nobody.
    """
    make_folder(root, PurePosixPath())
    check_inside(root, PurePosixPath(LOCK))
    path = root / LOCK
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), FILE_MODE)
    try:
        try:
            _take(descriptor)
        except OSError:
            holder = _holder(path)
            raise LockHeldError(
                f"{path}: another run{holder} is publishing here. Wait for it to end, or publish elsewhere."
            ) from None
        if sys.platform != "win32":
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)


def _holder(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return f" (process {text})" if text.isdigit() else ""
