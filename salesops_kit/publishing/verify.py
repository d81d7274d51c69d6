"""Published files compared with what the manifests say of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from salesops_kit.errors import Problem
from salesops_kit.publishing import files
from salesops_kit.publishing.ledger import (
    GOOD,
    MANIFEST_FILE,
    Entry,
    bundles,
    entry_of_bundle,
    latest,
    read_ledger,
)
from salesops_kit.publishing.paths import AREAS, CATALOG

RUN_AGAIN = "Run its plan again: the report is made anew, as its files were changed."
SET_ASIDE = "A later report replaced it; salesops verify --set-aside takes it out of the reports."
REMOVE = "Remove it, or move it out of the reports folder."
REBUILD = "Run any plan here: the record is made again from the published reports."


def verify(root: Path) -> list[Problem]:
    """Every difference between a reports folder and its records; empty when all is as it was published.

    Each bundle's files are hashed again, its manifest compared with the run's record, and each stable
    page compared with the newest page written at its address. Bundles and pages that no record knows
    and symbolic links are problems too. Each problem says what to do about it: what is public now is
    made again by a run, a bundle of the past can be set aside. Nothing is changed.
    """
    record_ledger, broken = read_ledger(root)
    problems = [replace(problem, next_step=REBUILD) for problem in broken]
    expected_bundles: set[str] = set()
    expected_pages: set[str] = set()
    for address, entries in latest(record_ledger.entries()).items():
        written = [entry for entry in entries if entry.stable]
        for entry in entries:
            if entry.bundle:
                expected_bundles.add(entry.bundle)
            step = SET_ASIDE if is_past(entry, entries) else RUN_AGAIN
            problems += [replace(p, next_step=step) for p in entry_problems(root, entry, is_newest=False)]
        if written:
            expected_pages.add(address.stable.as_posix())
            problems += [
                replace(p, next_step=p.next_step or RUN_AGAIN) for p in _page_problems(root, written[-1])
            ]
    strays = _strays(root, expected_bundles, expected_pages)
    is_complete = any(record.status == "complete" for record in record_ledger.records)
    return [*problems, *_catalog_problems(root, is_wanted=is_complete), *strays]


def _catalog_problems(root: Path, *, is_wanted: bool) -> list[Problem]:
    """What is wrong with the entry page, which every run writes anew."""
    page = root / CATALOG
    if page.is_symlink() or (page.exists() and not page.is_file()):
        return [Problem("something else stands where the catalog is written", file=CATALOG, next_step=REMOVE)]
    missing = Problem(
        "the catalog is missing", file=CATALOG, next_step="Run any plan here: it is written anew."
    )
    return [missing] if is_wanted and not page.exists() else []


def is_past(entry: Entry, entries: Sequence[Entry]) -> bool:
    """Whether a later report of the same address was published."""
    good = [other for other in entries if other.manifest.status == GOOD]
    return bool(good) and entry.manifest.seq < good[-1].manifest.seq


def entry_problems(root: Path, entry: Entry, *, is_newest: bool) -> list[Problem]:
    """What is wrong with one published report; ``is_newest`` compares its stable page too."""
    if entry.manifest.status != GOOD or entry.bundle is None:
        return []
    bundle = root / entry.bundle
    manifest = bundle / MANIFEST_FILE
    if not manifest.is_file() or manifest.is_symlink():
        return [Problem("the bundle or its manifest is missing", file=entry.bundle)]
    problems: list[Problem] = []
    if files.digest(manifest) != entry.manifest_sha256:
        problems.append(Problem("the manifest was changed", file=f"{entry.bundle}/{MANIFEST_FILE}"))
    expected = {MANIFEST_FILE}
    for item in entry.manifest.files:
        if item.path.startswith("../"):
            continue
        expected.add(item.path)
        path = bundle / PurePosixPath(item.path)
        place = f"{entry.bundle}/{item.path}"
        if path.is_symlink() or not path.is_file():
            problems.append(Problem("the file is missing", file=place))
        elif files.digest(path) != item.sha256:
            problems.append(Problem("the file was changed", file=place))
    for path in sorted(bundle.rglob("*")):
        name = path.relative_to(bundle).as_posix()
        if name not in expected and (path.is_symlink() or not path.is_dir()):
            problems.append(Problem("no manifest knows this file", file=f"{entry.bundle}/{name}"))
    return problems + (_page_problems(root, entry) if is_newest else [])


def _page_problems(root: Path, entry: Entry) -> list[Problem]:
    assert entry.stable is not None
    page = root / entry.stable.path
    if page.is_symlink() or (page.exists() and not page.is_file()):
        what = "something else stands where the stable page was published"
        return [Problem(what, file=entry.stable.path, next_step=f"{REMOVE} {RUN_AGAIN}")]
    if not page.is_file():
        return [Problem("the stable page is missing", file=entry.stable.path)]
    if files.digest(page) != entry.stable.sha256:
        return [Problem("the stable page is not the one published last", file=entry.stable.path)]
    return []


def _strays(root: Path, expected_bundles: set[str], expected_pages: set[str]) -> list[Problem]:
    problems = []
    # What is whole, and only its record is lost, is not to be removed.
    whole: set[str] = set()
    for path in bundles(root):
        place = path.relative_to(root).as_posix()
        if place not in expected_bundles:
            entry = entry_of_bundle(root, path)
            is_whole = entry is not None and not entry_problems(root, entry, is_newest=False)
            if is_whole and entry is not None and entry.stable is not None:
                whole.add(entry.stable.path)
            step = REBUILD if is_whole else REMOVE
            problems.append(Problem("no record knows this bundle", file=place, next_step=step))
    for area in AREAS:
        for folder, folders, names in os.walk(root / area):
            here = Path(folder)
            for name in [*folders, *names]:
                place = (here / name).relative_to(root).as_posix()
                if (here / name).is_symlink():
                    if place not in expected_pages:
                        what = "a symbolic link among the reports"
                        problems.append(Problem(what, file=place, next_step=REMOVE))
                elif name in names and name.endswith(".html") and name != CATALOG:
                    in_bundle = any(place.startswith(f"{bundle}/") for bundle in expected_bundles)
                    if place not in expected_pages and not in_bundle and name != "page.html":
                        step = REBUILD if place in whole else REMOVE
                        problems.append(Problem("no record knows this page", file=place, next_step=step))
    return problems
