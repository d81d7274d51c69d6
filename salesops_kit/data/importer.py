"""An export in, staged canonical tables out: every value typed, every refusal raised at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from salesops_kit.data import selects, values
from salesops_kit.data.binding import bind_columns, bind_derived, bind_files, files_read, without_lacking
from salesops_kit.data.contracts import TABLES, Table
from salesops_kit.data.control import control_problems
from salesops_kit.data.engine import count, parquet, sql_name, sql_text, write_parquet
from salesops_kit.data.file_format import FileFormat, formats_for
from salesops_kit.data.lookup_checks import row_problems
from salesops_kit.data.mapping import Mapping
from salesops_kit.data.rules import Derived
from salesops_kit.data.selects import Filling
from salesops_kit.data.sources import Source, find_files, open_source
from salesops_kit.data.timelines import derive
from salesops_kit.errors import Problem, Problems
from salesops_kit.settings import Settings

# From so many rows on, a column of which nothing can be read is a wrong declaration, not bad rows.
ENOUGH_TO_REFUSE = 20


@dataclass(frozen=True)
class Staged:
    """One canonical table, typed and sorted, in a Parquet file beside its lineage and its masks.

    ``extra`` are the columns that pass through, ``dated`` those of them that were read as dates,
    ``absent`` the canonical columns that no file fills. The masks are ``selects.MASKS``.
    """

    table: Table
    path: Path
    extra: tuple[str, ...]
    dated: frozenset[str]
    absent: tuple[str, ...]
    rows: int

    def bit(self, name: str) -> int:
        """A column's bit in the masks."""
        return 1 << self.masked.index(name)

    @property
    def masked(self) -> tuple[str, ...]:
        """The columns that have a bit, in order."""
        return (*self.table.columns, *sorted(self.dated))


@dataclass
class Import:
    """What was read: staged tables by name, the files, and per table what is to be said of its files.

    ``broken`` are records that could not be split into fields, ``flagged`` what is kept and noted;
    ``raw_columns`` gives the (file, column) pairs that the text of a (table, column) came from;
    ``fillings`` how each table was filled, ``derived`` how each derived source was made, ``notes``
    what the files lack.
    """

    settings: Settings
    staged: dict[str, Staged] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    broken: list[tuple[str, Problem]] = field(default_factory=list)
    flagged: list[tuple[str, Problem]] = field(default_factory=list)
    raw_columns: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=dict)
    fillings: dict[str, list[Filling]] = field(default_factory=dict)
    derived: dict[str, Derived] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_export(
    con: duckdb.DuckDBPyConnection, paths: Sequence[Path], mapping: Mapping, *, scratch: Path
) -> Import:
    """Type every table that the mapping fills and stage it; raises all refusals of all files at once."""
    files = find_files(paths)
    mapping = bind_files(mapping, files)
    sources = _open_all(con, files, mapping, scratch)
    mapping, notes = without_lacking(mapping, sources)
    result = Import(mapping.settings, sources=sources, notes=notes)
    fillings = {name: _fillings(name, mapping, result.sources) for name in mapping.tables}
    fillings = {name: found for name, found in fillings.items() if found}
    result.fillings, result.derived = fillings, dict(mapping.derived)
    every = [one for found in fillings.values() for one in found]
    problems = Problems(problem for one in every for problem in selects.column_problems(one))
    problems.refuse()
    problems += (problem for one in every for problem in row_problems(con, one))
    problems.refuse()
    for name, found in fillings.items():
        staged = result.staged[name] = _stage(con, found, scratch)
        _note_origins(result, name, found)
        problems += _refusals(con, staged, found, result)
    problems += control_problems(con, mapping.control, result)
    for source in result.sources.values():
        with problems.caught():
            source.assert_unchanged()
    problems.refuse()
    return result


