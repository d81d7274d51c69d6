"""A mapping's rules as SQL: the SELECT that types one file's rows for one canonical table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase

from salesops_kit.data import values
from salesops_kit.data.contracts import EARLIEST_DATE, LATEST_DATE, LINEAGE, Table
from salesops_kit.data.engine import sql_name, sql_text
from salesops_kit.data.file_format import FileFormat
from salesops_kit.data.mapping import Lookup, Rule, TableRule
from salesops_kit.data.sources import Source
from salesops_kit.errors import Problem, did_you_mean
from salesops_kit.settings import Settings

# One bit per column: text that could not be read; a moment without offset; a local time that the
# clock change leaves out; one that it has twice.
MASKS = ("_bad", "_naive", "_skipped", "_repeated")


@dataclass(frozen=True)
class Filling:
    """How one table is filled from one file: the rule, every file by name, and the business zone.

    ``dated`` are passed-through columns that hold dates.
    """

    table: Table
    rule: TableRule
    sources: Mapping[str, Source]
    zone: str
    dated: frozenset[str] = frozenset()
    settings: Settings = field(default_factory=Settings)

    @property
    def source(self) -> Source:
        """The file that the rule reads."""
        return self.sources[self.rule.source]

    def rule_for(self, name: str) -> Rule | None:
        """The rule that fills a canonical column; a column of that very name fills itself."""
        if name in self.rule.columns:
            return self.rule.columns[name]
        return Rule(column=name) if name in self.source.columns else None

    def format_of(self, rule: Rule) -> FileFormat:
        """How the column that a rule reads is written: as its file's are, with the rule's own dates."""
        fmt = self.source.format_of(rule.column)
        if rule.dates is None or rule.column in self.source.native:
            return fmt
        return fmt.model_copy(update={"dates": rule.dates, "instants": rule.dates})

    def filled(self) -> set[str]:
        """The canonical columns that the rule fills."""
        return {name for name in self.table.columns if self.rule_for(name)}

    def kept(self) -> dict[str, str]:
        """Columns that pass through: the name they get, and theirs in the file.

        A name that differs from one of the kit's only by case gets `` (source)`` behind it.
        """
        if self.rule.keep == "none":
            return {}
        used = {column for rule in self.rule.columns.values() for column in rule.columns()}
        chosen = set(self.source.columns) - used if self.rule.keep == "all" else set(self.rule.keep)
        taken = {*self.table.columns, *MASKS, *LINEAGE}
        return {
            f"{name} (source)" if name.casefold() in taken else name: name
            for name in self.source.columns
            if name in chosen
            and name not in self.table.columns
            and not any(fnmatchcase(name, pattern) for pattern in self.rule.drop)
        }


def column_problems(filling: Filling) -> Iterator[Problem]:
    """Columns that the file lacks, and required columns that nothing fills."""
    source, known = filling.source, list(filling.source.columns)
    rule = filling.rule
    wanted = [name for column in rule.columns.values() for name in sorted(column.columns())]
    wanted += [*rule.where, *rule.needs, *rule.single]
    wanted += rule.keep if isinstance(rule.keep, tuple) else ()
    for name in dict.fromkeys(wanted):
        if name not in known:
            yield Problem(
                f"the file has no column {name!r}", file=source.name, row=1, column=name,
                next_step=did_you_mean(name, known),
            )  # fmt: skip
    if not rule.columns:
        yield from _misspelt(filling)
    for name, contract in filling.table.columns.items():
        if not contract.nullable and filling.rule_for(name) is None and name not in _folded(known):
            yield Problem(
                f"the required column {name} of {filling.table.name} is missing", file=source.name, row=1,
                column=name, next_step=did_you_mean(name, known),
            )  # fmt: skip
    for lookup in (lookup for column in rule.columns.values() for lookup in column.lookups()):
        yield from _lookup_columns(lookup, filling.sources)


def _folded(names: Sequence[str]) -> dict[str, str]:
    """Names by the canonical name that they would be but for case, spaces and hyphens."""
    return {"_".join(name.casefold().replace("-", " ").split()): name for name in names}


def _misspelt(filling: Filling) -> Iterator[Problem]:
    """In a folder of canonical tables: headers that are a contract's name in other letters."""
    for folded, name in _folded(filling.source.columns).items():
        if folded != name and folded in filling.table.columns:
            yield Problem(
                f"unknown column {name!r}", file=filling.source.name, row=1, column=name,
                next_step=f"Did you mean {folded}? Rename it, or import the file with a mapping.",
            )  # fmt: skip


def _lookup_columns(lookup: Lookup, sources: Mapping[str, Source]) -> Iterator[Problem]:
    source = sources.get(lookup.file)
    for name in lookup.columns() if source else ():
        if source and name not in source.columns:
            yield Problem(
                f"the file has no column {name!r}", file=source.name, row=1, column=name,
                next_step=did_you_mean(name, source.columns),
            )  # fmt: skip


