"""Where snapshots lie on disk: built in a scratch folder, moved into place whole, archived for good."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from salesops_kit.data.contracts import TABLES
from salesops_kit.data.snapshot import SCHEMA, Snapshot, from_json
from salesops_kit.settings import Settings

SNAPSHOT_FILE = "snapshot.json"
SCRATCH = ".salesops-"
OBJECTS, SNAPSHOTS = "objects", "snapshots"
ATTEMPTS = 3


@contextmanager
def scratch_folder(near: Path | None = None) -> Iterator[Path]:
    """A private temporary folder, removed at the end; ``near`` puts it on that folder's disk, where what
    killed processes left is removed too."""
    for left in near.glob(f"{SCRATCH}*-*") if near else ():
        if not _is_running(left.name.removeprefix(SCRATCH).partition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-", dir=near))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_running(pid: str) -> bool:
    # Signal 0 would end the process on Windows.
    if not pid.isdecimal() or os.name == "nt":
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def fingerprint(files: Sequence[Path], settings: Settings) -> str:
    """What tells that a folder of files was imported before: names, sizes, times, settings, contracts."""
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files)]
    contracts = {
        name: [(c.name, c.type, c.nullable) for c in t.columns.values()] for name, t in TABLES.items()
    }
    text = json.dumps([SCHEMA, stats, settings.model_dump(mode="json"), contracts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_folder(snapshot: Snapshot, built: Path, out: Path) -> Snapshot:
    """Put a built snapshot in the place of ``out`` as ``<table>.parquet`` files and ``snapshot.json``.

    The folder is complete before it takes its name; what stood there before is kept until then, and found
    again by :func:`restore` where the process ends in between.
    """
    _write_text(built / SNAPSHOT_FILE, snapshot.to_json())
    former = _former(out)
    for attempt in range(ATTEMPTS):
        if out.exists():
            shutil.rmtree(former, ignore_errors=True)
            out.replace(former)
        try:
            built.replace(out)
        except OSError:
            restore(out)
            # A reader may have restored it in between.
            if attempt == ATTEMPTS - 1:
                raise
        else:
            break
    shutil.rmtree(former, ignore_errors=True)
    return from_json(snapshot.to_json(), {name: out / f"{name}.parquet" for name in snapshot.tables})


def restore(out: Path) -> None:
    """Bring a dataset's folder back that a process which was killed had taken away to replace it."""
    former = _former(out)
    if former.is_dir() and not out.exists():
        former.replace(out)


def _former(out: Path) -> Path:
    return out.with_name(f".{out.name}.former")


def archive(snapshot: Snapshot, root: Path) -> Snapshot:
    """Store a built snapshot in an archive folder; objects that it holds already are shared."""
    objects, snapshots = root / OBJECTS, root / SNAPSHOTS
    objects.mkdir(parents=True, exist_ok=True)
    snapshots.mkdir(exist_ok=True)
    for left in (*objects.glob(".*"), *snapshots.glob(".*")):
        if not _is_running(left.name.rpartition(".")[2]):
            left.unlink(missing_ok=True)
    paths = _objects(root, snapshot)
    for name, path in paths.items():
        if not path.exists():
            partial = objects / f".{path.stem}.{os.getpid()}"
            shutil.copyfile(snapshot.paths[name], partial)
            partial.replace(path)
    seq = max((int(file.stem) for file in snapshots.glob("*.json")), default=0)
    while True:
        seq += 1
        numbered = replace(snapshot, seq=seq, paths=paths)
        partial = snapshots / f".{seq:06d}.{os.getpid()}"
        _write_text(partial, numbered.to_json())
        try:
            os.link(partial, snapshots / f"{seq:06d}.json")
        except FileExistsError:
            continue
        finally:
            partial.unlink()
        return numbered


def last_archived(root: Path, name: str) -> Snapshot | None:
    """The newest archived snapshot of the dataset that has this name in its settings."""
    return next((found for found in archived(root) if found.settings.name == name), None)


def find_archived(root: Path, fingerprint: str) -> Snapshot | None:
    """The newest archived snapshot of the same files and settings, when its objects are all there."""
    same = (found for found in archived(root) if found.fingerprint == fingerprint and is_whole(found))
    return next(same, None)


def archived(root: Path) -> Iterator[Snapshot]:
    """The archived snapshots that can be read, the newest first; their objects need not be there."""
    for file in sorted((root / SNAPSHOTS).glob("*.json"), reverse=True):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = from_json(file.read_text(encoding="utf-8"))
            yield replace(found, paths=_objects(root, found))


def is_whole(snapshot: Snapshot) -> bool:
    """Whether the files of all its tables are there."""
    return all(path.is_file() for path in snapshot.paths.values())


def _objects(root: Path, snapshot: Snapshot) -> dict[str, Path]:
    return {name: root / OBJECTS / f"{stored.sha256}.parquet" for name, stored in snapshot.tables.items()}


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
