"""Mappings as data: how an export's files and columns become canonical tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from salesops_kit.data.contracts import TABLES
from salesops_kit.data.control import Control
from salesops_kit.data.file_format import FileFormat
from salesops_kit.data.layers import NONE, made_lenient, merged
from salesops_kit.data.mapping_files import find_mapping
from salesops_kit.data.rules import (
    Derived,
    Lookup,
    Rule,
    Strict,
    TableRule,
)
from salesops_kit.data.sources import stem_of
from salesops_kit.errors import InputError, Problem, did_you_mean, unknown
from salesops_kit.model_problems import problem_of
from salesops_kit.settings import Settings, parse_settings
from salesops_kit.yaml_text import Lines, line_of, read_yaml, read_yaml_lines

__all__ = [
    "Lookup",
    "Mapping",
    "Rule",
    "TableRule",
    "identity_mapping",
    "read_mapping",
    "read_yaml",
]


class Mapping(Strict):
    """One export's mapping. ``stage_dates`` names, per stage, the canonical or passed-through date
    column of opportunities that says when the stage began, for exports without a stage history;
    ``open_amount`` says what a deal was worth before it closed where no history records it;
    ``control`` what a table must come to, by its canonical name; ``derived`` sources made from the
    files, each from files or from those before it; ``aliases`` patterns of the names that a file may
    have besides its own, without their ending."""

    name: str = ""
    settings: Settings = Settings()
    files: dict[str, FileFormat] = Field(default_factory=dict)
    tables: dict[str, tuple[TableRule, ...]]
    stage_dates: dict[str, str] = Field(default_factory=dict)
    open_amount: Literal["current", "list_price"] = "current"
    control: dict[str, Control] = Field(default_factory=dict)
    derived: dict[str, Derived] = Field(default_factory=dict)
    aliases: dict[str, tuple[str, ...]] = Field(default_factory=dict)

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
        stem = stem_of(name)
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


@dataclass(frozen=True)
class _Layer:
    """One mapping file as plain values, with the line of every key."""

    values: dict[str, Any]
    lines: Lines
    file: str


def read_mapping(path: Path, *more: Path) -> Mapping:
    """A mapping from a YAML file, those that it extends below it and ``more`` above it; every problem
    in them is raised at once, each with its file and line."""
    layers = [layer for one in (path, *more) for layer in _layers(one, ())]
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for layer in layers:
        own = dict(layer.values)
        try:
            parse_settings(own.get("settings", {}), file=layer.file)
        except InputError as error:
            problems += [_setting_problem(problem, layer) for problem in error.problems]
            own.pop("settings")
        problems += _unknown_names(own, layer.lines, layer.file)
        values = merged(values, made_lenient(own)) if values else made_lenient(own)
    settings = parse_settings(values.pop("settings", {}))
    mapping = None
    try:
        mapping = Mapping.model_validate(values)
    except ValidationError as error:
        found = [_validation_problem(item, layers) for item in error.errors()]
        problems += {(p.file, p.row, p.column): p for p in reversed(found)}.values()
    if problems or mapping is None:
        raise InputError(sorted(problems, key=lambda problem: (problem.file or "", problem.row or 0)))
    return mapping.model_copy(update={"settings": settings, "name": mapping.name or path.stem})


def _layers(path: Path, above: tuple[Path, ...]) -> list[_Layer]:
    """A mapping's file and those that it extends, the lowest first."""
    values, lines = read_yaml_lines(path)
    if path.resolve() in above:
        raise InputError(
            Problem("the mapping extends itself", file=path.name, row=line_of(lines, ("extends",)))
        )
    if isinstance(settings := values.get("settings"), str):
        values["settings"] = read_yaml(path.parent / settings)
    below: list[_Layer] = []
    for name in _names(values.pop("extends", [])):
        try:
            file = find_mapping(name, near=path.parent)
        except InputError as error:
            row = line_of(lines, ("extends",))
            problems = (replace(one, file=path.name, row=row, column="extends") for one in error.problems)
            raise InputError(problems) from None
        below += _layers(file, (*above, path.resolve()))
    return [*below, _Layer(values, lines, path.name)]


def _names(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else [str(one) for one in value] if value else []


def _setting_problem(problem: Problem, layer: _Layer) -> Problem:
    path = ("settings", *(problem.column or "").split("."))
    return replace(problem, row=line_of(layer.lines, path), column=f"settings.{problem.column}")


def _unknown_names(values: MappingType[str, Any], lines: Lines, file: str) -> Iterator[Problem]:
    """Tables and columns that the contracts do not know."""
    for section in ("tables", "control"):
        tables = values.get(section)
        for table, rules in tables.items() if isinstance(tables, dict) else ():
            if rules == NONE:
                continue
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


def _validation_problem(item: Any, layers: Sequence[_Layer]) -> Problem:
    """One finding of the model as a problem with the key's path, its file and its line."""
    found = [_place(item, layer) for layer in layers]
    # The file that has most of the path; of equals the uppermost.
    keys, written, layer = max(reversed(found), key=lambda place: len(place[1]))
    column = ".".join([*written, keys[-1]] if item["type"] == "missing" else written)
    row = line_of(layer.lines, keys)
    return problem_of(item, Mapping, file=layer.file, row=row, column=column)


def _place(item: Any, layer: _Layer) -> tuple[list[str], list[str], _Layer]:
    """The path of a finding as one file writes it, and how much of it that file holds."""
    keys = [str(part) for part in item["loc"]]
    # A table with one rule stands in the file without a list.
    if keys[:1] == ["tables"] and keys[2:3] == ["0"] and tuple(keys[:3]) not in layer.lines:
        del keys[2]
    # Beyond what the file holds, the model names the alternatives that it tried.
    return keys, [key for end, key in enumerate(keys, 1) if tuple(keys[:end]) in layer.lines], layer
