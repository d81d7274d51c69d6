"""What an import would do, told per file and column, with nothing written."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from salesops_kit.data import engine
from salesops_kit.data.checks import KEPT, SET_ASIDE
from salesops_kit.data.cleaning import EXCLUSIONS, clean
from salesops_kit.data.contracts import TABLES
from salesops_kit.data.dataset import mapping_for
from salesops_kit.data.engine import sql_name, sql_text
from salesops_kit.data.importer import Import, read_export
from salesops_kit.data.rules import Rule
from salesops_kit.data.selects import Filling
from salesops_kit.data.sources import Source, find_files
from salesops_kit.errors import InputError, Problem

# A proposal is a name that is this near; one that holds the other's words counts as near.
PROPOSALS = 2
_WORDS = 3
_NEAR = 0.65


@dataclass(frozen=True)
class ColumnPreview:
    """One column of a file: ``becomes`` what (table.column), with how many values, of which so many are
    ``recoded``, not readable (``unread``), or cause their row to be set aside or noted.

    A column that no rule reads ``passes`` through as a dimension or is dropped; ``proposed`` names the
    unfilled canonical columns that it may be.
    """

    file: str
    column: str
    becomes: tuple[str, ...]
    values: int
    recoded: int = 0
    unread: int = 0
    noted: int = 0
    passes: bool = False
    proposed: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.becomes:
            parts = [f"{self.values:,} values"]
            parts += [f"{number:,} {word}" for number, word in (
                (self.recoded, "recoded"), (self.unread, "not readable"), (self.noted, "noted"),
            ) if number]  # fmt: skip
            return f"{self.column} -> {', '.join(self.becomes)}: {', '.join(parts)}"
        fate = "passes through" if self.passes else "is dropped"
        near = f"; perhaps {' or '.join(self.proposed)}?" if self.proposed else ""
        return f"{self.column}: {fate} ({self.values:,} values){near}"


@dataclass(frozen=True)
class Preview:
    """What an import would do. ``rows`` are per file those read and those set aside; ``problems`` what
    would refuse it; ``unused`` the files that no table reads."""

    rows: dict[str, tuple[int, int]]
    columns: tuple[ColumnPreview, ...]
    problems: tuple[Problem, ...] = ()
    absent: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The preview as text, a file at a time."""
        made = [f"Would be refused: {problem}" for problem in self.problems]
        for file, (rows, aside) in self.rows.items():
            made.append(f"{file}: {rows:,} rows" + (f", {aside:,} set aside" if aside else ""))
            made += [f"  {column}" for column in self.columns if column.file == file]
        made += [f"Not read, since no table of the mapping names it: {name}" for name in self.unused]
        if self.absent:
            made.append(f"Tables without a file: {', '.join(self.absent)}")
        return [*made, "Nothing was written."]


def preview_import(sources: Sequence[Path], mapping: str | Sequence[str]) -> Preview:
    """Read, type and check an export as an import does, and leave nothing behind.

    A mistake in the mapping itself is raised; whatever else would refuse the import stands in
    ``problems``, and then no row is read.
    """
    rules = mapping_for(sources, mapping)
    with tempfile.TemporaryDirectory(prefix="salesops-preview-") as scratch:
        folder = Path(scratch)
        con = engine.connect(folder, rules.settings.zone)
        try:
            imported = read_export(con, sources, rules, scratch=folder)
            (folder / "cleaned").mkdir()
            clean(con, imported, folder=folder / "cleaned")
            columns = tuple(_columns(con, imported))
            rows = {
                name: _rows(con, imported, name)
                for name, one in imported.sources.items()
                if not one.has_files
            }
        except InputError as error:
            return Preview({}, (), tuple(error.problems))
        finally:
            con.close()
    absent = tuple(table for table in rules.tables if table not in imported.staged)
    unused = tuple(name for name in find_files(sources) if name not in imported.sources)
    return Preview(rows, columns, (), absent, unused)


def _rows(con: duckdb.DuckDBPyConnection, imported: Import, file: str) -> tuple[int, int]:
    aside = con.execute(
        f"SELECT count(DISTINCT source_row) FROM {EXCLUSIONS} WHERE source_file = {sql_text(file)} "
        f"AND action = {sql_text(SET_ASIDE)}"
    ).fetchone()
    return imported.sources[file].rows, aside[0] if aside else 0


def _columns(con: duckdb.DuckDBPyConnection, imported: Import) -> Iterator[ColumnPreview]:
    filled = {
        (f.table.name, name) for many in imported.fillings.values() for f in many for name in f.filled()
    }
    for file, source in imported.sources.items():
        if source.has_files:
            continue
        readers = _readers(imported, file)
        values = _counts(con, source)
        for column in source.columns:
            used = [
                (filling, name, rule) for filling, name, rule in readers.rules if column in rule.columns()
            ]
            if used or column in readers.others:
                becomes = [f"{filling.table.name}.{name}" for filling, name, _ in used]
                yield ColumnPreview(
                    file, column, tuple(dict.fromkeys([*becomes, *readers.others.get(column, ())])),
                    values[column],
                    recoded=sum(_recoded(con, filling, column, rule) for filling, _, rule in used),
                    unread=_said(con, file, used, "not readable%"), noted=_said(con, file, used, "%", KEPT),
                )  # fmt: skip
                continue
            passes = any(column in filling.kept().values() for filling in readers.fillings)
            tables = [filling.table.name for filling in readers.fillings]
            yield ColumnPreview(
                file, column, (), values[column], passes=passes, proposed=_proposals(column, tables, filled)
            )


