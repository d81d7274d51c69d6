"""What every run did, kept one file per run and rebuilt from the bundles where such a file is lost."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from salesops_kit.errors import Problem
from salesops_kit.publishing import files
from salesops_kit.publishing.manifest import SCHEMA, Manifest, PublishedFile
from salesops_kit.publishing.paths import (
    AREAS,
    RUNS,
    Address,
    is_run_id,
    quarter_folder,
    scope_folder,
)

MANIFEST_FILE = "manifest.json"
GOOD = "success"
BAD = ("failed", "timeout", "killed")


class Entry(BaseModel):
    """One report of one run: its manifest, where its bundle is, and the stable page as it was written.

    ``bundle`` and ``stable.path`` are relative to the reports folder; a report that was not published
    has no bundle, and a stable page only where the last good one was written again with a banner.
    ``set_aside`` says what became of a bundle of the past that was changed after it was published.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    manifest: Manifest
    title: str
    bundle: str | None = None
    manifest_sha256: str | None = None
    stable: PublishedFile | None = None
    set_aside: str = ""

    @property
    def address(self) -> Address:
        """Where the report is published."""
        made = self.manifest
        return Address(made.audience, quarter_folder(made.quarter), scope_folder(made.scope), made.report)


class RunRecord(BaseModel):
    """One run: when, from which plan and snapshot, its reports in the plan's order, and what came of each
    job."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = SCHEMA
    seq: int
    run: str
    status: Literal["running", "complete", "interrupted", "rebuilt"]
    started_at: str
    ended_at: str | None = None
    plan: str
    snapshot: dict[str, Any] = {}
    reports: list[str] = []
    jobs: list[Entry] = []


@dataclass(frozen=True)
class Ledger:
    """Every run that is known, oldest first by sequence, never by the clock."""

    records: tuple[RunRecord, ...]

    def entries(self) -> Iterator[Entry]:
        """Every job of every run, oldest first."""
        for record in self.records:
            yield from record.jobs

    def order(self) -> list[str]:
        """The names of reports as readers shall find them: as the newest of the plans with most reports has
        them; a plan of a few says nothing about the others."""
        return max((record.reports for record in reversed(self.records)), key=len, default=[])

    def history(self, address: Address) -> list[Entry]:
        """What happened at an address, oldest first."""
        return [entry for entry in self.entries() if entry.address == address]

    def last_good(self, address: Address) -> Entry | None:
        """The newest published report at an address."""
        return next((e for e in reversed(self.history(address)) if e.manifest.status == GOOD), None)

    def failed_since(self, address: Address) -> bool:
        """Whether a run failed at an address after the last good one."""
        statuses = [e.manifest.status for e in self.history(address) if e.manifest.status != "skipped"]
        return bool(statuses) and statuses[-1] != GOOD


def run_id(seq: int, started: dt.datetime) -> str:
    """The name of a run: its sequence, which orders runs, and the time in UTC, which people read."""
    return f"{seq:06d}-{started.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}"


def read_ledger(root: Path) -> tuple[Ledger, list[Problem]]:
    """Every run record that can be read, and a problem for each that cannot."""
    records: list[RunRecord] = []
    problems: list[Problem] = []
    folder = root / RUNS
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        if not is_run_id(path.stem) or not path.is_file():
            continue
        try:
            record = RunRecord.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            problems.append(Problem(f"the run record cannot be read: {reason}", file=f"{RUNS}/{path.name}"))
            continue
        if record.run != path.stem:
            problems.append(Problem("the run record has another name", file=f"{RUNS}/{path.name}"))
            continue
        records.append(record)
    return Ledger(tuple(sorted(records, key=lambda record: record.seq))), problems


def write_record(root: Path, record: RunRecord) -> None:
    """Write a run's record in one step; records are readable by their owner alone."""
    folder = files.make_folder(root, PurePosixPath(RUNS), private=True)
    content = record.model_dump_json(by_alias=True, indent=1) + "\n"
    files.replace_file(folder / f"{record.run}.json", content.encode("utf-8"), private=True)


def next_sequence(root: Path) -> int:
    """One more than the highest sequence that any record or bundle has. Call it under the lock."""
    names = {path.stem for path in (root / RUNS).glob("*.json")} | {path.name for path in bundles(root)}
    return max((int(name.partition("-")[0]) for name in names if is_run_id(name)), default=0) + 1


def bundles(root: Path) -> Iterator[Path]:
    """Every folder of the reports that is named as a run, symbolic links left out."""
    for area in AREAS:
        if (root / area).is_symlink():
            continue
        for path in sorted((root / area).glob("*/*/*/*")):
            if is_run_id(path.name) and path.is_dir() and not path.is_symlink():
                yield path


def entry_of_bundle(root: Path, bundle: Path) -> Entry | None:
    """The ledger's entry of a bundle, from the bundle alone; None when its manifest cannot be read."""
    try:
        content = (bundle / MANIFEST_FILE).read_bytes()
        manifest = Manifest.model_validate_json(content)
    except (OSError, ValidationError):
        return None
    try:
        notebook = json.loads((bundle / "notebook.ipynb").read_bytes())
        title = str(notebook["metadata"]["salesops"]["title"])
    except (OSError, ValueError, KeyError, TypeError):
        title = manifest.report
    return published_entry(root, bundle, manifest, title, content)


def published_entry(root: Path, bundle: Path, manifest: Manifest, title: str, content: bytes) -> Entry:
    """The entry of a published report; its stable page is the file of the manifest outside the bundle."""
    stable = next((item for item in manifest.files if item.path.startswith("../")), None)
    page = PurePosixPath(bundle.relative_to(root).as_posix()).parent
    return Entry(
        manifest=manifest,
        title=title,
        bundle=bundle.relative_to(root).as_posix(),
        manifest_sha256=hashlib.sha256(content).hexdigest(),
        stable=stable.model_copy(update={"path": f"{page}.html"}) if stable else None,
    )


def latest(entries: Iterable[Entry]) -> dict[Address, list[Entry]]:
    """Entries by address, oldest first, in the order in which addresses were first published."""
    grouped: dict[Address, list[Entry]] = {}
    for entry in entries:
        grouped.setdefault(entry.address, []).append(entry)
    return grouped
