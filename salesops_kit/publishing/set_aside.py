"""Bundles of the past that were changed after publication, taken out of the reports and out of sight."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from salesops_kit.publishing import files
from salesops_kit.publishing.catalog_pages import write_catalogs
from salesops_kit.publishing.ledger import GOOD, Entry, latest, read_ledger, write_record
from salesops_kit.publishing.lock import hold_lock
from salesops_kit.publishing.verify import entry_problems, is_past

FOLDER = ".set-aside"
LOST = "lost"


def set_aside(root: Path) -> list[str]:
    """Move every changed bundle that a later report has replaced to ``.set-aside``; returns their places.

    Nothing is deleted, and the run's record keeps the entry with a note of where its files went, so
    that the catalog links no page that somebody has edited, and ``verify`` speaks of new changes only.
    A bundle that is gone is noted as lost. The newest report of an address is never set aside: a run
    makes it anew. Raises :class:`~salesops_kit.errors.LockHeldError` while a run publishes.
    """
    with hold_lock(root):
        ledger = read_ledger(root)[0]
        history = latest(ledger.entries())
        moved = []
        for record in ledger.records:
            jobs = []
            for entry in record.jobs:
                is_good = entry.manifest.status == GOOD and is_past(entry, history[entry.address])
                if is_good and entry_problems(root, entry, is_newest=False):
                    moved.append(str(entry.bundle))
                    entry = _moved(root, entry)
                jobs.append(entry)
            if jobs != record.jobs:
                write_record(root, record.model_copy(update={"jobs": jobs}))
        if moved:
            locale = list(ledger.entries())[-1].manifest.locale
            write_catalogs(root, read_ledger(root)[0], locale=locale)
        return moved


def _moved(root: Path, entry: Entry) -> Entry:
    assert entry.bundle is not None
    source = root / entry.bundle
    target = PurePosixPath(FOLDER, entry.bundle)
    if source.is_dir() and not source.is_symlink():
        # What was private stays so, and what was not is nobody's to read any more.
        files.make_folder(root, target.parent, private=True)
        source.rename(root / target)
        files.sync_folder(source.parent)
    # A folder that is there already was moved by a call that died before it could say so.
    place = target.as_posix() if (root / target).is_dir() else LOST
    return entry.model_copy(update={"bundle": None, "manifest_sha256": None, "set_aside": place})
