"""An export in, canonical tables out: every value typed, every problem found, every lost row kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from salesops_kit.data import values
from salesops_kit.data.contracts import TABLES, Table
from salesops_kit.data.engine import parquet, sql_name, sql_text, write_parquet
from salesops_kit.data.mapping import Lookup, Mapping, Rule, TableRule
from salesops_kit.data.sources import FileFormat, Source, find_files, formats_for, open_source
from salesops_kit.errors import InputError, Problem, did_you_mean


@dataclass(frozen=True)
class Staged:
    """One canonical table, typed and sorted, in a Parquet file beside its lineage and flags.

    Flag columns: ``_bad`` (bit per column that could not be read), ``_naive`` and ``_clock`` (bit
    per moment without offset, or inside a clock change).
    """

    table: Table
    path: Path
    canonical: tuple[str, ...]
    extra: tuple[str, ...]
    absent: tuple[str, ...]
    rows: int


@dataclass
class Import:
    """What was read: staged tables by name, the files, the records that could not be split into fields,
    and per (table, column) the (file, column) that its text came from."""

    staged: dict[str, Staged] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    broken: list[tuple[str, Problem]] = field(default_factory=list)
    raw_columns: dict[tuple[str, str], list[tuple[str, str]]] = field(default_factory=dict)


def read_export(
    con: duckdb.DuckDBPyConnection, paths: Sequence[Path], mapping: Mapping, *, scratch: Path
) -> Import:
    """Type every table that the mapping fills and stage it; raises all refusals of all files at once."""
    files = find_files(list(paths))
    formats = formats_for(list(files), mapping.files)
    result = Import()
    problems: list[Problem] = []
    for name in sorted(_files_wanted(mapping)):
        if name not in files:
            if not _is_optional(mapping, name):
                problems.append(
                    Problem(f"the export holds no file {name!r}", next_step=did_you_mean(name, list(files)))
                )
            continue
        try:
            result.sources[name] = open_source(con, files[name], formats[name], scratch=scratch)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(problems)
    for name, rules in mapping.tables.items():
        present = [rule for rule in rules if rule.source in result.sources]
        if not present:
            continue
        try:
            result.staged[name] = _stage(con, TABLES[name], present, mapping, result.sources, scratch)
        except InputError as error:
            problems += error.problems
            continue
        problems += list(_refusals(con, result.staged[name], mapping, result.sources, present))
        for rule in present:
            source = result.sources[rule.source]
            result.broken += [(name, problem) for problem in source.broken]
            for column in TABLES[name].columns:
                raw = rule.columns[column].column if column in rule.columns else column
                if raw in source.columns:
                    result.raw_columns.setdefault((name, column), []).append((source.name, raw))
    for source in result.sources.values():
        source.assert_unchanged()
    if problems:
        raise InputError(problems)
    return result


def _files_wanted(mapping: Mapping) -> set[str]:
    wanted = set()
    for rules in mapping.tables.values():
        for rule in rules:
            wanted.add(rule.source)
            wanted |= {lookup.file for column in rule.columns.values() for lookup in column.lookups()}
    return wanted


def _is_optional(mapping: Mapping, file: str) -> bool:
    rules = [rule for rules in mapping.tables.values() for rule in rules if rule.source == file]
    return bool(rules) and all(rule.optional for rule in rules)


def _stage(
    con: duckdb.DuckDBPyConnection,
    table: Table,
    rules: Sequence[TableRule],
    mapping: Mapping,
    sources: dict[str, Source],
    scratch: Path,
) -> Staged:
    problems: list[Problem] = []
    selects, extras = [], []
    for rule in rules:
        problems += list(_column_problems(table, rule, sources[rule.source]))
    if problems:
        raise InputError(problems)
    for rule in rules:
        extras += [name for name in _kept(table, rule, sources[rule.source]) if name not in extras]
    filled: set[str] = set()
    for index, rule in enumerate(rules):
        select, own = _select(con, table, rule, mapping, sources, extras, index)
        selects.append(select)
        filled |= own
    order = ", ".join(sql_name(name) for name in (*table.columns, *extras)) if not table.key else ""
    keys = ", ".join(sql_name(name) for name in table.key)
    path = scratch / f"staged_{table.name}.parquet"
    union = " UNION ALL BY NAME ".join(selects)
    rows = write_parquet(con, f"{union} ORDER BY {keys or order}, source_file, source_row", path)
    absent = tuple(name for name in table.columns if name not in filled)
    return Staged(table, path, tuple(table.columns), tuple(extras), absent, rows)


def _kept(table: Table, rule: TableRule, source: Source) -> list[str]:
    """Source columns that pass through under their own name."""
    used = set().union(*(column.columns() for column in rule.columns.values())) if rule.columns else set()
    free = [
        name
        for name in source.columns
        if name not in table.columns and name not in ("source_file", "source_row")
    ]
    if rule.keep == "all":
        return [name for name in free if name not in used]
    return [] if rule.keep == "none" else [name for name in free if name in rule.keep]


def _column_problems(table: Table, rule: TableRule, source: Source) -> Iterator[Problem]:
    known = list(source.columns)
    for name, column in rule.columns.items():
        if name not in table.columns:
            yield Problem(
                f"{table.name} has no column {name!r}",
                next_step=f"{did_you_mean(name, list(table.columns))} Columns beyond them pass through with `keep`.",
            )
        for wanted in sorted(column.columns() - set(known)):
            yield Problem(
                f"the file has no column {wanted!r}", file=source.name, next_step=did_you_mean(wanted, known)
            )
    for wanted in [*rule.where, *(rule.keep if isinstance(rule.keep, tuple) else ())]:
        if wanted not in known:
            yield Problem(
                f"the file has no column {wanted!r}", file=source.name, next_step=did_you_mean(wanted, known)
            )
    for name, contract in table.columns.items():
        if not contract.nullable and name not in rule.columns and name not in known:
            yield Problem(
                f"the required column {name} of {table.name} is missing",
                file=source.name,
                next_step=did_you_mean(name, known),
            )


def _select(
    con: duckdb.DuckDBPyConnection,
    table: Table,
    rule: TableRule,
    mapping: Mapping,
    sources: dict[str, Source],
    extras: Sequence[str],
    index: int,
) -> tuple[str, set[str]]:
    """The SELECT that types one file's rows for one table, and the canonical columns that it fills."""
    source = sources[rule.source]
    joins: list[str] = []
    columns, bad, naive, clock = [], [], [], []
    filled: set[str] = set()
    for bit, (name, contract) in enumerate(table.columns.items()):
        if name in rule.columns:
            column = rule.columns[name]
        elif name in source.columns:
            column = Rule(column=name)
        else:
            columns.append(f"NULL::{values.SQL_TYPES[contract.type]} AS {sql_name(name)}")
            continue
        filled.add(name)
        fmt = source.format
        if column.dates is not None:
            fmt = fmt.model_copy(update={"dates": column.dates, "instants": column.dates})
        zone = column.zone or fmt.zone or mapping.settings.zone
        raw = _raw(con, column, source.format, sources, joins)
        parsed = values.parse(contract.type, raw, fmt, zone)
        value = parsed.value
        if column.scale is not None:
            value = f"({value} * {column.scale!r})::{values.SQL_TYPES[contract.type]}"
        columns.append(f"{value} AS {sql_name(name)}")
        if contract.type not in ("id", "category", "text"):
            bad.append(f"CASE WHEN {raw} IS NOT NULL AND ({parsed.value}) IS NULL THEN {1 << bit} ELSE 0 END")
        if parsed.naive:
            naive.append(f"CASE WHEN {parsed.naive} THEN {1 << bit} ELSE 0 END")
            clock.append(f"CASE WHEN {parsed.clock_change} THEN {1 << bit} ELSE 0 END")
    own = _kept(table, rule, source)
    for name in extras:
        raw = values.without_nulls(f"s.{sql_name(name)}", source.format) if name in own else "NULL::VARCHAR"
        columns.append(f"nullif(trim(nfc_normalize({raw})), '') AS {sql_name(name)}")
    for mask, flags in (("_bad", bad), ("_naive", naive), ("_clock", clock)):
        columns.append(f"({' + '.join(flags) or '0'})::BIGINT AS {mask}")
    columns.append(f"{sql_text(source.name)} AS source_file")
    columns.append("s.source_row AS source_row")
    where = " AND ".join(
        f"s.{sql_name(name)} IN ({', '.join(map(sql_text, allowed))})" for name, allowed in rule.where.items()
    )
    select = f"SELECT {', '.join(columns)} FROM {source.relation} AS s {' '.join(joins)}"
    if where:
        select += f" WHERE {where}"
    if rule.distinct:
        names = ", ".join(sql_name(name) for name in (*table.columns, *extras))
        select = f"SELECT * FROM ({select}) QUALIFY source_row = min(source_row) OVER (PARTITION BY {names})"
    return f"({select})", filled


