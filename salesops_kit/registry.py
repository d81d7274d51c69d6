"""What the analyses offer: every function marked ``@table`` or ``@reference``, found by import.

A table function lives in ``salesops_kit/analysis/<module>`` and is known as ``<module>.<function>``.
Its signature is its contract:

- positional parameters are canonical tables by name (``ibis.Table``); one whose annotation allows
  ``None`` or that has a default is optional;
- parameters named in ``needs`` receive the result of another analysis' table;
- the keyword-only parameters ``as_of``, ``period``, ``settings``, ``policy``, ``reference`` and ``record``
  are handed in by whoever opens the data; ``policy`` are the company's checks and process, ``record``
  says since when changes of deals are known,
  ``reference`` is what the ``@reference`` function of the same analysis gave for the whole company,
  or ``None``;
- every other keyword-only parameter is an option with a default, which a reader may set.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import pkgutil
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from salesops_kit.errors import InputError, Problem, unknown

ANALYSIS_PACKAGE = "salesops_kit.analysis"
CONTEXT = ("as_of", "period", "settings", "policy", "reference", "record")
_TABLE_MARK = "__salesops_table__"
_REFERENCE_MARK = "__salesops_reference__"
_OPTION_TYPES: tuple[type, ...] = (str, int, float, bool)
_WORDS_FOR_BOOL = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Option:
    """One option of a table: its type, its default and, when closed, the values it may take."""

    name: str
    type: type
    default: Any
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class TableSpec:
    """One table that an analysis offers, as read from its function's signature."""

    name: str
    function: Callable[..., Any]
    title: str
    tables: tuple[str, ...]
    optional_tables: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    options: Mapping[str, Option] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def analysis(self) -> str:
        """The name of the analysis module: the part before the dot."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class ReferenceSpec:
    """The company-wide figures of one analysis: a nested dict of plain numbers, without ids."""

    name: str
    function: Callable[..., Any]
    title: str
    tables: tuple[str, ...]
    optional_tables: tuple[str, ...] = ()
    context: tuple[str, ...] = ()


@dataclass(frozen=True)
class _TableMark:
    needs: Mapping[str, str]
    units: Mapping[str, str]
    title: str


def table(
    needs: Mapping[str, str] = MappingProxyType({}),
    units: Mapping[str, str] = MappingProxyType({}),
    title: str = "",
) -> Callable[[F], F]:
    """Marks a function as a table of its analysis; the function itself is returned unchanged.

    ``needs`` maps parameters to the names of other analyses' tables, ``units`` maps result columns to
    units (``rate``, ``days``, ``money``, ``deals``, ...), ``title`` replaces the docstring's first line.
    """

    def mark(function: F) -> F:
        setattr(function, _TABLE_MARK, _TableMark(dict(needs), dict(units), title))
        return function

    return mark


def reference(function: F) -> F:
    """Marks the one function of an analysis that computes its company-wide figures once per run.

    It takes tables and context like a table function, and returns a nested dict of plain numbers with
    no ids in it. The key ``teams`` says how many teams contributed.
    """
    setattr(function, _REFERENCE_MARK, True)
    return function


@functools.cache
def _analyses() -> tuple[str, ...]:
    package = importlib.import_module(ANALYSIS_PACKAGE)
    return tuple(
        sorted(info.name for info in pkgutil.iter_modules(package.__path__) if not info.name.startswith("_"))
    )


def _marked(analysis: str, mark: str) -> dict[str, Callable[..., Any]]:
    module_name = f"{ANALYSIS_PACKAGE}.{analysis}"
    module = importlib.import_module(module_name)
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and hasattr(value, mark)
        and (value.__module__ == module_name or value.__module__.startswith(module_name + "."))
    }


@functools.cache
def _tables_of(analysis: str) -> Mapping[str, TableSpec]:
    return {
        f"{analysis}.{name}": table_spec(function, f"{analysis}.{name}")
        for name, function in _marked(analysis, _TABLE_MARK).items()
    }


def tables() -> dict[str, TableSpec]:
    """Every table of every analysis by its name ``<module>.<function>``; imports all analyses."""
    found = {name: spec for analysis in _analyses() for name, spec in _tables_of(analysis).items()}
    return dict(sorted(found.items()))


def find_table(name: str) -> TableSpec:
    """The table called ``name``, importing only its analysis; raises :class:`InputError` with the
    nearest names when there is none."""
    analysis = name.partition(".")[0]
    if analysis in _analyses() and name in (offered := _tables_of(analysis)):
        return offered[name]
    raise InputError(unknown("table", name, list(tables())))


@functools.cache
def _reference_of(analysis: str) -> ReferenceSpec | None:
    functions = _marked(analysis, _REFERENCE_MARK)
    if len(functions) > 1:
        raise TypeError(f"analysis {analysis!r} has more than one @reference: {sorted(functions)}")
    for function in functions.values():
        parts = _read_signature(function, analysis, {})
        if parts.options:
            raise TypeError(f"@reference of {analysis!r} takes no options, got {sorted(parts.options)}")
        return ReferenceSpec(
            analysis, function, _title(function), parts.tables, parts.optional_tables, parts.context
        )
    return None


def references(*analyses: str) -> dict[str, ReferenceSpec]:
    """The company-wide figures that some analyses offer (all of them when none is named), by the name of
    the analysis module; only these are imported."""
    names = [name for name in _analyses() if not analyses or name in analyses]
    return {name: spec for name in names if (spec := _reference_of(name)) is not None}


def table_spec(function: Callable[..., Any], name: str) -> TableSpec:
    """The contract of one marked function, read from its signature.

    Raises ``TypeError`` naming the parameter when the signature breaks the rules of this module: that
    is a programmer's error, found by the first test that lists the tables.
    """
    mark: _TableMark = getattr(function, _TABLE_MARK)
    parts = _read_signature(function, name, mark.needs)
    return TableSpec(
        name=name,
        function=function,
        title=mark.title or _title(function),
        tables=parts.tables,
        optional_tables=parts.optional_tables,
        context=parts.context,
        options=MappingProxyType(parts.options),
        needs=MappingProxyType(dict(mark.needs)),
        units=MappingProxyType(dict(mark.units)),
    )


@dataclass(frozen=True)
class _Signature:
    tables: tuple[str, ...]
    optional_tables: tuple[str, ...]
    context: tuple[str, ...]
    options: dict[str, Option]


def _title(function: Callable[..., Any]) -> str:
    first, *_ = (inspect.getdoc(function) or "").splitlines() or [""]
    return first.strip().rstrip(".")


def _read_signature(function: Callable[..., Any], name: str, needs: Mapping[str, str]) -> _Signature:
    hints = typing.get_type_hints(function)
    required: list[str] = []
    optional: list[str] = []
    context: list[str] = []
    options: dict[str, Option] = {}
    parameters = inspect.signature(function).parameters
    for missing in set(needs) - set(parameters):
        raise TypeError(f"{name}: needs names {missing!r}, which is no parameter")
    for parameter in parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{name}: {parameter.name!r} takes any number of values; name each parameter")
        if parameter.name in needs:
            continue
        if parameter.kind is not parameter.KEYWORD_ONLY:
            may_be_none = parameter.default is None or _allows_none(hints.get(parameter.name))
            (optional if may_be_none else required).append(parameter.name)
        elif parameter.name in CONTEXT:
            context.append(parameter.name)
        else:
            options[parameter.name] = _option(name, parameter, hints.get(parameter.name))
    return _Signature(tuple(required), tuple(optional), tuple(context), options)


def _allows_none(hint: Any) -> bool:
    is_union = isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
    return is_union and type(None) in typing.get_args(hint)


def _option(name: str, parameter: inspect.Parameter, hint: Any) -> Option:
    if parameter.default is inspect.Parameter.empty:
        raise TypeError(f"{name}: option {parameter.name!r} has no default")
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        kinds = {type(choice) for choice in choices}
        if len(kinds) != 1 or parameter.default not in choices:
            raise TypeError(
                f"{name}: option {parameter.name!r} mixes types or defaults to none of its choices"
            )
        return Option(parameter.name, kinds.pop(), parameter.default, choices)
    if hint not in _OPTION_TYPES:
        raise TypeError(
            f"{name}: option {parameter.name!r} must be str, int, float, bool or Literal, not {hint}"
        )
    return Option(parameter.name, hint, parameter.default)


def parse_options(spec: TableSpec, raw: Mapping[str, str]) -> dict[str, Any]:
    """Options given as text, typed by the table's contract; options that are not named keep their default.

    Nothing is guessed: an ``int`` is digits, a ``bool`` is true/false, yes/no or 1/0, a ``str`` is taken
    literally. Raises :class:`InputError` with every unknown name and every wrong value at once.

    >>> spec = TableSpec("deals.size", print, "", (), options={"top": Option("top", int, 10)})
    >>> parse_options(spec, {"top": "3"})
    {'top': 3}
    """
    problems: list[Problem] = []
    values: dict[str, Any] = {}
    for name, text in raw.items():
        if name not in spec.options:
            problems.append(unknown(f"option of {spec.name}", name, list(spec.options)))
            continue
        option = spec.options[name]
        try:
            value = _typed(option.type, text)
        except ValueError:
            problems.append(Problem("wrong value", column=name, expected=_expected(option), got=text))
            continue
        if option.choices and value not in option.choices:
            shown = [str(choice) or "''" for choice in option.choices]
            problems.append(unknown(f"value of {name} of {spec.name}", text, shown))
            continue
        values[name] = value
    if problems:
        raise InputError(problems)
    return values


def _expected(option: Option) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(option.type, "text")


def _typed(kind: type, text: str) -> Any:
    stripped = text.strip()
    if kind is bool:
        if stripped.casefold() not in _WORDS_FOR_BOOL:
            raise ValueError(text)
        return _WORDS_FOR_BOOL[stripped.casefold()]
    if kind is int:
        if not re.fullmatch(r"[+-]?[0-9]+", stripped):
            raise ValueError(text)
        return int(stripped)
    if kind is float:
        number = float(stripped)
        if "_" in stripped or not math.isfinite(number):
            raise ValueError(text)
        return number
    return text
