"""Mappings as data: how an export's files and columns become canonical tables."""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from salesops_kit.data.contracts import TABLES
from salesops_kit.data.sources import FileFormat
from salesops_kit.errors import InputError, Problem, did_you_mean
from salesops_kit.settings import Settings, parse_settings

MAX_BYTES = 1_000_000


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
    recorded; ``recode`` replaces whole values (others stay); ``true_when`` is true for the listed values; ``scale`` multiplies a number; ``dates`` and
    ``zone`` override the file's format for this column.
    """

    column: str | None = None
    value: str | None = None
    first: tuple[Rule, ...] = ()
    null_when: tuple[str, ...] = ()
    recode: dict[str, str] = Field(default_factory=dict)
    lookup: Lookup | None = None
    true_when: tuple[str, ...] = ()
    scale: float | None = None
    default: str | None = None
    dates: tuple[str, ...] | str | None = None
    zone: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"column": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_origin(self) -> Rule:
        origins = [self.column is not None, self.value is not None, bool(self.first)]
        if sum(origins) != 1:
            raise ValueError("give exactly one of column, value and first")
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
    ``open_amount`` says what a deal was worth before it closed where no history records it."""

    name: str = ""
    settings: Settings = Settings()
    files: dict[str, FileFormat] = Field(default_factory=dict)
    tables: dict[str, tuple[TableRule, ...]]
    stage_dates: dict[str, str] = Field(default_factory=dict)
    open_amount: Literal["current", "list_price"] = "current"

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
        if stem in by_stem:
            raise InputError(
                Problem(f"two files hold the table {stem}: {by_stem[stem]} and {name}", file=name)
            )
        by_stem[stem] = name
    rules = {stem: (TableRule(source=name),) for stem, name in by_stem.items() if stem in TABLES}
    if "opportunities" not in rules:
        raise InputError(
            Problem(
                "the folder holds no opportunities table",
                file=str(next(iter(files.values())).parent) if files else None,
                expected="opportunities.csv or opportunities.parquet",
                next_step="Turn an export into canonical tables with `salesops import`.",
            )
        )
    return Mapping(name=settings.name, settings=settings, tables=rules)


def read_mapping(path: Path) -> Mapping:
    """A mapping from a YAML file; every problem in it is raised at once."""
    values = read_yaml(path)
    problems: list[Problem] = []
    settings = Settings()
    try:
        settings = parse_settings(values.pop("settings", {}), file=path.name)
    except InputError as error:
        problems += error.problems
    tables = values.get("tables")
    if isinstance(tables, dict):
        problems += [
            Problem(
                f"unknown table {name!r}", file=path.name, next_step=did_you_mean(str(name), list(TABLES))
            )
            for name in tables
            if name not in TABLES
        ]
    try:
        mapping = Mapping.model_validate(values)
    except ValidationError as error:
        problems += [
            Problem(
                str(item["msg"]).removeprefix("Value error, "),
                file=path.name,
                column=".".join(str(part) for part in item["loc"]),
                got=str(item["input"])[:80],
            )
            for item in error.errors()
        ]
    if problems:
        raise InputError(problems)
    return mapping.model_copy(update={"settings": settings, "name": mapping.name or path.stem})


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file as plain values: scalars stay as written ("NO" is "NO", 007 is "007"), since the
    reader's contract types them; no anchors, no tags, at most 1 MB."""
    if not path.is_file():
        raise InputError(Problem("no such file", file=str(path)))
    if path.stat().st_size > MAX_BYTES:
        raise InputError(Problem("the file is larger than 1 MB", file=path.name))
    try:
        text = path.read_text(encoding="utf-8-sig")
        for token in yaml.scan(text, Loader=yaml.BaseLoader):
            if isinstance(token, yaml.AliasToken | yaml.AnchorToken | yaml.TagToken):
                line = token.start_mark.line + 1
                raise InputError(Problem("anchors, aliases and tags are not read", file=path.name, row=line))
        values = yaml.load(text, Loader=yaml.BaseLoader) or {}  # noqa: S506  (BaseLoader builds only text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise InputError(Problem(f"not YAML: {error.problem}", file=path.name, row=line)) from None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InputError(Problem(f"not YAML: {error}", file=path.name)) from None
    if not isinstance(values, dict):
        raise InputError(Problem("expected a list of `name: value` lines", file=path.name))
    return values
