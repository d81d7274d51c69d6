"""Where a run keeps temporary files: in folders that are gone when it is, however it ended."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.util import get_temp_dir
from pathlib import Path

NOTE = "temporary"
LONGEST_PLACE = 55  # A socket's path may have 103 characters on macOS, and there are folders between.
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


@contextmanager
def own_folder(staging: Path) -> Iterator[Path]:
    """A new 0700 folder for the block, short enough to hold sockets.

    ``staging`` holds a note of it before it is there, and of the folder where multiprocessing has its
    own sockets, so that :func:`remove_noted` of the next run finds both when this one is killed.
    """
    place = Path(tempfile.gettempdir())
    if len(str(place)) > LONGEST_PLACE and sys.platform != "win32":
        place = SHORT_PLACE
    folder = place / f"so-{secrets.token_hex(4)}"
    (staging / NOTE).write_text(f"{folder}\n{get_temp_dir()}", encoding="utf-8")
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_noted(staging_root: Path) -> None:
    """Remove the folders that are noted in the staging areas of dead runs, if a run can have made them."""
    places = (Path(tempfile.gettempdir()), SHORT_PLACE)
    for note in staging_root.glob(f"*/{NOTE}"):
        for line in note.read_text(encoding="utf-8", errors="replace").splitlines():
            folder = Path(line)
            is_ours = _NAME.fullmatch(folder.name) and folder.parent in places
            if is_ours and not folder.is_symlink() and line != str(get_temp_dir()):
                shutil.rmtree(folder, ignore_errors=True)
