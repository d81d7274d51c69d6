"""Returned fixes checked against the data and turned into rows of an update: all problems at once."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

import ibis
import pandas as pd

from salesops_kit.data import engine
from salesops_kit.data.contracts import EARLIEST_DATE, LATEST_DATE, TABLES
from salesops_kit.data.dataset import Rows
from salesops_kit.data.stages import OPEN
from salesops_kit.errors import InputError, Problem, did_you_mean, unknown
from salesops_kit.fixes.by_hand import Ids, by_hand
from salesops_kit.fixes.crm import CrmTable
from salesops_kit.fixes.sheets import FixRow
from salesops_kit.publishing.spreadsheets import neutralised

NUMBERS = ("money", "number", "rate", "int")
_CURRENCY = re.compile(r"[A-Z]{3}")
_TRUE, _FALSE = ("true", "yes"), ("false", "no")


@dataclass(frozen=True)
class Updates:
    """What an update file holds: per table and record the new values by the kit's field names, how many
    rows were left out since they change nothing, and which were since they are mended by hand."""

    values: Mapping[str, Mapping[str, Mapping[str, str]]]
    unchanged: int = 0
    notes: tuple[Problem, ...] = ()

    @property
    def records(self) -> int:
        """How many records are updated."""
        return sum(len(records) for records in self.values.values())


@dataclass
class _Checking:
    file: str
    rows: Rows
    tables: Mapping[str, CrmTable]
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    _choices: dict[str, list[str]] = field(default_factory=dict)

    def problem(self, row: FixRow, what: str, *, column: str = "new value", **more: str | None) -> None:
        place = f"{self.file}, sheet {row.sheet}"
        self.problems.append(Problem(what, file=place, row=row.row, column=column, **more))  # type: ignore[arg-type]

    def note(self, row: FixRow, why: str, how: str) -> None:
        place = f"{self.file}, sheet {row.sheet}"
        what = f"left out, as {why}"
        told = Problem(what, file=place, row=row.row, column="new value", got=row.new_value, next_step=how)
        self.notes.append(told)

    def choices(self, row: FixRow) -> list[str] | None:
        """The values that a field may take; None where any will do."""
        key = f"{row.table}.{row.field}"
        if key not in self._choices:
            found = self._allowed(row)
            if found is None:
                return None
            self._choices[key] = found
        return self._choices[key]

    def _allowed(self, row: FixRow) -> list[str] | None:
        contract = TABLES[row.table]
        if row.field in contract.choices:
            return list(contract.choices[row.field])
        if row.table == "opportunities" and row.field == "stage" and "stages" in self.rows.tables:
            return _stages(self.rows)
        parent = contract.references.get(row.field)
        if parent and parent in self.rows.tables:
            return _values(self.rows.table(parent).select(row.field).distinct())
        return None


def _values(table: ibis.Table) -> list[str]:
    return sorted(str(value) for value in engine.collect(table).iloc[:, 0].dropna())


def _stages(data: Rows) -> list[str]:
    """The stages of the stage list, without those that only occur in the deals; these where there is no list.

    A stage that the import had to add has a name and nothing else.
    """
    declared = {stage.stage for stage in data.settings.stages}
    if not declared:
        stages = data.table("stages")
        more = [name for name in ("default_probability", "forecast_category") if name in stages.columns]
        frame: pd.DataFrame = engine.collect(stages.select("stage", *more))
        known = frame.loc[frame[more].notna().any(axis=1), "stage"]
        declared = set(known if len(known) else frame["stage"]) - {OPEN}
    return sorted(declared)


def checked_updates(
    rows: Sequence[FixRow], data: Rows, tables: Mapping[str, CrmTable], *, file: str
) -> Updates:
    """The updates of the returned rows; raises :class:`InputError` with everything that is wrong.

    A record must be in the data, a field known to the CRM, a value of its field's type, and of two rows
    about one field of one record both must say the same. Rows that say what the record holds already are
    left out and counted; rows that no update can mend are left out too, each with a note that says why.
    """
    checking = _Checking(file, data, tables)
    hand = by_hand(rows, data, {name: table.fields for name, table in tables.items()})
    chosen: dict[tuple[str, str, str], tuple[str, FixRow]] = {}
    unchanged = 0
    for row in rows:
        if reason := hand.why(row):
            checking.note(row, *reason)
            continue
        value = _checked(row, checking, hand.known)
        if value is None:
            continue
        if value == _normal(row.value, _type(row)):
            unchanged += 1
            continue
        key = (row.table, row.record_id, row.field)
        first, told = chosen.setdefault(key, (value, row))
        if first != value:
            checking.problem(
                row,
                f"another row gives {row.field} of {row.record_id} another value",
                expected=f"{first}, as in sheet {told.sheet}, row {told.row}",
                got=row.new_value,
            )
    if checking.problems:
        raise InputError([*checking.problems, *checking.notes])
    made: dict[str, dict[str, dict[str, str]]] = {}
    for (table, record, name), (new, _row) in chosen.items():
        recoded = tables[table].recode.get(name, {}).get(new, new)
        made.setdefault(table, {}).setdefault(record, {})[name] = recoded
    return Updates(made, unchanged, tuple(checking.notes))


def _type(row: FixRow) -> str:
    return TABLES[row.table].columns[row.field].type


def _checked(row: FixRow, checking: _Checking, known: Ids) -> str | None:
    """The new value of a row as the CRM reads it; None where something is wrong with the row."""
    before = len(checking.problems)
    if row.table not in checking.tables:
        near = did_you_mean(row.table, list(checking.tables))
        checking.problem(row, f"records of {row.table!r} cannot be updated", column="table", next_step=near)
        return None
    crm = checking.tables[row.table]
    if row.field not in crm.fields or row.field not in TABLES[row.table].columns:
        other = did_you_mean(row.field, list(crm.fields))
        checking.problem(row, f"{crm.object} has no field for {row.field!r}", column="field", next_step=other)
        return None
    if row.record_id not in known.get(row.table, ()):
        what = f"the data has no such record in {row.table}"
        checking.problem(row, what, column="record_id", got=row.record_id)
    if neutralised(row.new_value) != row.new_value and _type(row) not in NUMBERS:
        checking.problem(row, "a spreadsheet would run this as a formula", got=row.new_value)
        return None
    value = _normal(row.new_value, _type(row))
    if value is None or (row.field == "currency" and not _CURRENCY.fullmatch(value)):
        checking.problem(
            row,
            f"{row.field} cannot have this value",
            expected=_expected(_type(row), row.field),
            got=row.new_value,
        )
        return None
    choices = checking.choices(row)
    # What the record holds already changes nothing, and is no reason to refuse the file.
    held = value == _normal(row.value, _type(row))
    if choices is not None and value not in choices and not held:
        checking.problems.append(
            unknown(
                row.field,
                value,
                choices,
                file=f"{checking.file}, sheet {row.sheet}",
                row=row.row,
                column="new value",
            )
        )
    return value if len(checking.problems) == before else None


def _expected(kind: str, name: str) -> str:
    if name == "currency":
        return "a three-letter currency code such as USD"
    return {
        "date": f"a date such as 2026-07-31, from {EARLIEST_DATE} to {LATEST_DATE}",
        "int": "a whole number",
        "rate": "a number from 0 to 1",
        "bool": "true or false",
    }.get(kind, "an amount such as 1234.56")


def _normal(text: str, kind: str) -> str | None:
    """A value in one spelling, or None where its field cannot have it.

    >>> _normal("1500.50", "money"), _normal("2026-02-30", "date"), _normal("Yes", "bool")
    ('1500.5', None, 'true')
    """
    text = text.strip()
    if kind in NUMBERS:
        try:
            number = Decimal(text)
        except InvalidOperation:
            return None
        fits = number.is_finite() and (kind != "int" or number == number.to_integral_value())
        if not fits or (kind == "rate" and not 0 <= number <= 1):
            return None
        return f"{number.normalize():f}" if number else "0"
    if kind in ("date", "instant"):
        try:
            day = dt.date.fromisoformat(text[:10])
        except ValueError:
            return None
        return day.isoformat() if EARLIEST_DATE <= day.isoformat() <= LATEST_DATE else None
    if kind == "bool":
        word = text.casefold()
        return "true" if word in _TRUE else "false" if word in _FALSE else None
    return text
