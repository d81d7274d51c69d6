"""Contracts applied to staged rows: what is set aside, what is kept with a flag, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import duckdb

from salesops_kit.data.contracts import Table
from salesops_kit.data.engine import count, parquet, sql_name, sql_text, write_parquet
from salesops_kit.data.importer import Import, Staged
from salesops_kit.data.values import EXPECTED

SET_ASIDE, KEPT = "set aside", "kept"
EXCLUSIONS = "exclusions"
EXCLUSION_COLUMNS = {
    "table_name": "VARCHAR",
    "source_file": "VARCHAR",
    "source_row": "BIGINT",
    "key": "VARCHAR",
    "column_name": "VARCHAR",
    "problem": "VARCHAR",
    "expected": "VARCHAR",
    "got": "VARCHAR",
    "action": "VARCHAR",
    "opportunity_id": "VARCHAR",
    "owner_id": "VARCHAR",
    "amount": "DECIMAL(18,4)",
}


@dataclass(frozen=True)
class Check:
    """One rule about one row: SQL that is true where the row breaks it, and what then happens.

    ``blank`` names a column whose value is dropped while its row is kept.
    """

    problem: str
    column: str | None
    predicate: str
    action: Literal["set aside", "kept"]
    expected: str | None = None
    blank: str | None = None
    shows_raw: bool = False


def clean(con: duckdb.DuckDBPyConnection, imported: Import, *, folder: Path) -> dict[str, Path]:
    """Write each staged table without the rows that are set aside; list those in ``exclusions``.

    Creates the temporary table ``exclusions`` (columns: ``EXCLUSION_COLUMNS``) on the connection and
    returns the Parquet file of each table, sorted by key, without lineage.
    """
    columns = ", ".join(f"{name} {type_}" for name, type_ in EXCLUSION_COLUMNS.items())
    con.execute(f"CREATE OR REPLACE TEMP TABLE {EXCLUSIONS} ({columns})")
    for table, problem in imported.broken:
        con.execute(
            f"INSERT INTO {EXCLUSIONS} VALUES (?, ?, ?, NULL, ?, ?, ?, ?, '{SET_ASIDE}', NULL, NULL, NULL)",
            [table, problem.file, problem.row, problem.column, problem.what, problem.expected, problem.got],
        )
    cleaned: dict[str, Path] = {}
    for name in _parents_first(imported.staged):
        staged = imported.staged[name]
        checks = list(_checks(staged, cleaned))
        broken = _broken(con, staged, checks)
        for check in broken:
            _record(con, imported, staged, check)
        cleaned[name] = _write(con, staged, broken, folder)
    return cleaned


def _parents_first(staged: Mapping[str, Staged]) -> list[str]:
    """Table names, referenced tables before those that refer to them."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order or name not in staged:
            return
        for parent in staged[name].table.references.values():
            if parent != name:
                visit(parent)
        order.append(name)

    for name in sorted(staged):
        visit(name)
    return order


def _checks(staged: Staged, cleaned: Mapping[str, Path]) -> Iterator[Check]:
    table = staged.table
    present = [column for column in table.columns.values() if column.name not in staged.absent]
    for bit, column in enumerate(table.columns.values()):
        if column.type in EXPECTED and column in present:
            predicate = f"_bad & {1 << bit} <> 0"
            yield Check(
                f"not readable as {column.type}", column.name, predicate, SET_ASIDE,
                EXPECTED[column.type], shows_raw=True,
            )  # fmt: skip
    for column in present:
        name = sql_name(column.name)
        if not column.nullable:
            bit = 1 << list(table.columns).index(column.name)
            yield Check(
                "a required value is missing", column.name,
                f"{name} IS NULL AND _bad & {bit} = 0", SET_ASIDE, "a value",
            )  # fmt: skip
        if column.type == "rate":
            yield Check(
                "a share outside 0 to 1; the value is dropped", column.name,
                f"{name} NOT BETWEEN 0 AND 1", KEPT, "0 to 1", blank=column.name, shows_raw=True,
            )  # fmt: skip
    for name, choices in table.choices.items():
        if name not in staged.absent:
            allowed = ", ".join(map(sql_text, choices))
            yield Check(
                "a value outside the list", name,
                f"{sql_name(name)} NOT IN ({allowed})", KEPT, " or ".join(choices), shows_raw=True,
            )  # fmt: skip
    for name, parent in table.references.items():
        if name in staged.absent or parent not in cleaned:
            continue
        yield from _reference_checks(table, name, parent, cleaned[parent])
    if table.name == "opportunities":
        yield from _deal_checks(staged)


def _reference_checks(table: Table, name: str, parent: str, path: Path) -> Iterator[Check]:
    column = sql_name(name)
    known = f"(SELECT {column} FROM {parquet(path)})"
    history = table.name == "opportunity_history"
    yield Check(
        f"not in {parent}", name, f"{column} IS NOT NULL AND {column} NOT IN {known}",
        SET_ASIDE if history else KEPT, f"a value that {parent} holds", shows_raw=True,
    )  # fmt: skip
    if table.name == "opportunities" and table.columns[name].nullable:
        yield Check(f"no {name.removesuffix('_id')} is named", name, f"{column} IS NULL", KEPT, "a value")


