"""A plan's YAML read safely: every scalar stays text, every problem has its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from salesops_kit.errors import InputError, Problem, did_you_mean

LARGEST_BYTES = 256 * 1024
DEEPEST = 8
MOST_NODES = 20_000


class Plan(BaseModel):
    """What a plan file says: which reports for whom, for which quarters, with which parameters.

    ``teams`` may be ``all`` (the company and every leaf team), ``reports`` may be ``all`` (every
    template). ``params`` holds text by report and name; the template's contract gives it a type.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str = Field(min_length=1)
    reports: tuple[str, ...] = Field(min_length=1)
    teams: tuple[str, ...] = Field(default=("company",), min_length=1)
    quarters: tuple[str, ...] = ()
    params: Mapping[str, Mapping[str, str | list[str]]] = Field(default_factory=dict)
    locale: str = Field(default="en", pattern=r"^[A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8})*$")
    jobs: int = Field(default=1, ge=1, le=64)

    @field_validator("reports", "teams", "quarters", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("jobs", mode="before")
    @classmethod
    def _digits(cls, value: object) -> object:
        if isinstance(value, str) and not (value.isascii() and value.isdigit()):
            raise ValueError("expected a whole number")
        return value


@dataclass(frozen=True)
class LoadedPlan:
    """A plan with the line of each of its keys, and the overrides given at the terminal."""

    plan: Plan
    file: str
    lines: Mapping[str, int]
    overrides: Mapping[str, str]
    overridden: frozenset[str] = frozenset()

    def line(self, *keys: str) -> int | None:
        """The line of a key such as ``("params", "funnel", "horizon")``, or of its nearest parent."""
        for length in range(len(keys), 0, -1):
            found = self.lines.get("/".join(keys[:length]))
            if found is not None:
                return found
        return None


def load_plan(path: Path, overrides: Sequence[tuple[str, str]] = ()) -> LoadedPlan:
    """The plan in a file with ``-p NAME VALUE`` overrides; raises :class:`InputError` with all problems.

    ``team``, ``quarter`` (comma separated), ``data`` and ``locale`` replace the plan's own keys; any
    other name is a parameter for every report of the plan that declares it.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise InputError(Problem(f"cannot be read: {error.strerror}", file=str(path))) from None
    if len(content) > LARGEST_BYTES:
        raise InputError(
            Problem("the plan is too large", file=path.name, expected=f"at most {LARGEST_BYTES:,} bytes")
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(Problem(f"not UTF-8 at byte {error.start}", file=path.name)) from None
    return parse_plan(text, file=path.name, overrides=overrides)


def parse_plan(text: str, *, file: str = "plan", overrides: Sequence[tuple[str, str]] = ()) -> LoadedPlan:
    """The plan in ``text``; see :func:`load_plan`.

    >>> parse_plan("{data: sample, reports: funnel, teams: [NO, 007]}").plan.teams
    ('NO', '007')
    """
    values, lines, problems = read_strings(text, file=file)
    for name in sorted({name for name, _ in overrides}):
        if sum(given == name for given, _ in overrides) > 1:
            problems.append(Problem(f"-p {name} is given twice", file="command line"))
    if problems:
        raise InputError(problems)
    left: dict[str, str] = {}
    for name, value in overrides:
        if name == "team":
            values["teams"] = [value]
        elif name == "quarter":
            values["quarters"] = [part.strip() for part in value.split(",")]
        elif name in ("data", "locale"):
            values[name] = value
        else:
            left[name] = value
    try:
        plan = Plan.model_validate(values)
    except ValidationError as error:
        raise InputError(_problem(item, lines, file) for item in error.errors()) from None
    return LoadedPlan(plan, file, lines, left, frozenset(name for name, _ in overrides))


def _problem(item: Any, lines: Mapping[str, int], file: str) -> Problem:
    path = [str(part) for part in item["loc"]]
    row = next(
        (lines["/".join(path[:n])] for n in range(len(path), 0, -1) if "/".join(path[:n]) in lines), None
    )
    if item["type"] == "extra_forbidden":
        return Problem(
            f"unknown key {path[-1]!r}",
            file=file,
            row=row,
            next_step=did_you_mean(path[-1], list(Plan.model_fields)),
        )
    if item["type"] == "missing":
        return Problem(f"key {path[-1]!r} is missing", file=file)
    got = item["input"] if isinstance(item["input"], str) else None
    return Problem(f"{path[0]}: {item['msg'].removeprefix('Value error, ')}", file=file, row=row, got=got)


def read_strings(text: str, *, file: str) -> tuple[dict[str, Any], dict[str, int], list[Problem]]:
    """A YAML mapping as nested dicts and lists of text, the line of each key path, and all problems.

    Anchors, aliases, tags, several documents, deep nesting and repeated keys are refused before
    anything is built, so that a small file cannot grow.
    """
    problems = _unsafe(text, file)
    if problems:
        return {}, {}, problems
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        return {}, {}, [_syntax(error, file)]
    if not isinstance(root, yaml.MappingNode):
        return {}, {}, [Problem("not a mapping of keys to values", file=file, row=1)]
    lines: dict[str, int] = {}
    values = _plain(root, "", lines, problems, file)
    return values, lines, problems


def _unsafe(text: str, file: str) -> list[Problem]:
    problems: list[Problem] = []
    depth = documents = 0
    try:
        for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
            row = event.start_mark.line + 1 if event.start_mark else None
            documents += isinstance(event, yaml.DocumentStartEvent)
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                problems.append(Problem("anchors and aliases are refused", file=file, row=row))
            elif getattr(event, "tag", None):
                problems.append(
                    Problem("tags are refused", file=file, row=row, got=str(getattr(event, "tag", "")))
                )
            if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                depth += 1
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                depth -= 1
            if depth > DEEPEST or number > MOST_NODES or documents > 1:
                problems.append(Problem("too deep, too long or several documents", file=file, row=row))
                break
    except yaml.YAMLError as error:
        problems.append(_syntax(error, file))
    except RecursionError:
        problems.append(Problem("too deep", file=file))
    return problems


def _syntax(error: yaml.YAMLError, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    return Problem(f"no YAML: {what}", file=file, row=mark.line + 1 if mark else None)


def _plain(node: yaml.Node, path: str, lines: dict[str, int], problems: list[Problem], file: str) -> Any:
    if path:
        lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        return node.value
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, f"{path}/{n}", lines, problems, file) for n, item in enumerate(node.value)]
    values: dict[str, Any] = {}
    for key, value in node.value:
        row = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            problems.append(Problem("a key must be text", file=file, row=row))
            continue
        if key.value in values:
            problems.append(Problem(f"key {key.value!r} is given twice", file=file, row=row))
        below = f"{path}/{key.value}" if path else key.value
        lines[below] = row
        values[key.value] = _plain(value, below, lines, problems, file)
    return values
