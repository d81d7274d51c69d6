"""One spelling per category: values that differ only by case or outer spaces are one value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb

from salesops_kit.data.checks import KEPT, Check
from salesops_kit.data.engine import parquet, sql_name, sql_text, write_parquet
from salesops_kit.data.importer import Import, Staged

SPELLINGS, CHANGES = "spellings", "spelling_changes"
# Columns of several tables that hold the same names; every other column stands for itself.
_SHARED = {
    "team": "team",
    "parent_team": "team",
    "stage": "stage",
    "pipeline": "pipeline",
    "currency": "currency",
    "base": "currency",
    "quote": "currency",
    "forecast_category": "forecast_category",
    "region": "region",
    "segment": "segment",
}
_SPACES = " \t\r\n\u00a0\u202f\u3000"


def find_spellings(con: duckdb.DuckDBPyConnection, imported: Import) -> None:
    """Create the temporary table ``spelling_changes`` (place, got, kept, is_said).

    ``place`` is ``table.column``. Of several spellings the declared one is kept (a stage of the
    settings or the stages table, a team of the teams table, a choice of the contract), else the most
    frequent; currency codes are upper case. A column whose values are all padded alike is trimmed
    without a word (``is_said`` false).
    """
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {SPELLINGS} (place VARCHAR, domain VARCHAR, got VARCHAR, "
        "times BIGINT, is_declared BOOLEAN)"
    )
    for staged in imported.staged.values():
        for name in _categories(staged):
            place = f"{staged.table.name}.{name}"
            domain = _SHARED.get(name, place)
            declares = (staged.table.name, name) in (("stages", "stage"), ("teams", "team"))
            column = sql_name(name)
            con.execute(
                f"INSERT INTO {SPELLINGS} SELECT {sql_text(place)}, {sql_text(domain)}, {column}, count(*), "
                f"{declares} FROM {parquet(staged.path)} WHERE {column} IS NOT NULL GROUP BY {column}"
            )
            for choice in staged.table.choices.get(name, ()):
                _declare(con, domain, choice)
    for stage in imported.settings.stages:
        _declare(con, "stage", stage.stage)
    trimmed = f"trim(got, {sql_text(_SPACES)})"
    # One row per value as it would be kept; the best of each group of equal folds is chosen.
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {CHANGES} AS WITH "
        f"folded AS (SELECT *, CASE WHEN domain = 'currency' THEN upper({trimmed}) ELSE {trimmed} END AS "
        f"clean, lower({trimmed}) AS fold FROM {SPELLINGS}), "
        "ranked AS (SELECT domain, fold, clean, bool_or(is_declared) AS is_declared, sum(times) AS times "
        "FROM folded GROUP BY ALL), "
        "best AS (SELECT domain, fold, clean AS kept FROM ranked QUALIFY row_number() OVER "
        "(PARTITION BY domain, fold ORDER BY is_declared DESC, times DESC, clean) = 1), "
        "variety AS (SELECT domain, fold, count(DISTINCT got) AS spelt FROM folded GROUP BY ALL) "
        "SELECT place, got, nullif(kept, '') AS kept, spelt > 1 OR clean <> kept AS is_said "
        "FROM folded JOIN best USING (domain, fold) JOIN variety USING (domain, fold) "
        "WHERE place IS NOT NULL AND got <> kept"
    )
    con.execute(f"DROP TABLE {SPELLINGS}")


def _declare(con: duckdb.DuckDBPyConnection, domain: str, name: str) -> None:
    con.execute(f"INSERT INTO {SPELLINGS} VALUES (NULL, ?, ?, 0, true)", [domain, name])


def _categories(staged: Staged) -> list[str]:
    columns = staged.table.columns.values()
    return [c.name for c in columns if c.type == "category" and c.name not in staged.absent]


def changed_columns(con: duckdb.DuckDBPyConnection, staged: Staged) -> list[str]:
    """The table's category columns that hold another spelling than the kept one."""
    places = {row[0] for row in con.execute(f"SELECT DISTINCT place FROM {CHANGES}").fetchall()}
    return [name for name in _categories(staged) if f"{staged.table.name}.{name}" in places]


def spelling_checks(staged: Staged, columns: Sequence[str]) -> Iterator[Check]:
    """One flag per row that is spelt otherwise; to be recorded before :func:`respell`."""
    for name in columns:
        own = f"FROM {CHANGES} p WHERE p.place = {sql_text(f'{staged.table.name}.{name}')}"
        yield Check(
            "another spelling of a value; read as the one expected", name,
            f"{sql_name(name)} IN (SELECT p.got {own} AND p.is_said AND p.kept IS NOT NULL)", KEPT,
            f"(SELECT max(p.kept) {own} AND p.got = {sql_name(name)})", expected_is_sql=True, shows="value",
        )  # fmt: skip


def respell(con: duckdb.DuckDBPyConnection, staged: Staged, columns: Sequence[str]) -> None:
    """Write the staged file anew with every value in its kept spelling, sorted as before."""
    joins, values = [], []
    for number, name in enumerate(columns):
        place = sql_text(f"{staged.table.name}.{name}")
        joins.append(
            f"LEFT JOIN (SELECT got, kept FROM {CHANGES} WHERE place = {place}) AS p{number} "
            f"ON p{number}.got = s.{sql_name(name)}"
        )
        kept = f"CASE WHEN p{number}.got IS NULL THEN s.{sql_name(name)} ELSE p{number}.kept END"
        values.append(f"{kept} AS {sql_name(name)}")
    order = ", ".join(map(sql_name, staged.table.key or (*staged.table.columns, *staged.extra)))
    written = staged.path.with_suffix(".respelt")
    write_parquet(
        con,
        f"SELECT * FROM (SELECT s.* REPLACE ({', '.join(values)}) FROM {parquet(staged.path)} AS s "
        f"{' '.join(joins)}) ORDER BY {order}, source_file, source_row",
        written,
        is_passing=True,
    )
    written.replace(staged.path)