def _deal_checks(staged: Staged) -> Iterator[Check]:
    have = set(staged.canonical) - set(staged.absent)
    if {"close_date", "created_date"} <= have or {"close_date", "created_at"} <= have:
        created = "coalesce(created_date, created_at::DATE)"
        yield Check(
            "closed before it was created; left out of durations", "close_date",
            f"close_date < {created}", KEPT, "a close date on or after creation", shows_raw=True,
        )  # fmt: skip
    if "amount" in have:
        yield Check("a negative amount", "amount", "amount < 0", KEPT, "0 or more", shows_raw=True)
    if "currency" in have:
        yield Check(
            "no currency is named; the base currency is assumed", "currency",
            "currency IS NULL AND amount IS NOT NULL", KEPT, "a currency code",
        )  # fmt: skip


def _broken(con: duckdb.DuckDBPyConnection, staged: Staged, checks: Sequence[Check]) -> list[Check]:
    """The checks that some row breaks, the repeated key among them (counted in one pass each)."""
    rows = f"{parquet(staged.path)}"
    broken: list[Check] = []
    if checks:
        counts = con.execute(
            f"SELECT {', '.join(f'count(*) FILTER (WHERE {check.predicate})' for check in checks)} FROM {rows}"
        ).fetchone()
        assert counts is not None
        broken = [check for check, number in zip(checks, counts, strict=True) if number]
    repeated = _repeated_key(con, staged, [check for check in broken if check.action == SET_ASIDE])
    return [*broken, repeated] if repeated else broken


def _repeated_key(con: duckdb.DuckDBPyConnection, staged: Staged, before: Sequence[Check]) -> Check | None:
    key = staged.table.key
    if not key:
        return None
    # The staged file is sorted by key, so a repeated key is the row next to its twin. Of two
    # history rows at one instant the last stands; of two rows of anything else the first.
    side = "lead" if staged.table.name == "opportunity_history" else "lag"
    same = " AND ".join(f"{sql_name(name)} IS NOT DISTINCT FROM {side}_{i}" for i, name in enumerate(key))
    sides = ", ".join(f"{side}({sql_name(name)}) OVER () AS {side}_{i}" for i, name in enumerate(key))
    good = " AND ".join(f"NOT coalesce({check.predicate}, false)" for check in before) or "true"
    names = ", ".join(map(sql_name, key))
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE repeated_{staged.table.name} AS SELECT source_file, source_row FROM "
        f"(SELECT {names}, source_file, source_row, {sides} FROM "
        f"(SELECT {names}, source_file, source_row FROM {parquet(staged.path)} WHERE {good})) "
        f"WHERE {side}_0 IS NOT NULL AND {same}"
    )
    if not count(con, f"SELECT count(*) FROM repeated_{staged.table.name}"):
        return None
    kept = "last" if side == "lead" else "first"
    return Check(
        f"the key is repeated; the {kept} row is kept", " and ".join(key),
        f"(source_file, source_row) IN (SELECT (source_file, source_row) FROM repeated_{staged.table.name})",
        SET_ASIDE, "a key that occurs once",
    )  # fmt: skip


def _record(con: duckdb.DuckDBPyConnection, imported: Import, staged: Staged, check: Check) -> None:
    def text(value: str | None) -> str:
        return "NULL" if value is None else sql_text(value)

    columns = set(staged.canonical)
    key = (
        " || ' ' || ".join(f"coalesce({sql_name(name)}::VARCHAR, '')" for name in staged.table.key) or "NULL"
    )
    money = next((name for name in ("amount", "quota", "mrr", "value") if name in columns), None)
    got = f"{sql_name(check.column)}::VARCHAR" if check.column in columns else "NULL"
    con.execute(
        f"INSERT INTO {EXCLUSIONS} SELECT {sql_text(staged.table.name)}, source_file, source_row, {key}, "
        f"{text(check.column)}, {sql_text(check.problem)}, {text(check.expected)}, "
        f"{got if check.shows_raw else 'NULL'}, {sql_text(check.action)}, "
        f"{'opportunity_id' if 'opportunity_id' in columns else 'NULL'}, "
        f"{'owner_id' if 'owner_id' in columns else 'NULL'}, {money or 'NULL'} "
        f"FROM {parquet(staged.path)} WHERE {check.predicate}"
    )
    if check.predicate.startswith("_bad"):
        _fill_raw(con, imported, staged, check)


def _fill_raw(con: duckdb.DuckDBPyConnection, imported: Import, staged: Staged, check: Check) -> None:
    """Put the unreadable text itself into the exclusions, from the file."""
    assert check.column is not None
    for name, raw_column in imported.raw_columns.get((staged.table.name, check.column), ()):
        con.execute(
            f"UPDATE {EXCLUSIONS} SET got = r.raw FROM (SELECT source_row AS number, {sql_name(raw_column)} AS raw "
            f"FROM {imported.sources[name].relation}) AS r WHERE r.number = source_row "
            f"AND source_file = {sql_text(name)} AND table_name = {sql_text(staged.table.name)} "
            f"AND column_name = {sql_text(check.column)} AND got IS NULL"
        )


def _write(con: duckdb.DuckDBPyConnection, staged: Staged, broken: Sequence[Check], folder: Path) -> Path:
    path = folder / f"{staged.table.name}.parquet"
    aside = [check.predicate for check in broken if check.action == SET_ASIDE]
    blanks = {check.blank for check in broken if check.blank}
    columns = []
    for name in (*staged.canonical, *staged.extra):
        if name in blanks:
            columns.append(
                f"CASE WHEN {sql_name(name)} BETWEEN 0 AND 1 THEN {sql_name(name)} END AS {sql_name(name)}"
            )
        else:
            columns.append(sql_name(name))
    where = " AND ".join(f"NOT coalesce({predicate}, false)" for predicate in aside)
    query = f"SELECT {', '.join(columns)} FROM {parquet(staged.path)}"
    write_parquet(con, f"{query} WHERE {where}" if where else query, path)
    return path
