"""Mappings as data: how an export's files and columns become canonical tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingType
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from salesops_kit.data.contracts import TABLES
from salesops_kit.data.control import Control
from salesops_kit.data.file_format import DateFormats, FileFormat, Zone
from salesops_kit.data.yaml_text import Lines, line_of, read_yaml, read_yaml_lines
from salesops_kit.errors import InputError, Problem, did_you_mean, unknown
from salesops_kit.settings import Settings, parse_settings

__all__ = [
    "Lookup",
    "Mapping",
    "Rule",
    "TableRule",
    "identity_mapping",
    "read_mapping",
    "read_yaml",
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Lookup(_Strict):
    """A value found in another file: where ``key`` equals the rule's column, take ``value``."""

    file: str
    key: str
    value: str


class Rule(_Strict):
    """How one canonical column is filled. Exactly one of column, value and first; then, in order:
    null_when, recode, lookup, true_when, scale, default.

    ``first`` takes the first rule that gives a value; ``null_when`` lists values that mean nothing was
    recorded; ``recode`` replaces whole values (others stay); ``true_when`` is true for the listed
    values; ``scale`` multiplies a number; ``dates`` and ``zone`` override the file's format for this
    column. Outer spaces do not count where values are compared.
    """

    column: str | None = None
    value: str | None = None
    first: tuple[Rule, ...] = ()
    null_when: tuple[str, ...] = ()
    recode: dict[str, str] = Field(default_factory=dict)
    lookup: Lookup | None = None
    true_when: tuple[str, ...] = ()
    scale: Decimal | None = None
    default: str | None = None
    dates: DateFormats | None = None
    zone: Zone | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"column": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_origin(self) -> Rule:
        origins = [self.column is not None, self.value is not None, bool(self.first)]
        if sum(origins) != 1:
            raise ValueError("give exactly one of column, value and first")
        # The alternatives are texts until one is chosen; how to read it is said once.
        if any(inner.scale is not None or inner.dates or inner.zone for inner in self.first):
            raise ValueError("scale, dates and zone stand beside first, not inside it")
        return self

    def columns(self) -> set[str]:
        """Every source column that the rule reads."""
        own = {self.column} if self.column else set()
        return own.union(*(rule.columns() for rule in self.first))

    def lookups(self) -> list[Lookup]:
        """Every lookup that the rule makes."""
        own = [self.lookup] if self.lookup else []
        return own + [lookup for rule in self.first for lookup in rule.lookups()]


class TableRule(_Strict):
    """How one canonical table is filled from one file.

    ``keep`` says which other columns pass through: all, none, or a list. ``where`` keeps the rows
    whose column has one of the values. ``distinct`` drops repeated rows. A file that is not there
    is a refusal unless ``optional``.
    """

    source: str = Field(alias="from")
    columns: dict[str, Rule] = Field(default_factory=dict)
    keep: Literal["all", "none"] | tuple[str, ...] = "all"
    where: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    distinct: bool = False
    optional: bool = False


class Mapping(_Strict):
    """One export's mapping. ``stage_dates`` names, per stage, the canonical or passed-through date
    column of opportunities that says when the stage began, for exports without a stage history;
    ``open_amount`` says what a deal was worth before it closed where no history records it;
    ``control`` what a table must come to, by its canonical name."""

    name: str = ""
    settings: Settings = Settings()
    files: dict[str, FileFormat] = Field(default_factory=dict)
    tables: dict[str, tuple[TableRule, ...]]
    stage_dates: dict[str, str] = Field(default_factory=dict)
    open_amount: Literal["current", "list_price"] = "current"
    control: dict[str, Control] = Field(default_factory=dict)

    @field_validator("tables", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: rules if isinstance(rules, list | tuple) else [rules] for name, rules in value.items()}


def identity_mapping(files: MappingType[str, Path], settings: Settings) -> Mapping:
    """The mapping of a folder that already holds canonical tables, one ``<table>.csv`` each."""
    by_stem: dict[str, str] = {}
    for name in files:
        stem = Path(name).stem
        if stem in by_stem and stem in TABLES:
            raise InputError(
                Problem(f"two files hold the table {stem}: {by_stem[stem]} and {name}", file=name)
            )
        by_stem[stem] = name
    rules: dict[str, tuple[TableRule, ...]] = {
        stem: (TableRule.model_validate({"from": name}),) for stem, name in by_stem.items() if stem in TABLES
    }
    ignored = sorted(name for stem, name in by_stem.items() if stem not in TABLES)
    if "opportunities" not in rules:
        raise InputError(
            Problem(
                "the folder holds no opportunities table",
                file=str(next(iter(files.values())).parent) if files else None,
                expected="opportunities.csv or opportunities.parquet",
                got=", ".join(ignored) or None,
                next_step="Turn an export into canonical tables with `salesops import`.",
            )
        )
    if ignored:
        note = f"Not read, since no table of the kit has such a name: {', '.join(ignored)}."
        settings = settings.model_copy(update={"notes": (*settings.notes, note)})
    return Mapping(name=settings.name, settings=settings, tables=rules)