def _raw(
    con: duckdb.DuckDBPyConnection,
    rule: Rule,
    fmt: FileFormat,
    sources: dict[str, Source],
    joins: list[str],
) -> str:
    """The SQL text of a rule's raw value, with its lookups added to ``joins``."""
    if rule.value is not None:
        raw = f"{sql_text(rule.value)}::VARCHAR"
    elif rule.first:
        raw = "coalesce(" + ", ".join(_raw(con, inner, fmt, sources, joins) for inner in rule.first) + ")"
    else:
        assert rule.column is not None
        raw = values.without_nulls(f"s.{sql_name(rule.column)}", fmt)
    if rule.null_when:
        raw = f"CASE WHEN {raw} IN ({', '.join(map(sql_text, rule.null_when))}) THEN NULL ELSE {raw} END"
    if rule.recode:
        cases = " ".join(f"WHEN {sql_text(k)} THEN {sql_text(v)}" for k, v in rule.recode.items())
        raw = f"CASE {raw} {cases} ELSE {raw} END"
    if rule.lookup:
        alias = _join(con, rule.lookup, raw, sources, joins)
        raw = f"{alias}.{sql_name(rule.lookup.value)}"
    if rule.true_when:
        raw = f"CASE WHEN {raw} IS NULL THEN NULL ELSE ({raw} IN ({', '.join(map(sql_text, rule.true_when))}))::VARCHAR END"
    if rule.default is not None:
        raw = f"coalesce({raw}, {sql_text(rule.default)})"
    return raw


