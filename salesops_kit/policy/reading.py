"""checks.yml, process.yml and segments.yml read and put together: every problem at once, with its line."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from salesops_kit.errors import Problem, Problems, did_you_mean, unknown
from salesops_kit.model_problems import problem_of
from salesops_kit.policy.builtin import BUILTINS
from salesops_kit.policy.model import (
    CHECKED_TABLES,
    Check,
    Condition,
    Policy,
    Process,
    Segment,
    Segments,
    ServiceLevel,
    StageRules,
)
from salesops_kit.policy.values import AS_OF, COLUMN_MARK, DATES, allowed_operators, texts_of, typed
from salesops_kit.yaml_text import Lines, line_of, read_yaml_lines

CHECKS, PROCESS, SEGMENTS = "checks.yml", "process.yml", "segments.yml"
KIT = Path(__file__).parent
Columns = Mapping[str, Mapping[str, str]]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class _Source:
    """Where a value stands: its file, the lines of the file, and the path to it."""

    file: str
    lines: Mapping[tuple[str, ...], int]
    path: tuple[str, ...] = ()

    def at(self, *more: str | int) -> _Source:
        return _Source(self.file, self.lines, (*self.path, *map(str, more)))

    @property
    def row(self) -> int | None:
        return line_of(self.lines, self.path)

    def problem(self, what: str, **fields: Any) -> Problem:
        return Problem(what, file=self.file, row=self.row, **fields)

    def unknown(self, kind: str, name: str, choices: Sequence[str]) -> Problem:
        return unknown(kind, name, choices, file=self.file, row=self.row)


_NOWHERE = _Source(PROCESS, {})


@dataclass
class _Reading:
    columns: Columns
    stages: Collection[str] | None
    problems: Problems = field(default_factory=Problems)

    def model(self, model: type[M], values: Any, source: _Source) -> M | None:
        if not isinstance(values, dict):
            self.problems.append(source.problem("expected `name: value` lines"))
            return None
        try:
            return model.model_validate(values)
        except ValidationError as error:
            self.problems += [_problem(item, model, source) for item in error.errors()]
            return None

    def models(self, model: type[M], listed: Any, source: _Source) -> list[tuple[int, M]]:
        """The items of a list with their places, each read by itself, so that one that is wrong hides
        nothing of the others."""
        if not isinstance(listed, list):
            self.problems.append(source.problem("expected a list"))
            return []
        made = [(n, self.model(model, values, source.at(n))) for n, values in enumerate(listed)]
        return [(n, item) for n, item in made if item is not None]

    def column(self, table: str, name: str, source: _Source) -> str | None:
        """The type of a column; an unknown one is a problem."""
        known = self.columns.get(table, {})
        if name not in known:
            self.problems.append(source.unknown(f"column of {table}", name, list(known)))
        return known.get(name)

    def conditions(self, table: str, listed: Any, source: _Source) -> tuple[Condition, ...]:
        """The conditions of a list, those that fit the columns of a table."""
        found = self.models(Condition, listed, source)
        for number, condition in found:
            place = source.at(number)
            kind = self.column(table, condition.column, place)
            if kind is None:
                continue
            allowed = allowed_operators(kind)
            if condition.operator not in allowed:
                self.problems.append(
                    place.problem(
                        f"operator {condition.operator} does not fit the {kind} {condition.column}",
                        expected=" or ".join(allowed),
                    )
                )
                continue
            for text in texts_of(condition):
                self._value(table, condition, text, kind, place)
        return tuple(condition for _number, condition in found)

    def _value(self, table: str, condition: Condition, text: str, kind: str, place: _Source) -> None:
        if text.startswith(COLUMN_MARK):
            self.column(table, text.removeprefix(COLUMN_MARK), place)
            return
        if text == AS_OF and kind in DATES and condition.operator != "older_than_days":
            return
        try:
            typed(text, kind, condition.operator)
        except ValueError as error:
            self.problems.append(
                place.problem(f"a value that {condition.column} cannot have", expected=str(error), got=text)
            )

    def stage(self, name: str, source: _Source) -> None:
        if self.stages is not None and name not in self.stages:
            self.problems.append(source.unknown("stage", name, sorted(self.stages)))


def read_policy(
    folders: Sequence[Path],
    *,
    columns: Columns,
    stages: Collection[str] | None,
    unfilled: Collection[str] = (),
) -> Policy:
    """The kit's rules with those of ``folders`` on top, a later folder over an earlier one.

    ``columns`` are the types of the columns by table, ``stages`` the dataset's stages (None: any name is
    taken), ``unfilled`` the columns that no record fills. Raises :class:`InputError` with every unknown
    key, column, operator, stage, built-in and threshold and every value of the wrong type at once.
    """
    reading = _Reading(columns, stages)
    checks: dict[str, tuple[dict[str, Any], _Source]] = {}
    process: tuple[dict[str, Any], list[tuple[str, _Source]]] = ({}, [])
    segments: tuple[Any, _Source] | None = None
    for folder in (KIT, *folders):
        for values, source in _read(folder / CHECKS, ("checks",), reading):
            _merge_checks(checks, values.get("checks"), source.at("checks"), reading)
        for values, source in _read(folder / PROCESS, tuple(Process.model_fields), reading):
            process[0].update(values)
            process[1].extend((name, source) for name in values)
        for values, source in _read(folder / SEGMENTS, tuple(Segments.model_fields), reading):
            segments = (values, source)
    made = [check for raw, source in checks.values() if (check := _check(raw, source, reading))]
    steps = _process(process[0], dict(process[1]), reading)
    groups = _segments(segments, reading) if segments else Segments()
    reading.problems.refuse()
    return Policy(
        checks=tuple(check for check in made if check.is_on),
        process=steps,
        segments=groups,
        unfilled=frozenset(unfilled),
    )


def _read(path: Path, keys: Sequence[str], reading: _Reading) -> Iterator[tuple[dict[str, Any], _Source]]:
    if not path.is_file():
        return
    values: dict[str, Any] = {}
    lines: Lines = {}
    with reading.problems.caught():
        values, lines = read_yaml_lines(path)
    source = _Source(path.name, lines)
    for name in values:
        if name not in keys:
            reading.problems.append(source.at(name).unknown("key", name, list(keys)))
    yield {name: value for name, value in values.items() if name in keys}, source


def _merge_checks(
    known: dict[str, tuple[dict[str, Any], _Source]], listed: Any, source: _Source, reading: _Reading
) -> None:
    if not isinstance(listed, list):
        reading.problems.append(source.problem("expected a list of checks"))
        return
    seen: set[str] = set()
    for number, values in enumerate(listed):
        place = source.at(number)
        if not isinstance(values, dict) or not isinstance(values.get("id"), str):
            reading.problems.append(place.problem("a check needs an id"))
            continue
        name = values["id"]
        if name in seen:
            reading.problems.append(place.problem(f"check {name!r} is given twice"))
            continue
        seen.add(name)
        before = known[name][0] if name in known else {}
        if not before and not {"title", "severity"} <= set(values):
            near = did_you_mean(name, list(known))
            lacking = " and ".join(key for key in ("title", "severity") if key not in values)
            reading.problems.append(
                place.problem(f"a new check {name!r} needs {lacking}", next_step=f"To retune one: {near}")
            )
            continue
        merged = {**before, **values}
        if isinstance(before.get("thresholds"), dict) and isinstance(values.get("thresholds"), dict):
            merged["thresholds"] = {**before["thresholds"], **values["thresholds"]}
        known[name] = (merged, place)


def _check(raw: dict[str, Any], source: _Source, reading: _Reading) -> Check | None:
    before = len(reading.problems)
    check = reading.model(Check, {name: value for name, value in raw.items() if name != "where"}, source)
    table = check.table if check else str(raw.get("table", "opportunities"))
    builtin = str(raw.get("builtin", ""))
    if bool(builtin) == bool(raw.get("where")):
        reading.problems.append(source.problem(f"check {raw['id']!r} needs either where or builtin"))
    if builtin and builtin not in BUILTINS:
        reading.problems.append(source.at("builtin").unknown("built-in check", builtin, list(BUILTINS)))
    elif not builtin and table not in CHECKED_TABLES:
        reading.problems.append(source.at("table").unknown("table", table, list(CHECKED_TABLES)))
    elif raw.get("where"):
        conditions = reading.conditions(table, raw["where"], source.at("where"))
        check = check and check.model_copy(update={"where": conditions})
    if check is None:
        return None
    known = BUILTINS[builtin].thresholds if builtin in BUILTINS else {}
    for name in check.thresholds:
        if name not in known:
            place = source.at("thresholds", name)
            reading.problems.append(place.unknown(f"threshold of {builtin or 'where'}", name, list(known)))
    if check.field and builtin not in ("import_flag", "set_aside"):
        reading.column(check.table, check.field, source.at("field"))
    for name in (*check.stage, *([check.from_stage] if check.from_stage else [])):
        reading.stage(name, source.at("stage" if name in check.stage else "from_stage"))
    if (check.stage or check.from_stage or check.state) and check.table != "opportunities":
        reading.problems.append(source.problem("stage and state are those of opportunities"))
    return check if len(reading.problems) == before else None


def _process(raw: dict[str, Any], sources: Mapping[str, _Source], reading: _Reading) -> Process:
    made: dict[str, tuple[Any, ...]] = {}
    for name in ("required", "required_qualified"):
        part = reading.model(Process, {name: raw.get(name, [])}, sources.get(name, _NOWHERE))
        made[name] = getattr(part, name) if part else ()
        for number, column in enumerate(made[name]):
            reading.column("opportunities", column, sources[name].at(name, number))
    if "stages" in raw:
        made["stages"] = _stages(raw["stages"], sources["stages"].at("stages"), reading)
    if "service_levels" in raw:
        place = sources["service_levels"].at("service_levels")
        made["service_levels"] = _service_levels(raw["service_levels"], place, reading)
    return Process(**made)


def _stages(listed: Any, source: _Source, reading: _Reading) -> tuple[StageRules, ...]:
    found = reading.models(StageRules, listed, source)
    seen: set[tuple[str, str]] = set()
    for number, rules in found:
        place = source.at(number)
        reading.stage(rules.stage, place)
        if (rules.pipeline, rules.stage) in seen:
            reading.problems.append(place.problem(f"stage {rules.stage!r} is given twice"))
        seen.add((rules.pipeline, rules.stage))
        for column in rules.required:
            reading.column("opportunities", column, place.at("required"))
    return tuple(rules for _number, rules in found)


def _service_levels(listed: Any, source: _Source, reading: _Reading) -> tuple[ServiceLevel, ...]:
    if not isinstance(listed, list):
        reading.problems.append(source.problem("expected a list"))
        return ()
    made: list[ServiceLevel] = []
    for number, raw in enumerate(listed):
        place = source.at(number)
        bare = dict(raw) if isinstance(raw, dict) else raw
        where = bare.pop("where", []) if isinstance(bare, dict) else []
        level = reading.model(ServiceLevel, bare, place)
        if level is None:
            continue
        conditions = reading.conditions(level.table, where, place.at("where")) if where else ()
        made.append(level.model_copy(update={"where": conditions}))
        for end, column in (("start", level.start), ("end", level.end)):
            kind = reading.column(level.table, column, place.at(end))
            if kind is not None and kind not in DATES:
                reading.problems.append(
                    place.at(end).problem(f"{column} is no date", expected="a date or a moment")
                )
    return tuple(made)


def _segments(given: tuple[Any, _Source], reading: _Reading) -> Segments:
    values, source = given
    source = source.at("segments")
    made: list[Segment] = []
    for number, raw in enumerate(values.get("segments", [])):
        place = source.at(number)
        bare = dict(raw) if isinstance(raw, dict) else raw
        listed = bare.pop("where", []) if isinstance(bare, dict) else []
        conditions = reading.conditions("accounts", listed, place.at("where")) if listed else ()
        segment = reading.model(Segment, bare, place)
        if segment is None:
            continue
        if not segment.accounts and not listed:
            reading.problems.append(place.problem("a segment needs accounts or where"))
        if segment.segment in {other.segment for other in made}:
            reading.problems.append(place.problem(f"segment {segment.segment!r} is given twice"))
        made.append(segment.model_copy(update={"where": conditions}))
    return Segments(segments=tuple(made), otherwise=str(values.get("otherwise", "")))


def _problem(item: Any, model: type[BaseModel], source: _Source) -> Problem:
    place = source.at(*item["loc"])
    if item["type"] == "literal_error" and isinstance(item["input"], str):
        name = ".".join(part for part in map(str, item["loc"]) if not part.isdigit())
        choices = [word.strip("' ") for word in item["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return place.unknown(name, item["input"], [choice for choice in choices if choice])
    return problem_of(item, model, file=place.file, row=place.row)
