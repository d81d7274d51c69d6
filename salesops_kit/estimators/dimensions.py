"""Dimensions by name: from ``by="segment,rep"`` to engine columns, and back to labelled groups."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ibis.expr.types as ir
import pandas as pd

from salesops_kit.data.contracts import TABLES
from salesops_kit.data.engine import collect
from salesops_kit.errors import InputError, NotAvailableError, Problem, nearest, unknown
from salesops_kit.language import _
from salesops_kit.settings import Settings

ALIASES = {"rep": "owner_id", "owner": "owner_id"}
_PREFIXES = {"opportunity": "opportunities", "account": "accounts", "rep": "reps", "team": "teams"}
_KEYS = {"opportunities": "opportunity_id", "accounts": "account_id", "reps": "owner_id", "teams": "team"}
_DATES = {
    "close_quarter": "close_date",
    "close_month": "close_date",
    "created_quarter": "created_date",
    "created_month": "created_date",
}
_ROWS = "opportunity_states"
# Of these each deal, or each of its states, has its own.
_OF_ONE_DEAL = {"opportunity_id", "state_no", "opportunity.opportunity_id", "opportunity.name"}


@dataclass(frozen=True)
class Dimension:
    """One way of grouping: its name as asked for, where its column is, and how a value is labelled."""

    name: str
    table: str
    column: str
    column_in_rows: str
    calendar: str = ""


def tables_by_name(
    states: ir.Table,
    opportunities: ir.Table | None,
    accounts: ir.Table | None,
    reps: ir.Table | None,
    teams: ir.Table | None,
) -> Mapping[str, ir.Table | None]:
    """The tables in which dimensions are looked for, by their names."""
    others = {"opportunities": opportunities, "accounts": accounts, "reps": reps, "teams": teams}
    return {_ROWS: states, **others}


def parse_by(by: str, tables: Mapping[str, ir.Table | None]) -> tuple[Dimension, ...]:
    """The dimensions of a comma-separated list; ``tables`` holds opportunity_states and what else there is.

    A bare name is looked for in the states, the deals, their accounts, their owners, and the owners'
    teams, in this order; ``account.name`` names the table. ``rep`` and ``owner`` mean ``owner_id``;
    ``close_quarter``, ``close_month``, ``created_quarter`` and ``created_month`` are fiscal. Raises
    :class:`InputError` naming every unknown, empty or repeated dimension at once.
    """
    names = [name.strip() for name in by.split(",")] if by.strip() else []
    problems: list[Problem] = []
    found: list[Dimension] = []
    for position, name in enumerate(names):
        place = _locate(name, tables)
        if name in names[:position]:
            problems.append(Problem(f"dimension {name!r} is named twice", column="by"))
        elif place is None:
            offered, others = _choices(tables)
            # Most likely a name was mistyped, and then it may be any.
            known = [*offered, *others] if nearest(name, [*offered, *others]) else offered
            problems.append(unknown("dimension", name, known, column="by"))
        else:
            kind = name if name in _DATES else ""
            found.append(Dimension(name, *place, column_in_rows=f"dimension_{position}", calendar=kind))
    if problems:
        raise InputError(problems)
    return tuple(found)


def _locate(name: str, tables: Mapping[str, ir.Table | None]) -> tuple[str, str] | None:
    column = _DATES.get(name, ALIASES.get(name, name))
    prefix, dot, rest = name.partition(".")
    if dot and prefix in _PREFIXES:
        places: Sequence[str] = (_PREFIXES[prefix],)
        column = rest
    else:
        places = (_ROWS, *_KEYS)
    for place in places:
        table = tables.get(place)
        if table is not None and column in table.columns:
            return place, column
    return None


def _choices(tables: Mapping[str, ir.Table | None]) -> tuple[list[str], list[str]]:
    """The names that can be grouped by, those that people group by first, and apart from them the names
    of which each deal has its own."""
    present = {name: table for name, table in tables.items() if table is not None}
    usual = [alias for alias, column in ALIASES.items() if column in _columns(present)][:1]
    for name in _KEYS:
        if name in present:
            usual += [column for column in present[name].columns if _is_usual(name, column, present[name])]
    states = present[_ROWS].columns if _ROWS in present else ()
    usual += [column for column in ("team", "stage", "forecast_category") if column in states]
    dates = [name for name, column in _DATES.items() if column in _columns(present)]
    prefixed = [
        f"{prefix}.{column}"
        for prefix, name in _PREFIXES.items()
        if name in present
        for column in present[name].columns
    ]
    every = list(dict.fromkeys([*usual, *dates, *ALIASES, *_columns(present), *prefixed]))
    own = {*_OF_ONE_DEAL, *(["name"] if "name" in _columns(present, "opportunities") else [])}
    return [name for name in every if name not in own], [name for name in every if name in own]


def _columns(present: Mapping[str, ir.Table], *names: str) -> list[str]:
    return [
        column for name, table in present.items() if not names or name in names for column in table.columns
    ]


def _is_usual(name: str, column: str, table: ir.Table) -> bool:
    """Whether a column holds few values: a category, a product, or a text of the data's own."""
    known = TABLES[name].columns.get(column)
    if known is None:
        return bool(table[column].type().is_string()) and not column.endswith("_id")
    return known.type == "category" or column == "product_id"


