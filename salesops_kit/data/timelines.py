"""Derived sources: columns as rows, and changes of single fields as full states, in SQL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import duckdb

from salesops_kit.data import values
from salesops_kit.data.engine import parquet, sql_name, sql_text, write_parquet
from salesops_kit.data.file_format import FileFormat
from salesops_kit.data.rules import Derived, Present, Stream, Timeline, Unpivot
from salesops_kit.data.sources import Source
from salesops_kit.errors import InputError, Problem, did_you_mean

KEY, AT = "key", "at"
_NOTHING = "NULL::STRUCT(v VARCHAR)"


def derive(
    con: duckdb.DuckDBPyConnection,
    name: str,
    derived: Derived,
    sources: Mapping[str, Source],
    *,
    zone: str,
    folder: Path,
) -> Source | None:
    """The rows of a derived source, written once; each knows the file and the row that it comes from.

    None where no column or no change is there to derive it from. Raises columns that the files lack.
    """
    if derived.unpivot:
        source = sources[derived.unpivot.source]
        query = _unpivot(derived.unpivot, source)
        fmt, native = source.format, source.native | ({derived.unpivot.value} if source.native else set())
    else:
        assert derived.timeline is not None
        problems = list(_missing_columns(derived.timeline, sources))
        if problems:
            raise InputError(problems)
        first = sources[derived.timeline.streams[0].source]
        query, fmt, native = _timeline(con, derived.timeline, sources, zone), first.format, frozenset()
    if query is None:
        return None
    path = folder / f"derived_{len(list(folder.glob('derived_*')))}.parquet"
    rows = write_parquet(con, query, path)
    described = con.execute(f"DESCRIBE SELECT * FROM {parquet(path)}").fetchall()
    columns = tuple(column for column, *_ in described if column not in ("source_row", "source_file"))
    return Source(
        name, path, fmt, columns, parquet(path), rows, identity=None, native=frozenset(native), has_files=True
    )


def _unpivot(rule: Unpivot, source: Source) -> str | None:
    """SQL of the rows that a file's columns become."""
    named: dict[str, str] = {}
    for pattern in rule.columns:
        before, after = pattern.split("*")
        for column in source.columns:
            part = column[len(before) : len(column) - len(after)]
            if fnmatchcase(column, pattern) and column not in named and part not in named.values():
                named[column] = part
    if not named:
        return None
    others = [sql_name(column) for column in source.columns if column not in named]
    parts = [
        f"SELECT {', '.join([*others, ''])} {sql_text(part)} AS {sql_name(rule.name)}, "
        f"{sql_name(column)} AS {sql_name(rule.value)}, {source.file_sql} AS source_file, source_row "
        f"FROM {source.relation} WHERE trim({sql_name(column)}) <> ''"
        for column, part in named.items()
    ]
    return " UNION ALL ".join(parts)


def _missing_columns(rule: Timeline, sources: Mapping[str, Source]) -> Iterator[Problem]:
    for stream in rule.streams:
        wanted = (stream.key, stream.at, stream.field, stream.new, stream.old)
        yield from _lacking(sources[stream.source], [name for name in wanted if name])
    if rule.now:
        present = (rule.now.key, rule.now.created)
        yield from _lacking(sources[rule.now.source], [name for name in present if name])


def _lacking(source: Source, wanted: Sequence[str]) -> Iterator[Problem]:
    for name in wanted:
        if name not in source.columns:
            yield Problem(
                f"the file has no column {name!r}", file=source.name, row=1, column=name,
                next_step=did_you_mean(name, list(source.columns)),
            )  # fmt: skip


