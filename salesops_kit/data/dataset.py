"""Datasets by name or folder: found, imported once, opened as tables."""

from __future__ import annotations

import datetime as dt
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import ibis
import pandas as pd

from salesops_kit.data import earlier, engine, policies, sealing, snapshot, storing
from salesops_kit.data.cleaning import EXCLUSIONS, SET_ASIDE
from salesops_kit.data.contracts import TABLES
from salesops_kit.data.databases import is_database
from salesops_kit.data.derived import DerivedTables
from salesops_kit.data.mapping import Mapping as ImportMapping
from salesops_kit.data.mapping import identity_mapping, read_mapping, read_yaml
from salesops_kit.data.mapping_files import find_mapping
from salesops_kit.data.rates import in_base_currency, plan_rates, rates_of_year
from salesops_kit.data.record import RECORDED, Record
from salesops_kit.data.snapshot import Snapshot
from salesops_kit.data.sources import SUFFIXES, find_files
from salesops_kit.data.storing import SNAPSHOT_FILE
from salesops_kit.errors import InputError, NotAvailableError, Problem, did_you_mean
from salesops_kit.language import ngettext
from salesops_kit.periods import Period
from salesops_kit.policy.model import Policy
from salesops_kit.project import project_root
from salesops_kit.settings import COMPANY, NO_TEAM, Settings, parse_settings

SETTINGS_FILE = "dataset.yml"
ARCHIVE = Path("data") / "archive"


@dataclass(frozen=True)
class Rows:
    """Canonical tables of one scope, open for queries. ``tables`` are Ibis expressions by name.

    ``policy`` is what the company decides about its data. ``derived`` are the tables that no file of the
    snapshot holds as they are here, each with the digest of what it is made of besides. ``record`` says
    since when changes are known.
    """

    tables: Mapping[str, ibis.Table]
    settings: Settings
    observed_until: dt.date
    notes: tuple[str, ...]
    digest: str
    policy: Policy = field(default_factory=Policy)
    derived: Mapping[str, str] = field(default_factory=dict)
    record: Record = RECORDED

    def table(self, name: str) -> ibis.Table:
        """One table; raises :class:`NotAvailableError` when the dataset lacks it."""
        if name not in self.tables:
            raise NotAvailableError(f"the dataset has no {name} table")
        return self.tables[name]

    def in_base(self, name: str, fiscal_year: int) -> ibis.Table:
        """One table with its money in base currency at the plan rate of a fiscal year."""
        if (name, fiscal_year) not in self._converted:
            self._converted[name, fiscal_year] = self._convert(name, fiscal_year)
        return self._converted[name, fiscal_year]

    def _convert(self, name: str, fiscal_year: int) -> ibis.Table:
        table = self.table(name)
        if "currency" not in table.columns or "fx_rates" not in self.tables:
            return table
        contract = TABLES.get(name)
        money = [c.name for c in contract.columns.values() if c.type == "money"] if contract else ["amount"]
        if fiscal_year not in self._rates_of:
            self._rates_of[fiscal_year] = rates_of_year(self._rates, fiscal_year)
        converted = in_base_currency(table, self._rates_of[fiscal_year], tuple(money))
        # Most queries join the deals; what few queries read is written into them faster.
        return engine.shared(converted) if name == "opportunities" else converted

    @cached_property
    def _converted(self) -> dict[tuple[str, int], ibis.Table]:
        return {}

    @cached_property
    def _rates_of(self) -> dict[int, dict[str, float]]:
        return {}

    @cached_property
    def _rates(self) -> pd.DataFrame:
        return plan_rates(engine.collect(self.tables["fx_rates"]), self.settings)

    @cached_property
    def set_aside(self) -> int:
        """How many records break the data's contract, so that no number counts them."""
        table = self.table(EXCLUSIONS)
        return int(table.filter(table.action == SET_ASIDE).count().to_pyarrow().as_py())

    def told_of_set_aside(self) -> list[str]:
        """One sentence on the records that are set aside; none when there is no such record."""
        text = ngettext(
            "{n} record breaks the data's contract and is set aside; see salesops check.",
            "{n} records break the data's contract and are set aside; see salesops check.",
            self.set_aside,
        )
        return [text.format(n=f"{self.set_aside:,}")] if self.set_aside else []

    def quarters(self) -> list[Period]:
        """The fiscal quarters from the first known day to the last, in order."""
        states = self.table("opportunity_states")
        first = states.valid_from_date.min().to_pyarrow().as_py()
        return self.settings.fiscal.quarters(first or self.observed_until, self.observed_until)


def find_folder(data: str) -> Path:
    """The folder that a dataset's name or path means; raises with the nearest names."""
    known = known_datasets()
    path = Path(data).expanduser()
    for candidate in (path, project_root() / path, project_root() / "data" / path):
        storing.restore(candidate)
        if candidate.is_dir():
            return candidate.resolve()
    raise InputError(Problem(f"unknown dataset {data!r}", next_step=did_you_mean(data, list(known))))


