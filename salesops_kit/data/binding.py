"""A mapping made to fit one export: names of files resolved, and what is optional and absent left out."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from salesops_kit.data.mapping import Mapping as ImportMapping
from salesops_kit.data.rules import Derived, Lookup, Rule, TableRule
from salesops_kit.data.sources import Source, stem_of
from salesops_kit.errors import InputError, Problem, did_you_mean

REQUIRED = "opportunities"


def bind_files(mapping: ImportMapping, files: Mapping[str, Path]) -> ImportMapping:
    """The mapping with every file called as the export calls it, without what is optional and absent.

    A name without an ending, in whatever case, is the file (or the sheet, or the database's table) so
    called, or one that fits the name's ``aliases``. Raises every file that is required and missing or
    that two files could be. The result's ``derived`` are those that tables read and whose files exist.
    """
    found: dict[str, str] = {}
    problems: list[Problem] = []
    derived = dict(mapping.derived)
    for name in dict.fromkeys(_names(mapping)):
        fitting = [] if name in derived else _fitting(name, list(files), mapping.aliases.get(name, ()))
        if len(fitting) > 1:
            problems.append(
                Problem(
                    f"more than one file could be {name!r}", file=fitting[1], expected="one of them",
                    got=", ".join(fitting), next_step="Leave one out, or name the file in the mapping.",
                )
            )  # fmt: skip
        if fitting:
            found[name] = fitting[0]
    for name, source in mapping.derived.items():
        bound = bind_derived(source, {**found, **{one: one for one in derived if one in found}})
        if bound is None:
            del derived[name]
        else:
            derived[name], found[name] = bound, name
    tables: dict[str, tuple[TableRule, ...]] = {}
    missing: dict[str, None] = {}
    unknown: dict[Problem, None] = {}
    for table, rules in mapping.tables.items():
        kept = [rule for rule in rules if rule.source in found or not rule.optional]
        if table == REQUIRED and not kept:
            missing[rules[0].source] = None
        for rule in kept:
            if rule.source not in found:
                missing[rule.source] = None
            unknown.update(dict.fromkeys(_missing_lookups(rule, found, list(files))))
        if kept:
            tables[table] = tuple(_renamed(rule, found) for rule in kept)
    problems += [
        Problem(f"the export holds no file {name!r}", next_step=did_you_mean(name, list(files)))
        for name in sorted(missing)
    ]
    problems += unknown
    if problems:
        raise InputError(problems)
    read = {rule.source for rules in tables.values() for rule in rules}
    needed = _with_inputs(read, derived)
    return mapping.model_copy(
        update={"tables": tables, "derived": {name: one for name, one in derived.items() if name in needed}}
    )


def files_read(mapping: ImportMapping, files: Mapping[str, Path]) -> list[str]:
    """The files of the export that a bound mapping reads, by name, in order."""
    names = [rule.source for rules in mapping.tables.values() for rule in rules]
    names += [one.file for rules in mapping.tables.values() for rule in rules for one in _lookups(rule)]
    names += [name for source in mapping.derived.values() for name in source.reads]
    return sorted(set(names) & set(files))


def without_lacking(mapping: ImportMapping, sources: Mapping[str, Source]) -> tuple[ImportMapping, list[str]]:
    """The mapping without optional rules whose files lack a column that each of their rows needs, and what
    is left out with them, as sentences."""
    tables: dict[str, tuple[TableRule, ...]] = {}
    notes = []
    for name, rules in mapping.tables.items():
        kept = []
        for rule in rules:
            columns = sources[rule.source].columns if rule.source in sources else rule.needs
            lacking = [one for one in rule.needs if one not in columns]
            if lacking and rule.optional:
                notes.append(f"{rule.source} has no column {', '.join(lacking)}: no {name} are read from it.")
            else:
                kept.append(rule)
        tables[name] = tuple(kept)
    return mapping.model_copy(update={"tables": tables}), notes


def bind_columns(
    rule: TableRule, columns: Sequence[str], columns_of: Callable[[str], Collection[str] | None]
) -> TableRule:
    """The rule without optional columns that the file lacks; ``columns_of`` are those of another file."""
    bound = {name: _bind_rule(one, columns, columns_of) for name, one in rule.columns.items()}
    where = {name: allowed for name, allowed in rule.where.items() if name in columns or not rule.optional}
    made = {name: one for name, one in bound.items() if one is not None}
    needs = tuple(name for name in rule.needs if name in columns or not rule.optional)
    single = tuple(name for name in rule.single if name in columns or not rule.optional)
    return rule.model_copy(update={"columns": made, "where": where, "needs": needs, "single": single})


def _bind_rule(
    rule: Rule, columns: Collection[str], columns_of: Callable[[str], Collection[str] | None]
) -> Rule | None:
    lacks_lookup = rule.lookup is not None and not set(rule.lookup.columns()) <= set(
        columns_of(rule.lookup.file) or ()
    )
    lacks_column = (rule.column is not None and rule.column not in columns) or bool(
        set(rule.when) - set(columns)
    )
    if rule.optional and (lacks_lookup or lacks_column):
        return Rule(value=rule.default) if rule.default is not None else None
    for name in ("first", "join"):
        parts: tuple[Rule, ...] = getattr(rule, name)
        if parts:
            kept = tuple(one for part in parts if (one := _bind_rule(part, columns, columns_of)))
            if not kept:
                return Rule(value=rule.default) if rule.default is not None else None
            return rule.model_copy(update={name: kept})
    return rule


def _names(mapping: ImportMapping) -> Iterator[str]:
    for rules in mapping.tables.values():
        for rule in rules:
            yield rule.source
            yield from (lookup.file for lookup in _lookups(rule))
    for source in mapping.derived.values():
        yield from source.reads


def _lookups(rule: TableRule) -> list[Lookup]:
    return [lookup for column in rule.columns.values() for lookup in column.lookups()]


def _fitting(name: str, files: Sequence[str], aliases: Sequence[str]) -> list[str]:
    if name in files:
        return [name]
    stems = {file: stem_of(file).casefold() for file in files}
    exact = [file for file, stem in stems.items() if stem == name.casefold()]
    patterns = [pattern.casefold() for pattern in aliases]
    return exact or [file for file, stem in stems.items() if any(fnmatchcase(stem, p) for p in patterns)]


def bind_derived(source: Derived, found: Mapping[str, str]) -> Derived | None:
    """The derived source without streams whose files are absent; None when nothing is left."""
    if source.unpivot:
        file = found.get(source.unpivot.source)
        if file is None:
            return None
        return source.model_copy(update={"unpivot": source.unpivot.model_copy(update={"source": file})})
    timeline = source.timeline
    assert timeline is not None
    streams = tuple(
        one.model_copy(update={"source": found[one.source]})
        for one in timeline.streams
        if one.source in found
    )
    if not any(one.values for one in streams):
        return None
    now = timeline.now
    if now is not None:
        now = now.model_copy(update={"source": found[now.source]}) if now.source in found else None
    return source.model_copy(
        update={"timeline": timeline.model_copy(update={"streams": streams, "now": now})}
    )


def _missing_lookups(rule: TableRule, found: Mapping[str, str], files: Sequence[str]) -> Iterator[Problem]:
    """Files in which a rule looks something up and that the export lacks, with the column that needs them."""
    source = found.get(rule.source, rule.source)

    def walk(one: Rule) -> Iterator[Problem]:
        lookup = one.lookup
        if lookup and lookup.file not in found and not one.optional:
            near = difflib.get_close_matches(lookup.file, files, n=1)
            add = f"Add the export of {lookup.file}, or leave {source} out."
            yield Problem(
                f"the export holds no file {lookup.file!r}", file=source, row=1, column=one.column,
                expected=f"{lookup.file} with the columns {', '.join(lookup.columns())}", got="no such file",
                next_step=did_you_mean(lookup.file, near) if near else add,
            )  # fmt: skip
        for part in one.parts:
            yield from walk(part)

    for column in rule.columns.values():
        yield from walk(column)


def _renamed(rule: TableRule, found: Mapping[str, str]) -> TableRule:
    columns = {name: _renamed_rule(one, found) for name, one in rule.columns.items()}
    return rule.model_copy(update={"source": found.get(rule.source, rule.source), "columns": columns})


def _renamed_rule(rule: Rule, found: Mapping[str, str]) -> Rule:
    lookup = rule.lookup
    if lookup is not None and lookup.file in found:
        lookup = lookup.model_copy(update={"file": found[lookup.file]})
    first = tuple(_renamed_rule(one, found) for one in rule.first)
    join = tuple(_renamed_rule(one, found) for one in rule.join)
    return rule.model_copy(update={"lookup": lookup, "first": first, "join": join})


def _with_inputs(read: Collection[str], derived: Mapping[str, Derived]) -> set[str]:
    needed = set(read)
    for name in reversed(list(derived)):
        if name in needed:
            needed.update(derived[name].reads)
    return needed