def join_dimensions(
    rows: ir.Table,
    dimensions: Sequence[Dimension],
    tables: Mapping[str, ir.Table | None],
    opportunity_columns: Sequence[str] = (),
    *,
    only: Sequence[str] = (),
) -> ir.Table:
    """The rows with one ``dimension_<i>`` column per dimension, and the named columns of the deals.

    ``only`` names the columns of the rows that are needed besides (none: all): each column that a query
    carries along takes time to write, and nobody asked for it.

    Only the columns asked for are joined, and no join can multiply rows: raises :class:`InputError`
    when a joined table holds a key twice. Raises :class:`NotAvailableError` when a deal's column is
    asked for and the data has none.
    """
    wanted: dict[str, dict[str, str]] = {name: {} for name in _KEYS}
    for column in opportunity_columns:
        wanted["opportunities"][column] = column
    for dimension in dimensions:
        if dimension.table != _ROWS:
            wanted[dimension.table][dimension.column_in_rows] = dimension.column
    if wanted["accounts"]:
        wanted["opportunities"].setdefault("joined_account_id", "account_id")
    keys = {"accounts": "joined_account_id"}
    own = {d.column_in_rows: rows[d.column] for d in dimensions if d.table == _ROWS}
    if only:
        joined_by = [key for name, key in _KEYS.items() if wanted[name] and name not in keys]
        result = rows.select(*dict.fromkeys([*only, *joined_by]), **own)
    else:
        result = rows.mutate(**own) if own else rows
    for name, columns in wanted.items():
        if columns:
            result = _left_join(result, name, tables.get(name), columns, keys.get(name, _KEYS[name]))
    return result


def _left_join(
    rows: ir.Table, name: str, table: ir.Table | None, columns: Mapping[str, str], key: str
) -> ir.Table:
    lacking = (
        list(columns.values()) if table is None else [c for c in columns.values() if c not in table.columns]
    )
    if table is None or lacking:
        text = _("The data has no {columns} in {table}.")
        raise NotAvailableError(text.format(columns=", ".join(lacking), table=name))
    if repeated := _repeated_keys(table, _KEYS[name]):
        raise InputError(
            Problem("a key occurs twice or is missing", file=name, column=_KEYS[name], count=repeated)
        )
    kept = [column for column in rows.columns if column not in columns]
    right = table.select(
        joined_key=table[_KEYS[name]], **{f"joined_{new}": table[old] for new, old in columns.items()}
    )
    joined = rows.left_join(right, rows[key] == right.joined_key)
    return joined.select(
        **{column: joined[column] for column in kept}, **{new: joined[f"joined_{new}"] for new in columns}
    )


@functools.lru_cache(maxsize=64)
def _repeated_keys(table: ir.Table, key: str) -> int:
    """How many rows repeat a key or lack one. A table expression does not change within a process, and
    counting the distinct keys of two million deals takes longer than most analyses of them."""
    counts = collect(table.aggregate(rows=table.count(), keys=table[key].nunique())).iloc[0]
    return int(counts["rows"] - counts["keys"])


def label_groups(frame: pd.DataFrame, dimensions: Sequence[Dimension], settings: Settings) -> pd.DataFrame:
    """The frame with each dimension under its own name; dates become fiscal labels, nulls ``(none)``."""
    result = frame.copy()
    if not dimensions:
        return result
    for dimension in dimensions:
        values = result[dimension.column_in_rows]
        missing = values.isna()
        if dimension.calendar:
            known = values[~missing].unique()
            label = _labeller(dimension.calendar, settings)
            values = values.map({day: label(pd.Timestamp(day).date()) for day in known})
        result[dimension.column_in_rows] = values.astype(object).mask(missing, _("(none)"))
    return result.rename(columns={d.column_in_rows: d.name for d in dimensions})


def _labeller(calendar: str, settings: Settings) -> Callable[[dt.date], str]:
    fiscal = settings.fiscal
    if calendar.endswith("_month"):
        return lambda day: fiscal.month_of(day).label
    return lambda day: fiscal.quarter_of(day).label


def sort_groups(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Rows in the order of their group labels, whatever types the labels have."""
    if not names:
        return frame.reset_index(drop=True)
    return frame.sort_values(list(names), key=lambda column: column.map(_sort_key), ignore_index=True)


def _sort_key(value: object) -> tuple[int, float, str]:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return (0, float(value), "") if is_number else (1, 0.0, str(value))  # type: ignore[arg-type]
