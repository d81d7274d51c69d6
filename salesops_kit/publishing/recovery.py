"""What a run that died left behind, put right before the next one begins."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from salesops_kit.errors import Problem
from salesops_kit.publishing import files, publish
from salesops_kit.publishing.ledger import (
    BAD,
    GOOD,
    Entry,
    RunRecord,
    bundles,
    entry_of_bundle,
    latest,
    read_ledger,
    write_record,
)
from salesops_kit.publishing.paths import AREAS, RUNS, STAGING, check_inside, started_at

_HALF_WRITTEN = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")


def recover(root: Path, allowed_links: Sequence[str] = ()) -> list[Problem]:
    """Put right what a dead run left behind. Call it under the lock.

    Staged work and half-written files are removed. A record that says
    ``running`` belongs to a dead run: its published bundles are entered, its unpublished ones removed.
    A record that is lost or cut short is rebuilt from its bundles' manifests; the failures it held are
    lost with it, which the returned problems say. A last good page whose later failure was recorded,
    and which was not marked any more, is marked now.
    """
    check_inside(root, PurePosixPath(STAGING))
    shutil.rmtree(root / STAGING, ignore_errors=True)
    for path in _half_written(root):
        path.unlink(missing_ok=True)
    problems = _mend_records(root)
    _mend_pages(root, allowed_links)
    return problems


def _half_written(root: Path) -> Iterator[Path]:
    """Files of ``files.replace_file`` that never got their name, wherever it is used."""
    folders = [root, root / RUNS]
    for area in AREAS:
        if not (root / area).is_symlink():
            folders += [*(root / area).glob("*"), *(root / area).glob("*/*")]
    for folder in folders:
        for path in folder.glob(".*.tmp") if folder.is_dir() and not folder.is_symlink() else ():
            if _HALF_WRITTEN.fullmatch(path.name):
                yield path


def _mend_records(root: Path) -> list[Problem]:
    ledger, problems = read_ledger(root)
    known = {record.run: record for record in ledger.records}
    found: dict[str, list[Path]] = {}
    for path in bundles(root):
        found.setdefault(path.name, []).append(path)
    broken = {PurePosixPath(problem.file or "").stem for problem in problems}
    for run in sorted({*found, *known, *broken}):
        record = known.get(run)
        if record is not None and record.status != "running":
            continue
        listed = {entry.bundle for entry in record.jobs if entry.bundle} if record else set()
        entries = list(record.jobs) if record else []
        for path in found.get(run, []):
            place = path.relative_to(root).as_posix()
            if place in listed:
                continue
            entry = entry_of_bundle(root, path)
            if entry is not None and (record is None or _is_on_page(root, entry)):
                entries.append(entry)
            elif record is not None:
                shutil.rmtree(path)
            else:
                problems.append(Problem("the bundle has no readable manifest", file=place))
        write_record(root, _mended(run, record, entries))
    return problems


def _mended(run: str, record: RunRecord | None, entries: list[Entry]) -> RunRecord:
    if record is not None:
        return record.model_copy(update={"status": "interrupted", "jobs": entries})
    seq, started = int(run.partition("-")[0]), started_at(run).isoformat()
    return RunRecord(seq=seq, run=run, status="rebuilt", started_at=started, plan="", jobs=entries)


def _is_on_page(root: Path, entry: Entry) -> bool:
    """Whether the stable page is the one that the entry wrote."""
    if entry.stable is None:
        return False
    page = root / entry.stable.path
    return page.is_file() and files.digest(page) == entry.stable.sha256


def _mend_pages(root: Path, allowed_links: Sequence[str]) -> None:
    """Mark the pages of reports that failed last and are still shown without a word about it."""
    ledger, _problems = read_ledger(root)
    records = {record.run: record for record in ledger.records}
    for entries in latest(ledger.entries()).values():
        tried = [entry for entry in entries if entry.manifest.status != "skipped"]
        good = next((entry for entry in reversed(tried) if entry.manifest.status == GOOD), None)
        if good is None or tried[-1].manifest.status not in BAD or _is_on_page(root, tried[-1]):
            continue
        written = [entry for entry in tried[:-1] if entry.stable]
        if written and _is_on_page(root, written[-1]):
            _mark(root, records, tried[-1], good, allowed_links)


def _mark(
    root: Path, records: dict[str, RunRecord], failed: Entry, good: Entry, allowed_links: Sequence[str]
) -> None:
    try:
        page = publish.stale_page(root, good, failed.manifest, allowed_links)
    except (OSError, ValueError):
        page = b""
    stable = publish.stable_file(failed.address, page) if page else None
    if stable != failed.stable:
        run = failed.manifest.run
        jobs = [
            entry.model_copy(update={"stable": stable}) if entry.address == failed.address else entry
            for entry in records[run].jobs
        ]
        records[run] = records[run].model_copy(update={"jobs": jobs})
        write_record(root, records[run])
    if page:
        files.replace_file(root / failed.address.stable, page, private=failed.address.is_private)
