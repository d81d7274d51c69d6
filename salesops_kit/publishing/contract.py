"""A template's parameter contract: read from its parameters cell, and the only judge of a value's type."""

from __future__ import annotations

import ast
import io
import keyword
import math
import re
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from salesops_kit.errors import Problem, did_you_mean, unknown
from salesops_kit.periods import parse_day

Value = str | int | float | bool | list[str]
TYPES = ("str", "int", "float", "bool", "list[str]")
FORMATS = ("date", "dataset")
CONSTRAINTS = ("one of", "range", "unit", "format")
LONGEST_TEXT = 1_000

_INT = re.compile(r"[+-]?[0-9]{1,18}")
_FLOAT = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})([eE][+-]?[0-9]{1,3})?")
_PASSWORD_IN_ADDRESS = re.compile(r"://[^/\s:@]*:[^/\s@]+@")


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell: ``name: type = default  # help | constraint; constraint``.

    ``one_of`` names a set of valid names that the dataset gives (``teams``, ``quarters``) or lists the
    choices, separated by commas. ``minimum`` and ``maximum`` are inclusive; a missing side is open.
    """

    name: str
    type: str
    default: Value
    help: str
    line: int
    one_of: str = ""
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    format: str = ""

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        parts = [self.type]
        if self.format == "date":
            parts.append("a date such as 2026-09-30, or empty")
        if self.minimum is not None or self.maximum is not None:
            low = "" if self.minimum is None else f"{self.minimum:g}"
            high = "" if self.maximum is None else f"{self.maximum:g}"
            parts.append(f"{low}..{high}" + (f" {self.unit}" if self.unit else ""))
        return ", ".join(parts)


def parse_parameters(source: str, *, file: str) -> tuple[dict[str, Parameter], list[Problem]]:
    """The parameters that a cell declares, and every problem found in it.

    A line is ``name: str = "literal"  # Help | one of: teams``; types are str, int, float, bool and
    list[str]. Neither the help nor the default may hold ``=``, since Papermill's own reader loses
    such a line. ``row`` of a problem is the line in the cell.

    >>> found, problems = parse_parameters('horizon: int = 2  # Ahead | range: 1..8', file="x.ipynb")
    >>> found["horizon"].maximum, problems
    (8.0, [])
    """
    try:
        statements = ast.parse(source).body
        comments = _comments(source)
    except (SyntaxError, tokenize.TokenError, ValueError) as error:
        line = getattr(error, "lineno", None)
        return {}, [Problem(f"the parameters cell is no Python: {error}", file=file, row=line)]
    found: dict[str, Parameter] = {}
    problems: list[Problem] = []
    for statement in statements:
        parameter, wrong = _parameter(statement, comments.get(statement.lineno, ""), file)
        problems += wrong
        if parameter is None:
            continue
        if parameter.name in found:
            problems.append(
                Problem(f"parameter {parameter.name!r} is declared twice", file=file, row=parameter.line)
            )
        found.setdefault(parameter.name, parameter)
    return found, problems


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0]: t.string.lstrip("#").strip() for t in tokens if t.type == tokenize.COMMENT}


def _parameter(statement: ast.stmt, comment: str, file: str) -> tuple[Parameter | None, list[Problem]]:
    line = statement.lineno
    shape = 'one line such as  team: str = "company"  # Team | one of: teams'
    if (
        not isinstance(statement, ast.AnnAssign)
        or not isinstance(statement.target, ast.Name)
        or statement.value is None
        or statement.end_lineno != line
    ):
        return None, [Problem("not a parameter", file=file, row=line, expected=shape)]
    name = statement.target.id
    problems: list[Problem] = []

    def wrong(what: str, **details: str | None) -> None:
        problems.append(Problem(f"parameter {name!r}: {what}", file=file, row=line, **details))  # type: ignore[arg-type]

    if name.startswith("_") or keyword.issoftkeyword(name) or not name.isascii() or name == "pm":
        wrong("the name is reserved", expected="an ASCII identifier without a leading underscore")
    type_ = ast.unparse(statement.annotation).replace(" ", "")
    if type_ not in TYPES:
        wrong("unknown type", expected=" or ".join(TYPES), got=type_)
        return None, problems
    try:
        default = ast.literal_eval(statement.value)
    except ValueError:
        wrong("the default is no literal", expected=f"a literal {type_}", got=ast.unparse(statement.value))
        return None, problems
    if not _is_of_type(default, type_):
        wrong("the default has another type", expected=type_, got=repr(default))
        return None, problems
    if type_ == "float":
        default = float(default)
    if "=" in comment or "=" in ast.unparse(statement.value):
        wrong("'=' in the help or the default", expected="no '=', Papermill's reader loses such a line")
    help_text, _, constraints = comment.partition(" | ")
    if not help_text.strip():
        wrong("no help", expected=shape)
    given, bad = _constraints(constraints)
    for what in bad:
        wrong(what)
    parameter = Parameter(name, type_, default, help_text.strip(), line, **given)  # type: ignore[arg-type]
    for what in _misplaced(parameter):
        wrong(what)
    if not problems:
        _, problem = coerce(parameter, default, file=file, row=line)
        if problem:
            wrong(f"the default breaks the contract ({problem.what})")
    return parameter, problems


def _is_of_type(value: object, type_: str) -> bool:
    match type_:
        case "str":
            return isinstance(value, str)
        case "bool":
            return isinstance(value, bool)
        case "int":
            return isinstance(value, int) and not isinstance(value, bool)
        case "float":
            return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _constraints(text: str) -> tuple[dict[str, object], list[str]]:
    given: dict[str, object] = {}
    bad: list[str] = []
    for part in filter(str.strip, text.split(";")):
        name, colon, value = (piece.strip() for piece in part.partition(":"))
        if not colon or name not in CONSTRAINTS:
            bad.append(f"unknown constraint {part.strip()!r}. {did_you_mean(name, CONSTRAINTS)}".rstrip("."))
        elif not value:
            bad.append(f"constraint {name!r} says nothing")
        elif name == "range":
            low, dots, high = value.partition("..")
            try:
                given["minimum"] = float(low) if low.strip() else None
                given["maximum"] = float(high) if high.strip() else None
            except ValueError:
                dots = ""
            if not dots or not (low.strip() or high.strip()):
                bad.append(f"range {value!r} is not like 1..8")
        elif name == "format" and value not in FORMATS:
            bad.append(f"unknown format {value!r}. {did_you_mean(value, FORMATS)}".rstrip("."))
        else:
            given[name.replace(" ", "_")] = value
    return given, bad


def _misplaced(parameter: Parameter) -> list[str]:
    wrong = []
    if parameter.type not in ("int", "float") and (parameter.minimum, parameter.maximum) != (None, None):
        wrong.append("a range needs int or float")
    if parameter.format and parameter.type != "str":
        wrong.append("a format needs str")
    if parameter.one_of and parameter.type not in ("str", "list[str]"):
        wrong.append("'one of' needs str or list[str]")
    return wrong


def coerce(
    parameter: Parameter,
    raw: object,
    *,
    names: Mapping[str, Sequence[str]] | None = None,
    **place: str | int | None,
) -> tuple[Value, Problem | None]:
    """``raw`` (text from a plan or the terminal, or a value of the right type) as the contract's type.

    Text is never guessed: ``NO`` and ``007`` stay text for a str; an int is ASCII digits, a bool is
    ``true`` or ``false``, a list[str] given as one text is split at commas. Returns the value and no
    problem, or the default and the problem. ``names`` holds the valid names of the dataset; without
    it, ``one of`` a named set is not checked.

    >>> team = Parameter("team", "str", "company", "Team", 1)
    >>> coerce(team, "007")
    ('007', None)
    """
    try:
        value = _typed(parameter.type, raw)
    except ValueError:
        return parameter.default, Problem(
            f"parameter {parameter.name!r}: not a {parameter.type}",
            expected=parameter.expected,
            got=str(raw)[:80],
            **place,  # type: ignore[arg-type]
        )
    what = _broken(parameter, value)
    if what:
        return parameter.default, Problem(
            f"parameter {parameter.name!r}: {what}",
            expected=parameter.expected,
            got=None if "password" in what else str(raw)[:80],
            **place,  # type: ignore[arg-type]
        )
    choices = _choices(parameter, names)
    if choices is not None:
        for item in [value] if isinstance(value, str) else value if isinstance(value, list) else []:
            if item not in choices:
                return parameter.default, unknown(parameter.name, item[:80], choices, **place)
    return value, None


def _typed(type_: str, raw: object) -> Value:
    if not isinstance(raw, str):
        if isinstance(raw, list) and type_ != "list[str]":
            raise ValueError(raw)
        if _is_of_type(raw, type_):
            return float(raw) if type_ == "float" else raw  # type: ignore[arg-type, return-value]
        raise ValueError(raw)
    match type_:
        case "str":
            return raw
        case "bool" if raw.lower() in ("true", "false"):
            return raw.lower() == "true"
        case "int" if _INT.fullmatch(raw):
            return int(raw)
        case "float" if _FLOAT.fullmatch(raw):
            return float(raw)
        case "list[str]":
            return [item.strip() for item in raw.split(",")] if raw else []
    raise ValueError(raw)


def _broken(parameter: Parameter, value: Value) -> str:
    """What is wrong with a value of the right type; empty when nothing is."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, int | float):
        if isinstance(value, float) and not math.isfinite(value):
            return "not a finite number"
        if parameter.minimum is not None and value < parameter.minimum:
            return "below the range"
        if parameter.maximum is not None and value > parameter.maximum:
            return "above the range"
        return ""
    for text in [value] if isinstance(value, str) else value:
        if len(text) > LONGEST_TEXT:
            return f"longer than {LONGEST_TEXT:,} characters"
        if any(character < " " or "\ud800" <= character <= "\udfff" for character in text):
            return "holds a control character"
        if _PASSWORD_IN_ADDRESS.search(text):
            return "holds a password; name an environment variable instead"
    if parameter.format == "date" and value and not _is_date(str(value)):
        return "not a date"
    if parameter.format == "dataset" and not value:
        return "empty"
    return ""


