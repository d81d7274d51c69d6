"""Contracts applied to staged rows: what is set aside, what is kept with a flag, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import duckdb

from salesops_kit.data import values
from salesops_kit.data.checks import ALSO_READ, KEPT, SET_ASIDE, TARGETS, Check, row_checks
from salesops_kit.data.engine import count, parquet, sql_name, sql_text, write_parquet
from salesops_kit.data.importer import Import, Staged, format_of
from salesops_kit.data.spelling import changed_columns, find_spellings, respell, spelling_checks
from salesops_kit.data.stages import find_closed

__all__ = ["EXCLUSIONS", "EXCLUSION_COLUMNS", "KEPT", "SET_ASIDE", "clean"]

EXCLUSIONS = "exclusions"
SHOWN = 200
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


def clean(con: duckdb.DuckDBPyConnection, imported: Import, *, folder: Path) -> dict[str, Path]:
    """Write each staged table without the rows that are set aside; list those in ``exclusions``.

    Creates the temporary table ``exclusions`` (columns: ``EXCLUSION_COLUMNS``) on the connection and
    returns the Parquet file of each table, sorted by key, without lineage. Adds to the notes of the import
    what targets lack.
    """
    columns = ", ".join(f"{name} {type_}" for name, type_ in EXCLUSION_COLUMNS.items())
    con.execute(f"CREATE OR REPLACE TEMP TABLE {EXCLUSIONS} ({columns})")
    for action, listed in ((SET_ASIDE, imported.broken), (KEPT, imported.flagged)):
        for table, problem in listed:
            con.execute(
                f"INSERT INTO {EXCLUSIONS} VALUES (?, ?, ?, NULL, ?, ?, ?, ?, ?, NULL, NULL, NULL)",
                [table, problem.file, problem.row, problem.column, problem.what, problem.expected,
                 problem.got, action],
            )  # fmt: skip
    find_spellings(con, imported)
    cleaned: dict[str, Path] = {}
    for name in _parents_first(imported.staged):
        staged = imported.staged[name]
        if respelt := changed_columns(con, staged):
            for check in spelling_checks(staged, respelt):
                _record(con, imported, staged, check)
            respell(con, staged, respelt)
        if name == "opportunities":
            find_closed(con, {**cleaned, name: staged.path}, imported.settings)
        broken = _broken(con, staged, list(row_checks(staged, cleaned)))
        for check in broken:
            _record(con, imported, staged, check)
        cleaned[name] = _write(con, staged, broken, folder)
    imported.notes += _lacking_targets(con)
    return cleaned


def _lacking_targets(con: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """What no target counts: rows of the plan and quotas that are set aside."""
    rows = con.execute(
        f"SELECT table_name, count(DISTINCT (source_file, source_row)) FROM {EXCLUSIONS} "
        f"WHERE action = {sql_text(SET_ASIDE)} AND table_name IN ({', '.join(map(sql_text, TARGETS))}) "
        "GROUP BY 1 ORDER BY 1"
    ).fetchall()
    for name, times in rows:
        lost = f"1 row of {name} is" if times == 1 else f"{times:,} rows of {name} are"
        yield f"{lost} set aside, so that targets lack {'it' if times == 1 else 'them'}; see salesops check."


def _parents_first(staged: Mapping[str, Staged]) -> list[str]:
    """Table names, the tables that rows are checked against before those that are checked."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order or name not in staged:
            return
        for parent in (*staged[name].table.references.values(), *ALSO_READ.get(name, ())):
            if parent != name:
                visit(parent)
        order.append(name)

    for name in sorted(staged):
        visit(name)
    return order