def _timeline(
    con: duckdb.DuckDBPyConnection, rule: Timeline, sources: Mapping[str, Source], zone: str
) -> str | None:
    recorded = {name for stream in rule.streams for name in _recorded(con, stream, sources[stream.source])}
    fields = [name for name in rule.fields if name in recorded]
    if rule.needs not in fields:
        return None
    watched = _watched(rule, fields)
    parts = [
        _changes(stream, sources[stream.source], fields, zone)
        for stream in rule.streams
        if not stream.is_end and _gives(stream, sources[stream.source])
    ]
    now = rule.now
    present = ""
    if now is not None:
        source = sources[now.source]
        columns = {name: _present_column(now, name, source) for name in fields}
        moment = _moment(now.created, source, zone) if now.created else "NULL::TIMESTAMPTZ"
        picks = ", ".join(
            f"{value or 'NULL::VARCHAR'} AS {sql_name(name)}" for name, value in columns.items()
        )
        began = sql_name(now.created) if now.created else "NULL::VARCHAR"
        present = (
            f"SELECT {_key(now.key, source)} AS k, {moment} AS moment, {began} AS written, {picks}, "
            f"{source.file_sql} AS file, source_row AS n FROM {source.relation} "
            "QUALIFY row_number() OVER (PARTITION BY k ORDER BY n) = 1"
        )
    ends = [stream for stream in rule.streams if stream.is_end]
    return _states(parts, fields, watched, rule.needs, present, [
        _ends(stream, sources[stream.source], zone) for stream in ends
    ])  # fmt: skip


def _gives(stream: Stream, source: Source) -> bool:
    return bool(stream.field) or any(
        column in source.columns for names in stream.values.values() for column in names
    )


def _recorded(con: duckdb.DuckDBPyConnection, stream: Stream, source: Source) -> set[str]:
    """The fields that the stream's file records at all."""
    if not stream.field:
        held = set(source.columns)
    else:
        query = f"SELECT DISTINCT trim({sql_name(stream.field)}) FROM {source.relation}"
        held = {word for (word,) in con.execute(query).fetchall()}
    return {name for name, names in stream.values.items() if held & set(names)}


def _watched(rule: Timeline, fields: Sequence[str]) -> list[str]:
    """Fields of which a stream would have said what they were before a change."""
    return [name for name in fields if any(stream.old and name in stream.values for stream in rule.streams)]


def _changes(stream: Stream, source: Source, fields: Sequence[str], zone: str) -> str:
    """SQL of (k, moment, written, new_<field>, old_<field>, file, n): what each row says."""
    picks = []
    for name in fields:
        new = old = _NOTHING
        names = stream.values.get(name, ())
        if stream.field and names:
            said = f"trim({sql_name(stream.field)}) IN ({', '.join(map(sql_text, names))})"
            fits = _fits(str(stream.new), stream.like.get(name, ()))
            new = f"CASE WHEN {said}{fits} THEN {{'v': {_text(str(stream.new), source)}}} END"
            if stream.old:
                before = _fits(stream.old, stream.like.get(name, ()))
                old = f"CASE WHEN {said}{before} THEN {{'v': {_text(stream.old, source)}}} END"
        elif not stream.field and (column := next((one for one in names if one in source.columns), None)):
            new = f"{{'v': {_text(column, source)}}}"
        picks += [f"{new} AS {sql_name(f'new_{name}')}", f"{old} AS {sql_name(f'old_{name}')}"]
    where = ""
    if stream.field:
        known = [word for name in fields for word in stream.values.get(name, ())]
        where = f" WHERE trim({sql_name(stream.field)}) IN ({', '.join(map(sql_text, known)) or 'NULL'})"
    return (
        f"SELECT {_key(stream.key, source)} AS k, {_moment(stream.at, source, zone)} AS moment, "
        f"{sql_name(stream.at)} AS written, {', '.join(picks)}, {source.file_sql} AS file, source_row AS n "
        f"FROM {source.relation}{where}"
    )


def _ends(stream: Stream, source: Source, zone: str) -> str:
    return (
        f"SELECT {_key(stream.key, source)} AS k, {_moment(stream.at, source, zone)} AS moment, "
        f"{sql_name(stream.at)} AS written, {source.file_sql} AS file, source_row AS n FROM {source.relation}"
    )