def _open_all(
    con: duckdb.DuckDBPyConnection, files: dict[str, Path], mapping: Mapping, scratch: Path
) -> dict[str, Source]:
    """Every file that the mapping reads, and the sources derived from them."""
    formats = formats_for(files, mapping.files)
    sources: dict[str, Source] = {}
    problems = Problems()
    for name in files_read(mapping, files):
        with problems.caught():
            sources[name] = open_source(con, files[name], formats[name], scratch=scratch, name=name)
    told = {rule.source for rules in mapping.tables.values() for rule in rules}
    for name, rule in mapping.derived.items() if not problems else ():
        # A source that is derived itself may have come to nothing.
        there = bind_derived(rule, {one: one for one in sources})
        if there is None:
            continue
        made = None
        with problems.caught():
            made = derive(con, name, there, sources, zone=mapping.settings.zone, folder=scratch)
        if made is not None:
            # What is broken in a file that no table reads itself is said once, of what is made from it.
            inputs = [sources[one] for one in dict.fromkeys(there.reads) if one not in told]
            told.update(one.name for one in inputs)
            broken = tuple(problem for one in inputs for problem in one.broken)
            flagged = tuple(problem for one in inputs for problem in one.flagged)
            sources[name] = replace(made, broken=broken, flagged=flagged)
    problems.refuse()
    return sources


def _fillings(name: str, mapping: Mapping, sources: dict[str, Source]) -> list[Filling]:
    settings = mapping.settings
    dated = frozenset(mapping.stage_dates.values()) if name == "opportunities" else frozenset()
    columns = {file: source.columns for file, source in sources.items()}
    return [
        Filling(
            TABLES[name], bind_columns(rule, sources[rule.source].columns, columns.get), sources,
            settings.zone, dated - set(TABLES[name].columns), settings,
        )
        for rule in mapping.tables[name]
        if rule.source in sources
    ]  # fmt: skip


def _stage(con: duckdb.DuckDBPyConnection, fillings: Sequence[Filling], scratch: Path) -> Staged:
    table = fillings[0].table
    by_fold = {name.casefold(): name for filling in reversed(fillings) for name in filling.kept()}
    extras = tuple(dict.fromkeys(by_fold[name.casefold()] for one in fillings for name in one.kept()))
    union = " UNION ALL BY NAME ".join(selects.select(filling, extras) for filling in fillings)
    order = ", ".join(map(sql_name, table.key or (*table.columns, *extras)))
    path = scratch / f"staged_{table.name}.parquet"
    rows = write_parquet(con, f"{union} ORDER BY {order}, source_file, source_row", path, is_passing=True)
    filled = set().union(*(filling.filled() for filling in fillings))
    dated = frozenset(extras) & fillings[0].dated
    return Staged(
        table, path, extras, dated, tuple(name for name in table.columns if name not in filled), rows
    )


def _note_origins(result: Import, table: str, fillings: Sequence[Filling]) -> None:
    """Where the table's text came from, and what its files say of themselves."""
    for filling in fillings:
        source = filling.source
        result.broken += [(table, problem) for problem in source.broken]
        result.flagged += [(table, problem) for problem in source.flagged]
        if not source.rows and not source.broken:
            what = "the file holds column names and no rows"
            result.flagged.append((table, Problem(what, file=source.name, row=1, expected="one row or more")))
        kept = filling.kept()
        for column in filling.table.columns:
            rule = filling.rule_for(column)
            if rule and rule.column in source.columns:
                result.raw_columns.setdefault((table, column), []).append((source.name, str(rule.column)))
        for column in filling.dated & set(kept):
            result.raw_columns.setdefault((table, column), []).append((source.name, kept[column]))


def _refusals(
    con: duckdb.DuckDBPyConnection, staged: Staged, fillings: Sequence[Filling], result: Import
) -> Iterator[Problem]:
    """What refuses a whole file: dates of undeclared order, moments with and without offset mixed,
    columns of which nothing can be read."""
    bad, naive = _flagged_columns(con, staged)
    for name in naive:
        yield from _mixed_offsets(con, staged, name, result)
    for name in bad:
        type_ = staged.table.columns[name].type if name in staged.table.columns else "date"
        for file, raw in result.raw_columns.get((staged.table.name, name), ()):
            filling = next(one for one in fillings if one.source.name == file)
            yield from _wrong_format(con, staged, filling, name, raw, type_)