def select(filling: Filling, extras: Sequence[str]) -> str:
    """SQL of one file's rows with every canonical column, ``extras``, the masks and the lineage."""
    table, source, rule = filling.table, filling.source, filling.rule
    joins: list[str] = []
    columns: list[str] = []
    masks: dict[str, list[str]] = {mask: [] for mask in MASKS}
    typed: dict[str, str] = {}
    for bit, (name, contract) in enumerate(table.columns.items()):
        column = filling.rule_for(name)
        if column is None:
            typed[name] = f"NULL::{values.SQL_TYPES[contract.type]}"
            continue
        raw = _raw(column, filling, joins)
        parsed = _parse(contract.type, raw, column, filling)
        value = parsed.value
        if column.scale is not None:
            value = _scaled(value, column.scale, values.SQL_TYPES[contract.type])
        if column.add_days:
            value = f"(({value}) + {column.add_days})"
        typed[name] = value
        _flag(masks, 1 << bit, parsed, values.is_unreadable(contract.type, raw, value))
    for day, instant in table.business_dates.items():
        typed[day] = f"coalesce({typed[day]}, timezone({sql_text(filling.zone)}, {typed[instant]})::DATE)"
    columns += [f"{value} AS {sql_name(name)}" for name, value in typed.items()]
    own = {name.casefold(): column for name, column in filling.kept().items()}
    dated = sorted(filling.dated & set(extras))
    for name in extras:
        kept = own.get(name.casefold())
        raw = values.without_nulls(f"s.{sql_name(kept)}" if kept else "NULL::VARCHAR", source.format)
        if name in dated:
            fmt = source.format_of(kept)
            value = values.parse("date", raw, fmt, fmt.zone or filling.zone, filling.zone).value
            unreadable = values.is_unreadable("date", raw, value)
            bit = len(table.columns) + dated.index(name)
            masks["_bad"].append(f"CASE WHEN {unreadable} THEN {1 << bit} ELSE 0 END")
        else:
            value = f"nullif(trim(nfc_normalize({raw})), '')"
        columns.append(f"{value} AS {sql_name(name)}")
    columns += [f"({' + '.join(flags) or '0'})::BIGINT AS {mask}" for mask, flags in masks.items()]
    file = "s.source_file" if source.has_files else sql_text(source.name)
    columns += [f"{file} AS source_file", "s.source_row AS source_row"]
    query = f"SELECT {', '.join(columns)} FROM {source.relation} AS s {' '.join(joins)}"
    present = [f"trim(s.{sql_name(name)}) <> ''" for name in rule.needs]
    query += where_sql(rule.where, "s.", present)
    if rule.distinct:
        names = ", ".join(sql_name(name) for name in (*table.columns, *extras))
        query = f"SELECT * FROM ({query}) QUALIFY source_row = min(source_row) OVER (PARTITION BY {names})"
    if rule.add_up:
        query = _added_up(query, table, rule.add_up)
    return f"({query})"


def _added_up(query: str, table: Table, amount: str) -> str:
    """SQL of rows that differ in ``amount`` and in moments alone put together."""
    moments = {name for name, contract in table.columns.items() if contract.type == "instant"}
    shared = ", ".join(sql_name(name) for name in table.columns if name != amount and name not in moments)
    type_ = values.SQL_TYPES[table.columns[amount].type]
    whole = f"count({sql_name(amount)}) = count(*)"
    picks = [
        f"CASE WHEN {whole} THEN sum({sql_name(amount)})::{type_} END AS {sql_name(amount)}",
        *(f"max({name}) AS {name}" for name in sorted(moments)),
        *(f"bit_or({mask}) AS {mask}" for mask in MASKS),
        "any_value(source_file) AS source_file",
        "min(source_row) AS source_row",
    ]
    return f"SELECT {shared}, {', '.join(picks)} FROM ({query}) GROUP BY {shared}"


def _parse(type_: str, raw: str, column: Rule, filling: Filling) -> values.Parsed:
    fmt = filling.format_of(column)
    return values.parse(type_, raw, fmt, column.zone or fmt.zone or filling.zone, filling.zone)


def _flag(masks: dict[str, list[str]], bit: int, parsed: values.Parsed, unreadable: str | None) -> None:
    flags = (unreadable, parsed.naive, parsed.skipped, parsed.repeated)
    for mask, flag in zip(MASKS, flags, strict=True):
        if flag:
            masks[mask].append(f"CASE WHEN {flag} THEN {bit} ELSE 0 END")


def _scaled(value: str, scale: Decimal, type_: str) -> str:
    """A number times the scale, reckoned in decimals where they fit: 35 times 0.01 is 0.35."""
    exact = f"try_cast(try_cast(({value}) AS DECIMAL(24,8)) * {scale:f}::DECIMAL(12,6) AS {type_})"
    return f"coalesce({exact}, try_cast(({value}) * {scale:f} AS {type_}))"


