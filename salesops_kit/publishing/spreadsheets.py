"""The tables of a report as .xlsx and .csv, with no text that a spreadsheet would run."""

from __future__ import annotations

import csv
import datetime as dt
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import xlsxwriter

from salesops_kit.language import _

Table = Mapping[str, Any]

_FORMULA = re.compile(r"[\s\u00a0\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠]|[\t\r\n]")
_SHEET_FORBIDDEN = re.compile(r"[\[\]:*?/\\\x00-\x1f]")
_PLAIN_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}(\.[a-z0-9_-]{1,30}){0,3}")
_LONGEST_SHEET_NAME = 31
_LONGEST_CELL = 32_767


def neutralised(text: str) -> str:
    """``text`` with a leading apostrophe when a spreadsheet might take it for a formula.

    >>> neutralised("=1+1"), neutralised("a=b")
    ("'=1+1", 'a=b')
    """
    return f"'{text}" if _FORMULA.match(text) else text


def _plain(value: Any) -> Any:
    """A number, a bool, None or harmless text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return neutralised(str(value))[:_LONGEST_CELL]


def _label(column: Mapping[str, Any]) -> str:
    label = str(column.get("label") or column.get("name") or "")
    unit = column.get("unit")
    return neutralised(f"{label} ({unit})" if unit else label)


def file_names(tables: Sequence[Table]) -> list[str]:
    """A distinct, safe .csv name for each table: its id when that is plain, else its number."""
    names: list[str] = []
    for number, table in enumerate(tables, start=1):
        name = str(table.get("id", ""))
        if not _PLAIN_ID.fullmatch(name) or name in names:
            name = f"table-{number}"
        names.append(name)
    return [f"{name}.csv" for name in names]


def to_csv(table: Table) -> bytes:
    """One table as UTF-8 CSV with a byte-order mark, so that a spreadsheet reads every script.

    A missing value is an empty field; numbers are written in full.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([_label(column) for column in table["columns"]])
    for row in table["rows"]:
        writer.writerow(["" if (value := _plain(cell)) is None else value for cell in row])
    return text.getvalue().encode("utf-8-sig")


def to_xlsx(
    tables: Sequence[Table],
    headlines: Sequence[Mapping[str, Any]],
    about: Sequence[tuple[str, str]],
    *,
    created: dt.datetime,
) -> bytes:
    """A workbook: the headlines, one sheet per table, and what the report is about.

    ``about`` are pairs of label and text. Numbers stay numbers; texts are never formulas or links.
    """
    target = io.BytesIO()
    options = {
        "in_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    book = xlsxwriter.Workbook(target, options)
    book.set_properties({"created": created.replace(tzinfo=None)})
    bold = book.add_format({"bold": True, "text_wrap": True, "valign": "top"})
    names: set[str] = set()
    labels = [_("Headline"), _("Value"), _("Unit"), _("Low"), _("High"), _("Target"), _("Before")]
    labels += [_("As of"), _("Scope"), _("Definition"), _("Reason")]
    fields = [
        "id",
        "value",
        "unit",
        "low",
        "high",
        "target",
        "prior",
        "as_of",
        "scope",
        "definition",
        "reason",
    ]
    rows = [[headline.get(field) for field in fields] for headline in headlines]
    _sheet(book, sheet_name(_("Headlines"), names), [neutralised(label) for label in labels], rows, bold)
    for table in tables:
        name = sheet_name(str(table.get("title") or table["id"]), names)
        _sheet(book, name, [_label(column) for column in table["columns"]], table["rows"], bold)
    notes: list[list[Any]] = [list(pair) for pair in about]
    for table in tables:
        notes += [[str(table.get("title") or table["id"]), note] for note in table.get("notes") or ()]
        if table.get("truncated"):
            notes.append([str(table.get("title") or table["id"]), _("Only the first rows are here.")])
    _sheet(book, sheet_name(_("About"), names), [_("Subject"), _("Text")], notes, bold)
    book.close()
    return target.getvalue()


def sheet_name(title: str, taken: set[str]) -> str:
    """A sheet name that Excel takes, added to those ``taken``: at most 31 characters, distinct without case.

    >>> taken = set()
    >>> sheet_name("Won/lost: EMEA", taken), sheet_name("won lost EMEA", taken)
    ('Won lost EMEA', 'won lost EMEA 2')
    """
    plain = " ".join(_SHEET_FORBIDDEN.sub(" ", title).split())
    base = plain.strip("'")[:_LONGEST_SHEET_NAME].strip(" '") or "Sheet"
    name, number = base, 1
    while name.casefold() in taken or name.casefold() == "history":
        number += 1
        tail = f" {number}"
        name = base[: _LONGEST_SHEET_NAME - len(tail)] + tail
    taken.add(name.casefold())
    return name


def _sheet(book: Any, name: str, labels: Sequence[str], rows: Sequence[Sequence[Any]], bold: Any) -> None:
    sheet = book.add_worksheet(name)
    sheet.freeze_panes(1, 0)
    for position, label in enumerate(labels):
        sheet.write_string(0, position, label, bold)
        sheet.set_column(position, position, min(60, max(12, len(label) + 2)))
    for line, row in enumerate(rows, start=1):
        for position, cell in enumerate(row):
            value = _plain(cell)
            if isinstance(value, bool):
                sheet.write_boolean(line, position, value)
            elif isinstance(value, int | float):
                sheet.write_number(line, position, value)
            elif value is not None:
                sheet.write_string(line, position, value)