def _is_date(text: str) -> bool:
    try:
        parse_day(text)
    except ValueError:
        return False
    return True


def _choices(parameter: Parameter, names: Mapping[str, Sequence[str]] | None) -> Sequence[str] | None:
    if not parameter.one_of:
        return None
    if "," in parameter.one_of:
        return [choice.strip() for choice in parameter.one_of.split(",")]
    if names is None:
        return None
    return names.get(parameter.one_of, ())


def canonical(
    parameters: Mapping[str, Parameter],
    given: Mapping[str, object],
    *,
    names: Mapping[str, Sequence[str]],
    **place: str | int | None,
) -> tuple[dict[str, Value], list[Problem]]:
    """Every parameter of a contract with its typed value, in the contract's order, and all problems.

    A name outside the contract is a problem with the nearest valid names; a parameter that is not
    given keeps its default, which is checked against ``names`` too.
    """
    problems = [
        unknown("parameter", name, list(parameters), **place) for name in given if name not in parameters
    ]
    values: dict[str, Value] = {}
    for parameter in parameters.values():
        raw = given.get(parameter.name, parameter.default)
        values[parameter.name], problem = coerce(
            parameter, raw, names=names, **{**place, "column": parameter.name}
        )
        if problem:
            problems.append(problem)
    return values, problems


def unchecked_sets(parameters: Iterable[Parameter], names: Mapping[str, Sequence[str]]) -> list[str]:
    """The name sets that parameters refer to and that the dataset does not give."""
    return sorted({p.one_of for p in parameters if p.one_of and "," not in p.one_of} - set(names))