def known_datasets() -> dict[str, Path]:
    """The datasets that have a name: the folders of data/ that hold one."""
    root = project_root() / "data"
    folders = sorted(p for p in root.iterdir() if p.is_dir() and p.name[0] != ".") if root.is_dir() else []
    marks = (SNAPSHOT_FILE, SETTINGS_FILE, "opportunities.csv", "opportunities.parquet")
    return {p.name: p for p in folders if any((p / mark).is_file() for mark in marks)}


def read_settings(folder: Path) -> Settings:
    """The settings that a folder of canonical tables carries, else the defaults."""
    file = folder / SETTINGS_FILE
    return parse_settings(read_yaml(file), file=SETTINGS_FILE) if file.is_file() else Settings()


def open_snapshot(data: str) -> Snapshot:
    """The validated snapshot of a dataset: imported on first sight, found again afterwards."""
    folder = find_folder(data)
    return replace(_opened(folder), folder=folder)


def _opened(folder: Path) -> Snapshot:
    made = folder / SNAPSHOT_FILE
    if made.is_file():
        return _open_imported(folder)
    settings = read_settings(folder)
    present = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    mapping = identity_mapping({p.name: p for p in present}, settings)
    files = [p for p in present if p.stem in TABLES]
    mark = storing.fingerprint(present, settings)
    root = archive_root()
    found = storing.find_archived(root, mark)
    if found:
        return found
    with storing.scratch_folder(root) as scratch:
        built = scratch / "built"
        built.mkdir()
        made_now = snapshot.build(files, mapping, folder=built, scratch=scratch)
        return storing.archive(replace(made_now, fingerprint=mark), root)


def import_export(sources: Sequence[Path], mapping: str | Sequence[str], out: Path) -> Snapshot:
    """Import an export by a mapping (a file, a name in params/mappings, a preset) into a folder; of
    several mappings each stands over those before it.

    Without a mapping the sources hold canonical tables already, with a dataset.yml beside them for the
    settings.

    The folder is written whole or not at all; one that holds anything but an earlier import is refused.
    Where the export has no history, the deals' history goes on from the earlier import of the same name,
    which is never rewritten. An import into the project is archived under its name; one that says nothing
    new is the import before, and is not archived again.
    """
    storing.restore(out)
    if out.exists() and any(out.iterdir()) and not (out / SNAPSHOT_FILE).is_file():
        raise InputError(
            Problem("the folder holds other files", file=str(out), next_step="Name a new folder.")
        )
    rules = mapping_for(sources, mapping)
    out.parent.mkdir(parents=True, exist_ok=True)
    with storing.scratch_folder(out.parent) as scratch:
        built = scratch / "built"
        built.mkdir()
        before = _import_before(out, rules.settings)
        made = snapshot.build(sources, rules, folder=built, scratch=scratch, before=before)
        if before and _content(before) == _content(made):
            made = replace(made, digest=before.digest, notes=before.notes)
        written = storing.write_folder(made, built, out)
    if written.settings.name and out.resolve().is_relative_to(project_root()):
        last = storing.last_archived(archive_root(), written.settings.name)
        if last is None or last.digest != written.digest:
            storing.archive(written, archive_root())
    return written


def _content(one: Snapshot) -> tuple[object, ...]:
    """What an import says, apart from the notes on how it was come by."""
    return one.tables, one.settings, one.observed_until


def _import_before(out: Path, settings: Settings) -> Snapshot | None:
    """The import that the folder holds, where it is one of the same dataset and as it was written: a
    history that was changed by hand is not built on."""
    if not (out / SNAPSHOT_FILE).is_file():
        return None
    try:
        found = _open_imported(out)
    except InputError:
        return None
    return found if found.settings.name == settings.name else None


def mapping_for(sources: Sequence[Path], mapping: str | Sequence[str]) -> ImportMapping:
    """The mapping of an import: those named, or without any that of canonical tables."""
    names = [mapping] if isinstance(mapping, str) else list(mapping)
    named = [find_mapping(name) for name in names if name]
    return read_mapping(*named) if named else _canonical(sources)


def _canonical(sources: Sequence[Path]) -> ImportMapping:
    files = [source for source in sources if not is_database(source)]
    near = [source if source.is_dir() else source.parent for source in files]
    folders = [folder for folder in near if (folder / SETTINGS_FILE).is_file()]
    settings = read_settings(folders[0]) if folders else Settings()
    return identity_mapping(find_files(list(sources)), settings)


def archive_root() -> Path:
    """The folder of snapshots and seals that every dataset shares: the project's, or the user's own where
    that cannot be written."""
    root = project_root() / ARCHIVE
    try:
        root.mkdir(parents=True, exist_ok=True)
        if os.access(root, os.W_OK):
            return root
    except OSError:
        pass
    owner = os.getuid() if hasattr(os, "getuid") else "me"
    fallback = Path(tempfile.gettempdir()) / f"salesops-archive-{owner}"
    fallback.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and fallback.stat().st_uid != os.getuid():
        raise InputError(Problem("the folder belongs to somebody else", file=str(fallback)))
    return fallback


