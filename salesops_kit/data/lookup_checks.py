"""What of an export's rows would be counted twice or could not be looked up, found before a row is read."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from salesops_kit.data import values
from salesops_kit.data.engine import sql_name
from salesops_kit.data.rules import Lookup, Rule
from salesops_kit.data.selects import Filling, period_day, quarter_table, where_sql
from salesops_kit.errors import Problem

SHOWN = 20


def row_problems(con: duckdb.DuckDBPyConnection, filling: Filling) -> Iterator[Problem]:
    """Every refusal that the rows of a table's file and of its lookups' files give rise to."""
    yield from fan_outs(con, filling)
    yield from _several(con, filling)
    for rule in filling.rule.columns.values():
        if rule.lookup and rule.lookup.until:
            yield from _unknown_periods(con, filling, rule, rule.lookup)
            yield from _beyond_a_quarter(con, filling, rule, rule.lookup)


def fan_outs(con: duckdb.DuckDBPyConnection, filling: Filling) -> Iterator[Problem]:
    """Keys of lookups that occur more than once, so that a join would count rows twice."""
    lookups = [lookup for rule in filling.rule.columns.values() for lookup in rule.lookups()]
    refused = {(one.file, one.key, where_sql(one.where, "")) for one in lookups if one.repeated == "refuse"}
    for file, key, where in sorted(refused):
        if file not in filling.sources:
            continue
        relation = f"(SELECT * FROM {filling.sources[file].relation}{where})"
        field = values.short_id(f"trim({sql_name(key)})", filling.sources[file].format)
        twice = con.execute(
            f"SELECT {field}, count(*), min(source_row) FROM {relation} WHERE {field} <> '' "
            f"GROUP BY 1 HAVING count(*) > 1 ORDER BY 3 LIMIT {SHOWN}"
        ).fetchall()
        for value, times, row in twice:
            yield Problem(
                "the key of a lookup is not unique, so rows would be counted more than once", file=file,
                row=row, column=key, expected="a key that occurs once", got=value, count=times,
            )  # fmt: skip


def _several(con: duckdb.DuckDBPyConnection, filling: Filling) -> Iterator[Problem]:
    """Columns that must hold one value and hold several."""
    source, where = filling.source, where_sql(filling.rule.where, "")
    for name in filling.rule.single:
        value = values.short_id(f"trim({sql_name(name)})", source.format)
        found = con.execute(
            f"SELECT {value}, count(*), min(source_row) FROM {source.relation}{where} GROUP BY 1 ORDER BY 3"
        ).fetchall()
        if len(found) > 1:
            kinds = ", ".join(f"{kind or '(none)'} ({n:,} rows)" for kind, n, _ in found[:SHOWN])
            choice = f"`where: {{{name}: [{found[0][0]}]}}`"
            yield Problem(
                "rows of several kinds would count the same thing more than once", file=source.name,
                row=found[1][2], column=name, expected="one value", got=kinds,
                next_step=f"Choose one in a mapping on top of this one: {choice}.",
            )  # fmt: skip


def _wanted(filling: Filling, rule: Rule) -> str:
    """SQL of the ids that a rule looks up, each with the first row that has it and the number of its rows."""
    source = filling.source
    wanted = values.short_id(f"trim({sql_name(str(rule.column))})", source.format)
    where = where_sql(filling.rule.where, "", [f"trim({sql_name(str(rule.column))}) <> ''"])
    return (
        f"SELECT {wanted} AS k, min(source_row) AS first_row, count(*) AS n FROM {source.relation}{where} "
        "GROUP BY 1"
    )


def _unknown_periods(
    con: duckdb.DuckDBPyConnection, filling: Filling, rule: Rule, lookup: Lookup
) -> Iterator[Problem]:
    other = filling.sources[lookup.file]
    key = values.short_id(f"trim({sql_name(lookup.key)})", other.format)
    known = f"SELECT {key} FROM {other.relation}{where_sql(lookup.where, '')}"
    found = con.execute(
        f"SELECT k, first_row, sum(n) OVER (), count(*) OVER () FROM ({_wanted(filling, rule)}) w "
        f"WHERE NOT EXISTS (SELECT 1 FROM ({known}) p(k) WHERE p.k = w.k) ORDER BY first_row LIMIT 1"
    ).fetchone()
    if found:
        period, row, rows, periods = found
        what = f"the period is not in {other.name}" + (f", and so are {periods - 1:,} more" * (periods > 1))
        yield Problem(
            what, file=filling.source.name, row=row, column=rule.column,
            expected=f"a value of the column {lookup.key} of {other.name}", got=period, count=rows,
            next_step=f"Export {other.name} again with every period, also those that are over.",
        )  # fmt: skip


def _beyond_a_quarter(
    con: duckdb.DuckDBPyConnection, filling: Filling, rule: Rule, lookup: Lookup
) -> Iterator[Problem]:
    other = filling.sources[lookup.file]
    key = values.short_id(f"trim({sql_name(lookup.key)})", other.format)
    until = str(lookup.until)
    found = con.execute(
        f"SELECT p.row_no, p.first_text, p.last_text, count(*) OVER () FROM (SELECT {key} AS k, "
        f"source_row AS row_no, {sql_name(lookup.value)} AS first_text, {sql_name(until)} AS last_text, "
        f"{period_day(lookup.value, other, filling.zone)} AS first_day, "
        f"{period_day(until, other, filling.zone)} AS last_day "
        f"FROM {other.relation}{where_sql(lookup.where, '')}) p "
        f"SEMI JOIN ({_wanted(filling, rule)}) w USING (k) "
        f"WHERE NOT EXISTS (SELECT 1 FROM {quarter_table(filling.settings)} WHERE p.first_day >= q.start_day "
        "AND p.first_day <= p.last_day AND p.last_day < q.end_day) ORDER BY p.row_no LIMIT 1"
    ).fetchone()
    if found:
        row, first, last, n = found
        month = filling.settings.fiscal_start_month
        yield Problem(
            "the period lies in no one fiscal quarter", file=other.name, row=row, column=lookup.value,
            expected=f"days of one quarter of a fiscal year that begins in month {month}",
            got=f"{first or '(none)'} to {last or '(none)'}", count=n,
            next_step="Set `fiscal_start_month` (and `calendar`) as the CRM has them, or leave the rows of "
            f"longer periods out of {filling.source.name}.",
        )  # fmt: skip
