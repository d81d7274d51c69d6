"""The fix list as a workbook: a sheet per owner, with a column for the new value."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import xlsxwriter
from python_calamine import CalamineWorkbook

from salesops_kit.errors import InputError, Problem, did_you_mean
from salesops_kit.language import _
from salesops_kit.publishing.spreadsheets import neutralised, sheet_name

# The headings are read back by name and are therefore the same in every language.
COLUMNS = ("table", "record_id", "name", "field", "problem", "value", "suggested", "new value", "amount")
NEEDED = ("table", "record_id", "field", "value", "new value")
WIDTHS = {"record_id": 20, "name": 36, "problem": 40, "value": 22, "suggested": 22, "new value": 24}
# What stands in place of a new value where no update file can bring one; the same in every language too.
BY_HAND = "by hand, not in this file"
MOST_ROWS = 1_000_000


class FixRow(NamedTuple):
    """One row that came back, as text, with its place."""

    sheet: str
    row: int
    table: str
    record_id: str
    field: str
    value: str
    new_value: str
    suggested: str = ""


def to_workbook(frame: pd.DataFrame, *, created: dt.datetime, about: Sequence[str] = ()) -> bytes:
    """A fix list (as ``quality.fix_list`` gives it) as .xlsx: first what to do, then a sheet per owner.

    No text of it is a formula or a link; ``new value`` is empty, or says so in grey where the column
    ``by_hand`` of the list is true.
    """
    target = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    book = xlsxwriter.Workbook(target, {**options, "strings_to_numbers": False})
    book.set_properties({"created": created.replace(tzinfo=None)})
    bold = book.add_format({"bold": True, "text_wrap": True, "valign": "top"})
    fill = book.add_format({"bg_color": "#FFF4CC", "num_format": "@", "border": 1})
    grey = book.add_format({"bg_color": "#E7E6E6", "font_color": "#595959", "italic": True, "border": 1})
    taken: set[str] = set()
    first = book.add_worksheet(sheet_name(_("What to do"), taken))
    first.set_column(0, 0, 100)
    steps = [
        _("Write the right value into the column “new value”. Rows that stay empty change nothing."),
        _("Dates as 2026-07-31, amounts as 1234.56 in the record's own currency, owners and accounts by id."),
        _("Grey rows are mended by hand, in the CRM or the export: what is written there is not applied."),
        _("Do not change the other columns: they say which record is meant."),
        _("Give the file to: salesops apply-fixes FILE --data DATA --format salesforce or hubspot."),
    ]
    for line, text in enumerate([*steps, *about]):
        first.write_string(line, 0, neutralised(text))
    owner = "rep_name" if "rep_name" in frame else "owner_id"
    names = frame[owner].astype(object).where(frame[owner].notna(), _("(no owner)"))
    for name in dict.fromkeys(names):
        _sheet(book, sheet_name(str(name), taken), frame[(names == name).to_numpy()], bold, fill, grey)
    book.close()
    return target.getvalue()


def _sheet(book: Any, name: str, rows: pd.DataFrame, bold: Any, fill: Any, grey: Any) -> None:
    sheet = book.add_worksheet(name)
    sheet.freeze_panes(1, 0)
    sheet.autofilter(0, 0, max(1, len(rows)), len(COLUMNS) - 1)
    for place, column in enumerate(COLUMNS):
        sheet.write_string(0, place, column, bold)
        sheet.set_column(place, place, WIDTHS.get(column, 14))
    for line, record in enumerate(rows.to_dict("records"), start=1):
        for place, column in enumerate(COLUMNS):
            if column == "new value":
                aside = record.get("by_hand", False)
                sheet.write_string(line, place, BY_HAND if aside else "", grey if aside else fill)
                continue
            value = record.get(column)
            if value is None or value != value:
                continue
            if isinstance(value, float):
                sheet.write_number(line, place, value)
            else:
                sheet.write_string(line, place, neutralised(str(value)))


def read_workbook(path: Path) -> list[FixRow]:
    """Every row of a returned fix list that has a new value; what the list itself wrote there is none.

    A sheet whose first row does not name the columns is passed over, unless no sheet does. Raises
    :class:`InputError` for a file that is no workbook or holds no fix list.
    """
    try:
        book = CalamineWorkbook.from_path(str(path))
        sheets = [
            (name, book.get_sheet_by_name(name).to_python(nrows=MOST_ROWS)) for name in book.sheet_names
        ]
    except InputError:
        raise
    except Exception as error:
        what = f"cannot be read as a workbook: {error}"
        raise InputError(Problem(what, file=path.name, next_step="Give the .xlsx that came back.")) from None
    found: list[FixRow] = []
    heads: list[str] = []
    is_list = False
    for name, rows in sheets:
        head = [_text(cell).strip().casefold() for cell in rows[0]] if rows else []
        heads += head
        if set(NEEDED) <= set(head):
            is_list = True
            found += _rows(name, head, rows[1:])
    if not is_list:
        missing = [column for column in NEEDED if column not in heads]
        near = did_you_mean(missing[0], heads) if missing and heads else None
        what = f"no sheet has the columns {', '.join(NEEDED)}"
        raise InputError(Problem(what, file=path.name, row=1, next_step=near))
    return found


def _rows(sheet: str, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[FixRow]:
    for line, cells in enumerate(rows, start=2):
        values = {name: _text(cell) for name, cell in zip(head, cells, strict=False)}
        new = values.get("new value", "").strip()
        if new and new.casefold() != BY_HAND:
            table, record_id, name, value = (_plain(values.get(column, "")) for column in NEEDED[:4])
            yield FixRow(sheet, line, table, record_id, name, value, new, _plain(values.get("suggested", "")))


def _text(cell: Any) -> str:
    """A cell as text: whole numbers without a point, dates as ISO."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, dt.datetime):
        return cell.date().isoformat() if cell.time() == dt.time() else cell.isoformat()
    return cell.isoformat() if isinstance(cell, dt.date) else str(cell)


def _plain(text: str) -> str:
    """A text without the apostrophe that kept it from being a formula."""
    return text[1:] if text.startswith("'") and neutralised(text[1:]) == text else text