def _join(
    con: duckdb.DuckDBPyConnection, lookup: Lookup, raw: str, sources: dict[str, Source], joins: list[str]
) -> str:
    source = sources[lookup.file]
    for name in (lookup.key, lookup.value):
        if name not in source.columns:
            raise InputError(
                Problem(
                    f"the file has no column {name!r}",
                    file=source.name,
                    next_step=did_you_mean(name, list(source.columns)),
                )
            )
    key = sql_name(lookup.key)
    twice = con.execute(
        f"SELECT {key}, count(*), min(source_row) FROM {source.relation} GROUP BY 1 HAVING count(*) > 1"
    ).fetchall()
    if twice:
        raise InputError(
            Problem(
                "the key of a lookup is not unique, so rows would be counted more than once",
                file=source.name,
                row=row,
                column=lookup.key,
                got=str(value),
                count=count,
            )
            for value, count, row in twice[:20]
        )
    alias = f"l{len(joins)}"
    joins.append(f"LEFT JOIN {source.relation} AS {alias} ON {alias}.{key} = {raw}")
    return alias


def _refusals(
    con: duckdb.DuckDBPyConnection,
    staged: Staged,
    mapping: Mapping,
    sources: dict[str, Source],
    rules: Sequence[TableRule],
) -> Iterator[Problem]:
    """What refuses a whole file: dates of undeclared order, moments with and without offset mixed."""
    for bit, (name, contract) in enumerate(staged.table.columns.items()):
        if contract.type not in ("date", "instant"):
            continue
        mask = 1 << bit
        if contract.type == "instant":
            yield from _mixed_offsets(con, staged, name, mask)
        bad = con.execute(
            f"SELECT source_file, source_row FROM {parquet(staged.path)} "
            f"WHERE _bad & {mask} <> 0 ORDER BY source_row"
        ).fetchall()
        for rule in rules:
            column = rule.columns[name].column if name in rule.columns else name
            source = sources[rule.source]
            declared = source.format.dates if contract.type == "date" else source.format.instants
            own = rule.columns[name].dates if name in rule.columns else None
            if (own or declared) != "iso" or column not in source.columns:
                continue
            if not any(file == source.name for file, _ in bad):
                continue
            found = con.execute(
                f"SELECT count(*), min_by({sql_name(column)}, source_row), min(source_row) FROM {source.relation} "
                f"WHERE regexp_matches(trim({sql_name(column)}), {sql_text(values.AMBIGUOUS_DATE)})"
            ).fetchone()
            if found and found[0]:
                yield values.ambiguous_dates(source.name, column, found[0], found[1], found[2])


def _mixed_offsets(con: duckdb.DuckDBPyConnection, staged: Staged, name: str, mask: int) -> Iterator[Problem]:
    rows = con.execute(
        f"SELECT source_file, count(*) FILTER (_naive & {mask} <> 0), "
        f"min(source_row) FILTER (_naive & {mask} <> 0), min(source_row) FILTER (_naive & {mask} = 0), "
        f"count(*) FROM {parquet(staged.path)} "
        f"WHERE {sql_name(name)} IS NOT NULL GROUP BY 1"
    ).fetchall()
    for file, naive, naive_row, aware_row, total in rows:
        if 0 < naive < total:
            yield Problem(
                f"moments with and without a UTC offset are mixed (row {aware_row} has one)",
                file=file,
                row=naive_row,
                column=name,
                expected="an offset such as Z or +08:00 on every row, or on none",
                count=naive,
            )
