"""Any table of any analysis, computed for one scope, quarter and cut-off date."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pandas as pd

from salesops_kit.data.as_of import STATES
from salesops_kit.data.dataset import Rows, team_tree
from salesops_kit.errors import InputError, NotAvailableError, Problem, Problems, did_you_mean, unknown
from salesops_kit.estimators.dimensions import parse_by, tables_by_name
from salesops_kit.language import _
from salesops_kit.periods import Period, parse_day
from salesops_kit.registry import ReferenceSpec, TableSpec, find_table, references

FEWEST_OTHER_TEAMS = 3


@contextmanager
def small_frames() -> Iterator[None]:
    """Texts of frames as Python objects meanwhile: frames here are small, and through Arrow each look at a
    text or a column's name takes twice as long."""
    with pd.option_context("mode.string_storage", "python"):
        yield


@dataclass
class Calculator:
    """Hands analyses what their signatures ask for: tables in base currency, context, references.

    ``reference`` is company-wide figures by analysis, or None to leave them out (too few other
    teams for them to tell nothing of one).
    """

    rows: Rows
    as_of: dt.date
    period: Period | None = None
    reference: Mapping[str, Any] | None = None
    _results: dict[tuple[str, tuple[tuple[str, Any], ...]], pd.DataFrame] = field(default_factory=dict)

    @small_frames()
    def table(self, name: str, **options: Any) -> pd.DataFrame:
        """One table by its name ``<analysis>.<table>``.

        Raises :class:`InputError` for unknown names and options, :class:`NotAvailableError` where the
        dataset lacks a table that the analysis needs.
        """
        spec = find_table(name)
        wrong = [
            unknown(f"option of {name}", option, list(spec.options))
            for option in options
            if option not in spec.options
        ]
        if wrong:
            raise InputError(wrong)
        key = (name, tuple(sorted(options.items())))
        if key not in self._results:
            needed = {parameter: self.table(other) for parameter, other in spec.needs.items()}
            frame = spec.function(**self._arguments(spec), **needed, **options)
            frame.attrs["table"] = name
            self._results[key] = frame
        return self._results[key].copy()

    def _arguments(self, spec: TableSpec | ReferenceSpec) -> dict[str, Any]:
        """Positional tables and context of a table or reference function, by parameter name."""
        missing = [name for name in spec.tables if name not in self.rows.tables]
        if missing:
            raise NotAvailableError(
                _("This needs {tables}, which the data lacks.").format(
                    tables=", ".join(name.replace("_", " ") for name in missing)
                )
            )
        fiscal_year = self.rows.settings.fiscal.year_number(self.period.start if self.period else self.as_of)
        names = [*spec.tables, *(name for name in spec.optional_tables if name in self.rows.tables)]
        arguments: dict[str, Any] = {name: self.rows.in_base(name, fiscal_year) for name in names}
        arguments |= {name: None for name in spec.optional_tables if name not in self.rows.tables}
        context = {
            "as_of": self.as_of,
            "period": self.period,
            "settings": self.rows.settings,
            "policy": self.rows.policy,
            "record": self.rows.record,
            "reference": (self.reference or {}).get(spec.name.partition(".")[0]),
        }
        return arguments | {name: context[name] for name in spec.context}

    @small_frames()
    def references(self, *analyses: str) -> dict[str, Any]:
        """The company-wide figures of some analyses (of all when none is named), from the company's rows.

        Analyses whose tables are missing are left out.
        """
        found = {}
        for name, spec in references(*analyses).items():
            try:
                found[name] = spec.function(**self._arguments(spec))
            except NotAvailableError:
                continue
        return found


def reference_for(figures: Mapping[str, Any], members: int) -> dict[str, Any]:
    """The company-wide figures that a scope of ``members`` leaf teams may see: those to which at least
    three other teams contributed."""
    return {
        name: value
        for name, value in figures.items()
        if value.get("teams", 0) - members >= FEWEST_OTHER_TEAMS
    }


@dataclass(frozen=True)
class Choice:
    """The rows and days that a reader chose: leaf teams (None for the company), period, cut-off date."""

    members: tuple[str, ...] | None
    period: Period | None
    as_of: dt.date


def resolve_choice(rows: Rows, *, team: str, quarter: str, as_of: str) -> Choice:
    """A team, a quarter and a cut-off date as given, looked up in the company's rows.

    Raises :class:`InputError` with what is wrong with each of the three.
    """
    problems = Problems()
    members: tuple[str, ...] | None = None
    period: Period | None = None
    with problems.caught():
        members = team_tree(rows).members(team)
    with problems.caught():
        period = resolve_quarter(rows, quarter)
    with problems.caught():
        day = resolve_as_of(rows, as_of, period)
    problems.refuse()
    return Choice(members, period, day)


def check_dimensions(rows: Rows, spec: TableSpec, options: Mapping[str, Any]) -> None:
    """Look up the dimensions that a table is to be grouped by, without computing it.

    Raises :class:`InputError` with every one that the rows do not have; those that only the table has are
    the ones it is grouped by without being asked.
    """
    option = spec.options.get("by")
    if option is None or option.choices or "by" not in options:
        return
    own = str(option.default).split(",")
    asked = [name for name in str(options["by"]).split(",") if name.strip() not in own]
    taken = (*spec.tables, *spec.optional_tables)
    names = ("opportunities", "accounts", "reps", "teams")
    others = [rows.tables.get(name) if name in taken else None for name in names]
    parse_by(",".join(asked), tables_by_name(rows.table(STATES), *others))


def resolve_quarter(rows: Rows, quarter: str) -> Period | None:
    """The period of a quarter label; None for an empty one. Quarters without data are refused."""
    if not quarter:
        return None
    period = rows.settings.fiscal.quarter(quarter)
    known = [q.label for q in rows.quarters()]
    if quarter not in known:
        raise InputError(
            Problem(
                f"no data in quarter {quarter}",
                expected=f"{known[0]} to {known[-1]}" if known else None,
                next_step=did_you_mean(quarter, known),
            )
        )
    return period


def resolve_as_of(rows: Rows, as_of: str, period: Period | None) -> dt.date:
    """The cut-off date: as given, else the earlier of the quarter's end and the data's.

    A date beyond the data's end is the data's end: nothing is known later.
    """
    if not as_of:
        return min(period.last_day, rows.observed_until) if period else rows.observed_until
    try:
        day = parse_day(as_of)
    except ValueError:
        raise InputError(
            Problem("not a date", column="as_of", expected="a date such as 2026-07-31", got=as_of)
        ) from None
    if period and day < period.start:
        raise InputError(
            Problem(
                f"the cut-off lies before {period.label}",
                column="as_of",
                expected=f"{period.start} or later",
                got=as_of,
            )
        )
    return min(day, rows.observed_until)


def plain(value: Any) -> Any:
    """A value as JSON holds it: dates as ISO text, decimals as numbers, missing and infinite as None."""
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, bool | str | int):
        return value
    if isinstance(value, dt.date):
        return value.isoformat()
    if hasattr(value, "item"):
        return plain(value.item())
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else None
