"""A plan's YAML read safely: every scalar stays text, every problem has its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from salesops_kit.errors import Problem
from salesops_kit.formats import is_locale
from salesops_kit.language import DEFAULT_LOCALE
from salesops_kit.publishing.notify import Notify
from salesops_kit.publishing.yaml_model import validated
from salesops_kit.yaml_text import Limits, line_of, parse_yaml, read_yaml_lines

LIMITS = Limits(most_bytes=250_000, most_levels=8, most_items=20_000)

Text = str | list[str]
Place = Mapping[str, Any]


class PlanLimits(BaseModel):
    """How many seconds a kernel's start, one cell and a whole report may take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: int = Field(default=60, ge=1)
    cell: int = Field(default=600, ge=1)
    report: int = Field(default=1_800, ge=1)


class Plan(BaseModel):
    """What a plan file says: which reports for whom, for which quarters, with which parameters.

    ``teams`` may be ``all`` (the company and every leaf team), ``reports`` may be ``all`` (every
    template). ``quarters`` may hold ``current``, ``latest`` and ``previous``, and ``as_of`` may be
    ``run-date``: see :mod:`salesops_kit.publishing.run_date`. ``as_of`` is the cut-off of every report
    that has one; empty leaves it to the template. ``params`` holds text by report and name; the
    template's contract gives it a type. ``notify`` says who is told of the run's end. ``jumps`` are noted
    on a report, or stop it: see :func:`salesops_kit.publishing.gates.jump_gate`. ``limits`` end what hangs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str = Field(min_length=1)
    reports: tuple[str, ...] = Field(min_length=1)
    teams: tuple[str, ...] = Field(default=("company",), min_length=1)
    quarters: tuple[str, ...] = ()
    as_of: str = ""
    params: Mapping[str, Mapping[str, Text]] = Field(default_factory=dict)
    locale: str = DEFAULT_LOCALE
    jobs: int = Field(default=1, ge=1, le=64)
    notify: Notify | None = None
    jumps: Literal["note", "stop"] = "note"
    limits: PlanLimits = PlanLimits()

    @field_validator("reports", "teams", "quarters", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("locale")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if not is_locale(value):
            raise ValueError("expected a locale such as en, en_GB or de")
        return value

    @field_validator("jobs", mode="before")
    @classmethod
    def _digits(cls, value: object) -> object:
        if isinstance(value, str) and not (value.isascii() and value.isdigit()):
            raise ValueError("expected a whole number")
        return value


@dataclass(frozen=True)
class LoadedPlan:
    """A plan with the line of each of its keys, and what was given instead of them at the terminal.

    ``overrides`` are the parameters that no key of the plan stands for; ``places`` say where each name
    was given, also those that replaced a key, as fields of a :class:`Problem`.
    """

    plan: Plan
    file: str
    lines: Mapping[tuple[str, ...], int]
    overrides: Mapping[str, Text]
    places: Mapping[str, Place] = field(default_factory=dict)

    def line(self, *keys: str) -> int | None:
        """The line of a key such as ``("params", "funnel", "horizon")``, or of its nearest parent."""
        return line_of(self.lines, keys)

    def place(self, name: str, *keys: str) -> Place:
        """Where a parameter's value was given: apart from the plan, else at these keys of the plan."""
        return self.places.get(name) or {"file": self.file, "row": self.line(*keys), "column": name}


def load_plan(
    path: Path,
    overrides: Sequence[tuple[str, Text]] = (),
    places: Mapping[str, Place] | None = None,
) -> LoadedPlan:
    """The plan in a file with ``-p NAME VALUE`` overrides; raises :class:`InputError` with all problems.

    ``team``, ``quarter`` (as text, comma separated), ``data`` and ``locale`` replace the plan's own
    keys; any other name is a parameter for every report of the plan that declares it. ``places`` are
    those of overrides that come from elsewhere than ``-p``.
    """
    values, lines = read_yaml_lines(path, LIMITS)
    return _plan(values, lines, path.name, overrides, places)


def parse_plan(text: str, *, file: str = "plan", overrides: Sequence[tuple[str, Text]] = ()) -> LoadedPlan:
    """The plan in ``text``; see :func:`load_plan`.

    >>> parse_plan("{data: sample, reports: funnel, teams: [NO, 007]}").plan.teams
    ('NO', '007')
    """
    values, lines = parse_yaml(text, file=file, limits=LIMITS)
    return _plan(values, lines, file, overrides)


def _plan(
    values: dict[str, Any],
    lines: Mapping[tuple[str, ...], int],
    file: str,
    overrides: Sequence[tuple[str, Text]],
    places: Mapping[str, Place] | None = None,
) -> LoadedPlan:
    given = dict(overrides)
    where = {name: {"file": "command line", "column": f"-p {name}"} for name in given} | dict(places or {})
    names = [name for name, _value in overrides]
    twice = [name for name in given if names.count(name) > 1]
    problems = [Problem(f"-p {name} is given twice", file="command line") for name in twice]
    left: dict[str, Text] = {}
    for name, value in given.items():
        if name == "team":
            values["teams"] = [value] if isinstance(value, str) else value
        elif name == "quarter":
            parts = value.split(",") if isinstance(value, str) else value
            values["quarters"] = [part.strip() for part in parts]
        elif name in ("data", "locale"):
            values[name] = value
        else:
            left[name] = value
    plan = validated(Plan, values, lines, file=file, problems=problems)
    return LoadedPlan(plan, file, lines, left, where)


def load_notify(path: Path) -> Notify:
    """Whom to tell, from a file with the keys of a plan's ``notify``; raises :class:`InputError`."""
    values, lines = read_yaml_lines(path, LIMITS)
    return validated(Notify, values, lines, file=path.name)