def where_sql(where: Mapping[str, Sequence[str]], prefix: str, also: Sequence[str] = ()) -> str:
    """SQL that keeps the rows whose columns have one of their values, and for which ``also`` is true."""
    parts = [
        f"trim({prefix}{sql_name(name)}) IN ({', '.join(map(sql_text, allowed))})"
        for name, allowed in where.items()
    ]
    return f" WHERE {' AND '.join([*parts, *also])}" if parts or also else ""


def _raw(rule: Rule, filling: Filling, joins: list[str]) -> str:
    """The SQL text of a rule's raw value, with its lookups added to ``joins``."""
    if rule.value is not None:
        raw = f"{sql_text(rule.value)}::VARCHAR"
    elif rule.row:
        raw = "s.source_row::VARCHAR"
    elif rule.setting is not None:
        raw = f"{sql_text(str(getattr(filling.settings, rule.setting)))}::VARCHAR"
    elif rule.first:
        raw = "coalesce(" + ", ".join(_raw(inner, filling, joins) for inner in rule.first) + ")"
    elif rule.join:
        pieces = ", ".join(f"nullif(trim({_raw(inner, filling, joins)}), '')" for inner in rule.join)
        raw = f"nullif(concat_ws({sql_text(rule.separator)}, {pieces}), '')"
    else:
        raw = values.without_nulls(f"s.{sql_name(str(rule.column))}", filling.source.format)
    if rule.when:
        raw = f"CASE WHEN {where_sql(rule.when, 's.').removeprefix(' WHERE ')} THEN {raw} END"
    if rule.null_when:
        words = ", ".join(map(sql_text, rule.null_when))
        raw = f"CASE WHEN trim({raw}) IN ({words}) THEN NULL ELSE {raw} END"
    if rule.like:
        fits = " OR ".join(f"trim({raw}) GLOB {sql_text(pattern)}" for pattern in rule.like)
        raw = f"CASE WHEN {fits} THEN {raw} END"
    raw = _recoded(raw, rule.recode)
    if rule.lookup:
        raw = _looked_up(raw, rule.lookup, filling, joins)
    if rule.true_when:
        words = ", ".join(map(sql_text, rule.true_when))
        raw = f"CASE WHEN {raw} IS NULL THEN NULL ELSE (trim({raw}) IN ({words}))::VARCHAR END"
    if rule.default is not None:
        raw = f"coalesce({raw}, {sql_text(rule.default)})"
    return raw


def _recoded(raw: str, recode: Mapping[str, str]) -> str:
    if not recode:
        return raw
    cases = " ".join(f"WHEN {sql_text(old)} THEN {sql_text(new)}" for old, new in recode.items())
    return f"CASE trim({raw}) {cases} ELSE {raw} END"


def _looked_up(raw: str, lookup: Lookup, filling: Filling, joins: list[str]) -> str:
    """The value that another file holds for ``raw``; its join is added to ``joins``."""
    alias, other = f"l{len(joins)}", filling.sources[lookup.file]
    relation = other.relation
    if lookup.where:
        relation = f"(SELECT * FROM {relation}{where_sql(lookup.where, '')})"
    key = values.short_id(f"trim({sql_name(lookup.key)})", other.format)
    wanted = values.short_id(f"trim({raw})", filling.source.format)
    if lookup.until:
        within = (
            f"SELECT {key} AS k, {period_day(lookup.value, other, filling.zone)} AS first_day, "
            f"{period_day(lookup.until, other, filling.zone)} AS last_day FROM {relation}"
        )
        relation = (
            f"(SELECT k, q.label AS v FROM ({within}) JOIN {quarter_table(filling.settings)} "
            "ON first_day >= q.start_day AND first_day <= last_day AND last_day < q.end_day)"
        )
    elif lookup.repeated == "blank":
        relation = (
            f"(SELECT k, min(v) AS v FROM (SELECT {key} AS k, {sql_name(lookup.value)} AS v FROM {relation}) "
            "GROUP BY 1 HAVING count(DISTINCT v) = 1)"
        )
    else:
        relation = f"(SELECT {key} AS k, {sql_name(lookup.value)} AS v FROM {relation})"
    joins.append(f"LEFT JOIN {relation} AS {alias} ON {alias}.k = {wanted}")
    return _recoded(f"{alias}.v", lookup.recode)


def period_day(column: str, source: Source, zone: str) -> str:
    """SQL of a day of a file's periods."""
    fmt = source.format_of(column)
    return values.parse("date", sql_name(column), fmt, fmt.zone or zone, zone).value


def quarter_table(settings: Settings) -> str:
    """SQL of the fiscal quarters as a relation ``q`` of label, start_day and end_day (exclusive)."""
    first, last = dt.date.fromisoformat(EARLIEST_DATE), dt.date.fromisoformat(LATEST_DATE)
    rows = ", ".join(
        f"('{quarter.label}', DATE '{quarter.start}', DATE '{quarter.end}')"
        for quarter in settings.fiscal.quarters(first, last)
    )
    return f"(VALUES {rows}) AS q(label, start_day, end_day)"