@dataclass
class _Readers:
    """What reads one file: tables by their rules, lookups and derived sources by their columns."""

    fillings: list[Filling]
    rules: list[tuple[Filling, str, Rule]]
    others: dict[str, list[str]]


def _readers(imported: Import, file: str) -> _Readers:
    fillings = [f for many in imported.fillings.values() for f in many if f.source.name == file]
    rules = [
        (f, name, rule)
        for f in fillings
        for name in f.table.columns
        if (rule := f.rule_for(name)) is not None
    ]
    others: dict[str, list[str]] = {}
    for many in imported.fillings.values():
        for f in many:
            for name in f.table.columns:
                rule = f.rule_for(name)
                for lookup in rule.lookups() if rule else ():
                    for column in lookup.columns() if lookup.file == file else ():
                        others.setdefault(column, []).append(f"{f.table.name}.{name} (looked up)")
    for f in fillings:
        for column in (*f.rule.where, *f.rule.needs, *f.rule.single):
            others.setdefault(column, []).append(f"{f.table.name} (which rows)")
    for name, derived in imported.derived.items():
        for column in derived.columns_of(file, imported.sources[file].columns):
            others.setdefault(column, []).append(f"{name} (derived)")
    return _Readers(fillings, rules, others)


def _counts(con: duckdb.DuckDBPyConnection, source: Source) -> dict[str, int]:
    """How many rows have something in each column."""
    if not source.columns:
        return {}
    counts = ", ".join(f"count(nullif(trim({sql_name(name)}), ''))" for name in source.columns)
    row = con.execute(f"SELECT {counts} FROM {source.relation}").fetchone() or ()
    return dict(zip(source.columns, row, strict=True))


def _recoded(con: duckdb.DuckDBPyConnection, filling: Filling, column: str, rule: Rule) -> int:
    words = {
        word for one in _with_parts(rule) if one.column == column for word in (*one.recode, *one.null_when)
    }
    if rule.parts:
        words |= {*rule.recode, *rule.null_when}
    if not words:
        return 0
    listed = ", ".join(map(sql_text, sorted(words)))
    return engine.count(
        con, f"SELECT count(*) FROM {filling.source.relation} WHERE trim({sql_name(column)}) IN ({listed})"
    )


def _with_parts(rule: Rule) -> Iterator[Rule]:
    yield rule
    for part in rule.parts:
        yield from _with_parts(part)


def _said(
    con: duckdb.DuckDBPyConnection,
    file: str,
    used: Sequence[tuple[Filling, str, Rule]],
    problem: str,
    action: str = "",
) -> int:
    """How many rows of the file are listed for the canonical columns that a column fills."""
    places = ", ".join(sql_text(f"{filling.table.name}.{name}") for filling, name, _ in used) or "''"
    by_action = f" AND action = {sql_text(action)}" if action else ""
    return engine.count(
        con,
        f"SELECT count(*) FROM {EXCLUSIONS} WHERE source_file = {sql_text(file)} "
        f"AND problem LIKE {sql_text(problem)} AND table_name || '.' || column_name IN ({places}){by_action}",
    )


def _proposals(column: str, tables: Sequence[str], filled: set[tuple[str, str]]) -> tuple[str, ...]:
    """Canonical columns that nothing fills and whose names are near, those that share words first.

    A custom field's ending (``__c``) and the case of its letters say nothing.
    """
    words = _words(column)
    open_ = {
        name: f"{table}.{name}" for table in dict.fromkeys(tables) for name in TABLES[table].columns
        if (table, name) not in filled
    }  # fmt: skip
    shared = [name for name in open_ if {word for word in _words(name) if len(word) >= _WORDS} & words]
    spelt = "_".join(sorted(words, key=column.casefold().find))
    near = difflib.get_close_matches(spelt, list(open_), n=PROPOSALS, cutoff=_NEAR)
    exact = [name for name in shared if name in near]
    chosen = dict.fromkeys([*exact, *near, *shared])
    return tuple(open_[name] for name in [*chosen][:PROPOSALS])


def _words(name: str) -> set[str]:
    plain = name.removesuffix("__c")
    spaced = "".join(
        f" {c}" if c.isupper() and plain[i - 1 : i].islower() else c for i, c in enumerate(plain)
    )
    return {word for word in spaced.casefold().replace("_", " ").replace("-", " ").split() if word}