def _broken(con: duckdb.DuckDBPyConnection, staged: Staged, checks: Sequence[Check]) -> list[Check]:
    """The checks that some row breaks, the repeated key among them (counted in one pass each)."""
    rows = f"{parquet(staged.path)}"
    broken: list[Check] = []
    if checks:
        counted = ", ".join(f"count(*) FILTER (WHERE {check.predicate})" for check in checks)
        counts = con.execute(f"SELECT {counted} FROM {rows}").fetchone()
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
    sides = f"{side}(1) OVER () AS has_{side}, " + ", ".join(
        f"{side}({sql_name(name)}) OVER () AS {side}_{i}" for i, name in enumerate(key)
    )
    good = " AND ".join(f"NOT coalesce({check.predicate}, false)" for check in before) or "true"
    names = ", ".join(map(sql_name, key))
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE repeated_{staged.table.name} AS SELECT source_file, source_row FROM "
        f"(SELECT {names}, source_file, source_row, {sides} FROM "
        f"(SELECT {names}, source_file, source_row FROM {parquet(staged.path)} WHERE {good})) "
        f"WHERE has_{side} = 1 AND {same}"
    )
    if not count(con, f"SELECT count(*) FROM repeated_{staged.table.name}"):
        return None
    kept = "last" if side == "lead" else "first"
    return Check(
        f"the key is repeated; the {kept} row is kept", " and ".join(key),
        f"(source_file, source_row) IN (SELECT (source_file, source_row) FROM repeated_{staged.table.name})",
        SET_ASIDE, "a key that occurs once", shows="value" if len(key) == 1 else "nothing",
    )  # fmt: skip


def _record(con: duckdb.DuckDBPyConnection, imported: Import, staged: Staged, check: Check) -> None:
    def text(value: str | None) -> str:
        return "NULL" if value is None else sql_text(value)

    columns = staged.table.columns
    parts = [f"coalesce({sql_name(name)}::VARCHAR, '')" for name in staged.table.key]
    key = " || ' ' || ".join(parts) or "NULL"
    money = next((name for name in ("amount", "quota", "mrr", "value") if name in columns), "NULL")
    shown = check.column if check.shows == "value" else None
    got = f"left({sql_name(shown)}::VARCHAR, {SHOWN})" if shown else "NULL"
    expected = check.expected if check.expected_is_sql else text(check.expected)
    con.execute(
        f"INSERT INTO {EXCLUSIONS} SELECT {sql_text(staged.table.name)}, source_file, source_row, {key}, "
        f"{text(check.column)}, {sql_text(check.problem)}, {expected}, {got}, {sql_text(check.action)}, "
        f"{'opportunity_id' if 'opportunity_id' in columns else 'NULL'}, "
        f"{'owner_id' if 'owner_id' in columns else 'NULL'}, {money} "
        f"FROM {parquet(staged.path)} WHERE {check.predicate}"
    )
    if check.shows == "file" and check.column:
        _show_text_of_file(con, imported, staged.table.name, check.column, check)


def _show_text_of_file(
    con: duckdb.DuckDBPyConnection, imported: Import, table: str, column: str, check: Check
) -> None:
    """Put the text itself, as the file has it, into the exclusions of one check, and what the file would
    have instead."""
    for file, raw in imported.raw_columns.get((table, column), ()):
        source = imported.sources[file]
        expected = check.expected
        if check.unread:
            filling = next(one for one in imported.fillings[table] if one.source.name == file)
            expected = values.expected(check.unread, format_of(filling, column, raw))
        text = f"left({sql_name(raw)}, {SHOWN})"
        rows = f"SELECT source_row AS number, {text} AS raw, {source.file_sql} AS name FROM {source.relation}"
        if source.has_files:
            # A row of the file may have become several; what cannot be told apart is not shown.
            rows = (
                f"SELECT number, min(raw) AS raw, name FROM ({rows}) GROUP BY number, name "
                "HAVING count(DISTINCT raw) = 1"
            )
        con.execute(
            f"UPDATE {EXCLUSIONS} SET got = r.raw, expected = {sql_text(expected or '')} FROM ({rows}) AS r "
            f"WHERE r.number = source_row AND source_file = r.name "
            f"AND table_name = {sql_text(table)} AND column_name = {sql_text(column)} "
            f"AND problem = {sql_text(check.problem)}"
        )


def _write(con: duckdb.DuckDBPyConnection, staged: Staged, broken: Sequence[Check], folder: Path) -> Path:
    path = folder / f"{staged.table.name}.parquet"
    aside = [check.predicate for check in broken if check.action == SET_ASIDE]
    blanked = {check.column: check.predicate for check in broken if check.blanks}
    columns = []
    for name in (*staged.table.columns, *staged.extra):
        value = sql_name(name)
        if name in blanked:
            value = f"CASE WHEN {blanked[name]} THEN NULL ELSE {value} END AS {value}"
        columns.append(value)
    where = " AND ".join(f"NOT coalesce({predicate}, false)" for predicate in aside)
    query = f"SELECT {', '.join(columns)} FROM {parquet(staged.path)}"
    write_parquet(con, f"{query} WHERE {where}" if where else query, path)
    return path