def _flagged_columns(con: duckdb.DuckDBPyConnection, staged: Staged) -> tuple[list[str], list[str]]:
    either = con.execute(f"SELECT bit_or(_bad), bit_or(_naive) FROM {parquet(staged.path)}").fetchone()
    bad, naive = (mask or 0 for mask in either or (0, 0))
    return [n for n in staged.masked if bad & staged.bit(n)], [
        n for n in staged.masked if naive & staged.bit(n)
    ]


def _wrong_format(
    con: duckdb.DuckDBPyConnection, staged: Staged, filling: Filling, name: str, raw: str, type_: str
) -> Iterator[Problem]:
    source = filling.source
    fmt = format_of(filling, name, raw)
    declared = fmt.dates if type_ == "date" else fmt.instants
    text = f"trim({sql_name(raw)})"
    if type_ in ("date", "instant") and declared == "iso":
        found = con.execute(
            f"SELECT count(*), min_by({text}, source_row), min(source_row) FROM {source.relation} "
            f"WHERE regexp_matches({text}, {sql_text(values.AMBIGUOUS_DATE)})"
        ).fetchone()
        if found and found[0]:
            yield Problem(
                "dates whose order of day and month is not declared", file=source.name, row=found[2],
                column=raw, expected="ISO dates such as 2026-07-31, or a declared format", got=found[1],
                next_step='Declare it in the mapping, for example `files: {"*": {dates: "%m/%d/%Y"}}`.',
                count=found[0],
            )  # fmt: skip
            return
    rows = f"{parquet(staged.path)} WHERE source_file = {sql_text(source.name)}"
    bad = f"_bad & {staged.bit(name)} <> 0"
    unread = count(con, f"SELECT count(*) FROM {rows} AND {bad}")
    if unread < ENOUGH_TO_REFUSE or count(con, f"SELECT count({sql_name(name)}) FROM {rows}"):
        return
    first = con.execute(
        f"SELECT source_row, {sql_name(raw)} FROM {source.relation} WHERE source_row = "
        f"(SELECT min(source_row) FROM {rows} AND {bad})"
    ).fetchone()
    yield Problem(
        "no value of the column can be read", file=source.name, row=first[0] if first else None, column=raw,
        expected=values.expected(type_, fmt), got=first[1] if first else None,
        next_step="Declare how the file writes it in the mapping.", count=unread,
    )  # fmt: skip


def format_of(filling: Filling, name: str, raw: str) -> FileFormat:
    """How the column ``raw``, which gives the canonical column ``name`` its text, is written."""
    rule = filling.rule_for(name)
    return filling.format_of(rule) if rule else filling.source.format_of(raw)


def _mixed_offsets(
    con: duckdb.DuckDBPyConnection, staged: Staged, name: str, result: Import
) -> Iterator[Problem]:
    mask = staged.bit(name)
    rows = con.execute(
        f"SELECT source_file, count(*) FILTER (_naive & {mask} <> 0), "
        f"min(source_row) FILTER (_naive & {mask} <> 0), min(source_row) FILTER (_naive & {mask} = 0), "
        f"count(*) FROM {parquet(staged.path)} WHERE {sql_name(name)} IS NOT NULL GROUP BY 1 ORDER BY 1"
    ).fetchall()
    origins = dict(result.raw_columns.get((staged.table.name, name), ()))
    for file, naive, naive_row, aware_row, total in rows:
        if 0 < naive < total:
            yield Problem(
                f"moments with and without a UTC offset are mixed (row {aware_row} has one)",
                file=file,
                row=naive_row,
                column=origins.get(file, name),
                expected="an offset such as Z or +08:00 on every row, or on none",
                count=naive,
            )