def _open_imported(folder: Path) -> Snapshot:
    text = (folder / SNAPSHOT_FILE).read_text(encoding="utf-8")
    try:
        found = snapshot.from_json(text)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            Problem(f"not a snapshot: {error}", file=SNAPSHOT_FILE, next_step="Import the export again.")
        ) from None
    paths = {name: folder / f"{name}.parquet" for name in found.tables}
    problems = []
    for name, path in paths.items():
        if not path.is_file():
            problems.append(Problem("a table of the snapshot is missing", file=path.name))
        elif snapshot.file_sha256(path) != found.tables[name].sha256:
            problems.append(
                Problem(
                    "the file is not the one that was imported", file=path.name, next_step="Import again."
                )
            )
    if problems:
        raise InputError(problems)
    return replace(found, paths=paths)


def open_rows(opened: Snapshot) -> Rows:
    """A snapshot's tables, open for queries."""
    con = engine.backend(Path(tempfile.gettempdir()))
    stored = engine.ParquetTables(con, opened.paths)
    policy = policies.policy_of(opened.folder, opened.paths)
    made: dict[str, Callable[[], ibis.Table]] = {}
    derived: dict[str, str] = {}
    if policy.segments.segments and policies.SEGMENTED in stored:
        made[policies.SEGMENTED] = lambda: policies.segmented(
            stored[policies.SEGMENTED], policy.segments, opened.observed_until
        )
        derived[policies.SEGMENTED] = policy.digest
    if before := earlier.earlier_snapshots(opened, archive_root()):
        made[earlier.EARLIER] = lambda: earlier.earlier_deals(con, before)
        derived[earlier.EARLIER] = " ".join(found.digest for found in before)
    if opened.settings.name:
        seals = sealing.seal_folder(archive_root(), opened.settings)
        if digest := sealing.seals_digest(seals):
            made[sealing.SEALED] = lambda: sealing.sealed_forecasts(seals)
            derived[sealing.SEALED] = digest
    return Rows(
        DerivedTables(stored, made),
        opened.settings,
        opened.observed_until,
        opened.notes,
        opened.digest,
        policy,
        derived,
        opened.record,
    )


@dataclass(frozen=True)
class TeamTree:
    """Leaf teams and the parents that are sums of them."""

    leaves: tuple[str, ...]
    parents: dict[str, tuple[str, ...]]

    @property
    def names(self) -> list[str]:
        """Every valid value of a ``team`` parameter."""
        return [COMPANY, *self.leaves, *self.parents]

    def members(self, team: str) -> tuple[str, ...] | None:
        """The leaf teams of a scope; None for the company, which is not cut."""
        if team == COMPANY:
            return None
        if team in self.parents:
            return self.parents[team]
        if team in self.leaves:
            return (team,)
        raise InputError(Problem(f"unknown team {team!r}", next_step=did_you_mean(team, self.names)))


def team_tree(rows: Rows) -> TeamTree:
    """The teams of a dataset: those that own rows or members, and their parents."""
    states = rows.table("opportunity_states")
    owning = set(_values(states.select("team").distinct()))
    parent_of: dict[str, str] = {}
    if "teams" in rows.tables:
        listed = engine.collect(rows.table("teams").select("team", "parent_team"))
        for team, parent in listed.itertuples(index=False):
            owning.add(team)
            if isinstance(parent, str) and parent != team:
                parent_of[team] = parent
    if "team_memberships" in rows.tables:
        owning |= set(_values(rows.table("team_memberships").select("team").distinct()))
    if COMPANY in owning | set(parent_of.values()):
        raise InputError(
            Problem(
                f"a team is called {COMPANY!r}, which means all teams",
                next_step="Recode its name in the mapping.",
            )
        )
    children: dict[str, set[str]] = {}
    for team in sorted(owning):
        parent, seen = parent_of.get(team), {team}
        while parent and parent not in seen:
            children.setdefault(parent, set()).add(team)
            seen.add(parent)
            parent = parent_of.get(parent)
    # A parent that owns deals itself counts among its own leaves.
    leaves = sorted(team for team in owning if team not in children and team != NO_TEAM)
    with_rows = set(_values(states.select("team").distinct()))
    for parent in sorted(set(children) & with_rows):
        children[parent].add(parent)
        leaves.append(parent)
    if NO_TEAM in with_rows:
        leaves.append(NO_TEAM)
    pure = {
        p: tuple(sorted(t for t in kids if t in leaves))
        for p, kids in sorted(children.items())
        if p not in leaves
    }
    return TeamTree(tuple(leaves), pure)


def _values(column: ibis.Table) -> Sequence[str]:
    return [value for value in column.to_pyarrow()[column.columns[0]].to_pylist() if value is not None]