def read_mapping(path: Path) -> Mapping:
    """A mapping from a YAML file; every problem in it is raised at once, each with its line."""
    values, lines = read_yaml_lines(path)
    problems: list[Problem] = []
    settings = Settings()
    try:
        settings = parse_settings(values.pop("settings", {}), file=path.name)
    except InputError as error:
        problems += [
            replace(
                problem,
                row=line_of(lines, ("settings", *(problem.column or "").split("."))),
                column=f"settings.{problem.column}",
            )
            for problem in error.problems
        ]
    problems += _unknown_names(values, lines, path.name)
    mapping = None
    try:
        mapping = Mapping.model_validate(values)
    except ValidationError as error:
        found = [_validation_problem(item, lines, path.name) for item in error.errors()]
        problems += {(problem.row, problem.column): problem for problem in reversed(found)}.values()
    if problems or mapping is None:
        raise InputError(sorted(problems, key=lambda problem: problem.row or 0))
    return mapping.model_copy(update={"settings": settings, "name": mapping.name or path.stem})


def _unknown_names(values: MappingType[str, Any], lines: Lines, file: str) -> Iterator[Problem]:
    """Tables and columns that the contracts do not know."""
    for section in ("tables", "control"):
        tables = values.get(section)
        for table, rules in tables.items() if isinstance(tables, dict) else ():
            if table not in TABLES:
                row = line_of(lines, (section, table))
                yield unknown("table", table, list(TABLES), file=file, row=row, column=section)
            elif section == "tables":
                yield from _unknown_columns(table, rules, lines, file)


def _unknown_columns(table: str, rules: Any, lines: Lines, file: str) -> Iterator[Problem]:
    known = list(TABLES[table].columns)
    for place, rule in enumerate(rules if isinstance(rules, list) else [rules]):
        columns = rule.get("columns") if isinstance(rule, dict) else None
        for name in columns if isinstance(columns, dict) else ():
            if name in known:
                continue
            above = ("tables", table, *((str(place),) if isinstance(rules, list) else ()))
            yield Problem(
                f"{table} has no column {name!r}", file=file, row=line_of(lines, (*above, "columns", name)),
                column=".".join((*above, "columns")),
                next_step=f"{did_you_mean(name, known)} Columns beyond them pass through with `keep`.",
            )  # fmt: skip


def _validation_problem(item: Any, lines: Lines, file: str) -> Problem:
    """One finding of the model as a problem with the key's path and line."""
    keys = [str(part) for part in item["loc"]]
    # A table with one rule stands in the file without a list.
    if keys[:1] == ["tables"] and keys[2:3] == ["0"] and tuple(keys[:3]) not in lines:
        del keys[2]
    # Beyond what the file holds, the model names the alternatives that it tried.
    written = [key for end, key in enumerate(keys, 1) if tuple(keys[:end]) in lines]
    column = ".".join([*written, keys[-1]] if item["type"] == "missing" else written)
    row = line_of(lines, keys)
    if item["type"] == "extra_forbidden":
        return unknown("key", keys[-1], _keys_beside(keys), file=file, row=row, column=column)
    got = item["input"] if isinstance(item["input"], str | int | float) else None
    what = str(item["msg"]).removeprefix("Value error, ")
    return Problem(what, file=file, row=row, column=column, got=None if got is None else str(got)[:80])


def _keys_beside(keys: Sequence[str]) -> list[str]:
    """The keys that a mapping may hold where the last of ``keys`` stands."""
    inside: type[BaseModel] = Mapping
    if keys[0] == "files" and len(keys) > 2:
        inside = FileFormat
    elif keys[0] == "control" and len(keys) > 2:
        inside = Control
    elif keys[0] == "tables" and len(keys) > 2:
        within = [key for key in keys[2:-1] if not key.isdigit()]
        inside = Lookup if "lookup" in within else Rule if within[:1] == ["columns"] else TableRule
    return [field.alias or name for name, field in inside.model_fields.items()]
