"""Where a run keeps temporary files: in folders that are gone when it is, however it ended."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.util import get_temp_dir
from pathlib import Path

import psutil

LONGEST_PLACE = 58  # A socket's path may have 103 characters on macOS, and there are folders between.
SHORT_PLACE = Path("/tmp")  # noqa: S108
_NAME = re.compile(r"so-[0-9a-f]{8}|pymp-\w{8}")


@contextmanager
def temporary_files_in(folder: str) -> Iterator[None]:
    """Let this process and those that it starts keep temporary files in ``folder``; with an empty name,
    where they are kept anyway."""
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    if folder:
        tempfile.tempdir = os.environ["TMPDIR"] = folder
    try:
        yield
    finally:
        tempfile.tempdir = before[0]
        os.environ.pop("TMPDIR", None)
        if before[1] is not None:
            os.environ["TMPDIR"] = before[1]


def short_place(*, spare: int = 0) -> Path:
    """The folder of temporary files, or a shorter one where sockets would have too long a path in it.

    ``spare`` is the length that folders below it will add.
    """
    place = Path(tempfile.gettempdir())
    is_long = len(str(place)) + spare > LONGEST_PLACE
    return SHORT_PLACE if is_long and sys.platform != "win32" else place


@contextmanager
def own_folder(note: Callable[[Sequence[Path]], None]) -> Iterator[Path]:
    """A new 0700 folder for the block, short enough to hold sockets.

    ``note`` is told of it before it is there, and of the folder where multiprocessing has its sockets
    until this process ends, so that :func:`remove_left` finds both when this one is killed.
    """
    name = f"so-{secrets.token_hex(4)}"
    place = short_place(spare=len(name) + 1)
    folder = place / name
    with temporary_files_in(str(place)):
        sockets = Path(get_temp_dir())
    note([folder, sockets])
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left(holder: int, noted: Sequence[str]) -> None:
    """Remove the folders that process ``holder`` noted, if it is gone and if a run can have made them."""
    if psutil.pid_exists(holder):
        return
    places = (Path(tempfile.gettempdir()), SHORT_PLACE)
    for folder in map(Path, noted):
        is_ours = _NAME.fullmatch(folder.name) and folder.parent in places
        if is_ours and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