def _states(
    parts: Sequence[str], fields: Sequence[str], watched: Sequence[str], needs: str, present: str,
    ends: Sequence[str],
) -> str:  # fmt: skip
    """SQL of the states: one row per key and moment of a change, every field carried forward."""
    grouped = ", ".join(
        f"max_by({sql_name(f'new_{name}')}, n) AS {sql_name(f'new_{name}')}, "
        f"min_by({sql_name(f'old_{name}')}, n) AS {sql_name(f'old_{name}')}"
        for name in fields
    )
    steps = [
        f"said AS ({' UNION ALL '.join(parts)})",
        f"changes AS (SELECT k, moment, CASE WHEN moment IS NULL THEN written END AS unread, "
        f"min(written) AS written, {grouped}, min({{'file': file, 'n': n}}) AS place "
        "FROM said GROUP BY 1, 2, 3)",
    ]
    nothing = ", ".join(
        f"{_NOTHING} AS {sql_name(f'new_{name}')}, {_NOTHING} AS {sql_name(f'old_{name}')}" for name in fields
    )
    every = "changes"
    if present:
        steps.append(f"present AS ({present})")
        if ends:
            # What holds now began when the last of the others ended.
            given = ", ".join(
                (f"{{'v': p.{sql_name(name)}}}" if name == needs else _NOTHING)
                + f" AS {sql_name(f'new_{name}')}, {_NOTHING} AS {sql_name(f'old_{name}')}"
                for name in fields
            )
            steps += [
                f"ended AS (SELECT k, max_by({{'file': file, 'n': n}}, moment) AS place, "
                f"max_by(written, moment) AS written, max(moment) AS moment "
                f"FROM ({' UNION ALL '.join(ends)}) GROUP BY k)",
                "latest AS (SELECT k, max(moment) AS moment FROM changes GROUP BY k)",
                f"current AS (SELECT e.k, e.moment, NULL::VARCHAR AS unread, e.written, {given}, e.place "
                "FROM ended e JOIN present p USING (k) LEFT JOIN latest l USING (k) "
                "WHERE l.moment IS NULL OR e.moment > l.moment)",
            ]
            every = f"(SELECT * FROM {every} UNION ALL BY NAME SELECT * FROM current)"
        steps += [
            f"later AS (SELECT * FROM {every})",
            "begun AS (SELECT k, min(moment) AS first FROM later GROUP BY k)",
            f"started AS (SELECT p.k, p.moment, NULL::VARCHAR AS unread, p.written, {nothing}, "
            "{'file': p.file, 'n': p.n} AS place FROM present p LEFT JOIN begun b USING (k) "
            "WHERE p.moment IS NOT NULL AND (b.first IS NULL OR p.moment < b.first))",
        ]
        every = "(SELECT * FROM later UNION ALL BY NAME SELECT * FROM started)"
    whole = "(PARTITION BY k ORDER BY e.moment NULLS LAST ROWS BETWEEN UNBOUNDED PRECEDING AND {})"
    filled = []
    for name in fields:
        new, old = sql_name(f"new_{name}"), sql_name(f"old_{name}")
        known = f"last_value({new} IGNORE NULLS) OVER {whole.format('CURRENT ROW')}"
        before = f"first_value({old} IGNORE NULLS) OVER {whole.format('UNBOUNDED FOLLOWING')}"
        never = f"{{'v': p.{sql_name(name)}}}" if present and name in watched else "NULL"
        filled.append(f"coalesce({known}, {before}, {never}) AS {sql_name(name)}")
    join = " LEFT JOIN present p USING (k)" if present else ""
    steps.append(f"states AS (SELECT k, e.written, e.place, {', '.join(filled)} FROM {every} e{join})")
    picks = ", ".join(f"{sql_name(name)}.v AS {sql_name(name)}" for name in fields)
    return (
        f"WITH {', '.join(steps)} SELECT k AS {KEY}, written AS {AT}, {picks}, place.file AS source_file, "
        f"place.n AS source_row FROM states WHERE {sql_name(needs)} IS NOT NULL ORDER BY ALL"
    )


def _present_column(now: Present, name: str, source: Source) -> str | None:
    column = next((one for one in now.values.get(name, ()) if one in source.columns), None)
    return _text(column, source) if column else None


def _text(column: str, source: Source) -> str:
    return values.without_nulls(sql_name(column), source.format)


def _key(column: str, source: Source) -> str:
    return values.short_id(f"trim({sql_name(column)})", source.format)


def _fits(column: str, patterns: Sequence[str]) -> str:
    if not patterns:
        return ""
    return " AND (" + " OR ".join(f"trim({sql_name(column)}) GLOB {sql_text(p)}" for p in patterns) + ")"


def _moment(column: str, source: Source, zone: str) -> str:
    fmt: FileFormat = source.format_of(column)
    return values.parse("instant", sql_name(column), fmt, fmt.zone or zone, zone).value
