"""Durable writes: to a temporary file, synced, renamed, and the folder synced."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path, PurePosixPath

from salesops_kit.publishing.paths import check_inside

FOLDER_MODE, FILE_MODE = 0o755, 0o644
PRIVATE_FOLDER_MODE, PRIVATE_FILE_MODE = 0o700, 0o600
_BEFORE_UMASK = 0o666

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)


def make_folder(root: Path, relative: PurePosixPath, *, private: bool = False) -> Path:
    """The folder under ``root``, made when missing; with ``private`` every part but ``root`` is 0700.

    Raises :class:`~salesops_kit.errors.InputError` where a symbolic link is in the way.
    """
    check_inside(root, relative)
    _make_root(root)
    here = root
    for part in relative.parts:
        here = here / part
        if not here.exists():
            _make(here, PRIVATE_FOLDER_MODE if private else FOLDER_MODE)
            sync_folder(here.parent)
        if private:
            here.chmod(PRIVATE_FOLDER_MODE)
    return here


def _make_root(root: Path) -> None:
    """Make a reports folder and those above it that are missing."""
    if not root.exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            _make(root, FOLDER_MODE)


def _make(folder: Path, mode: int) -> None:
    """A folder of this very mode, whatever the process takes from the modes of what it makes."""
    folder.mkdir(mode=PRIVATE_FOLDER_MODE)
    folder.chmod(mode)


def write_file(path: Path, content: bytes, *, private: bool | None = False) -> None:
    """Write a new file, with its mode set on the descriptor before the first byte, and sync it.

    ``private`` is None for a file that somebody asked for by name: its mode is left to their umask.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY
    descriptor = os.open(path, flags, PRIVATE_FILE_MODE if private is not None else _BEFORE_UMASK)
    with os.fdopen(descriptor, "wb") as stream:
        if private is not None and hasattr(os, "fchmod"):
            os.fchmod(stream.fileno(), PRIVATE_FILE_MODE if private else FILE_MODE)
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def replace_file(path: Path, content: bytes, *, private: bool | None = False) -> None:
    """Write or overwrite ``path`` in one step: a reader sees the old content or the new, whole."""
    temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(4)}.tmp")
    try:
        write_file(temporary, content, private=private)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` durable, where the system can sync a folder."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move_folder(source: Path, target: Path) -> None:
    """Move a finished folder to its place, with every folder in it synced before."""
    for folder, _, _ in os.walk(source):
        sync_folder(Path(folder))
    source.rename(target)
    sync_folder(target.parent)


def digest(path: Path) -> str:
    """The sha256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
