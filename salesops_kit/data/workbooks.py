"""Tables inside one file: the sheets of an Excel workbook and the tables of a DuckDB file, as Parquet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from salesops_kit.data.contracts import LINEAGE
from salesops_kit.data.databases import new_file
from salesops_kit.data.engine import count, sql_name, sql_text
from salesops_kit.data.file_format import FileFormat
from salesops_kit.data.records import Records, ends, may_end
from salesops_kit.data.text_files import named_once
from salesops_kit.errors import InputError, Problem

if TYPE_CHECKING:
    from python_calamine import CalamineWorkbook

EXCEL = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
DATABASES = (".duckdb", ".ddb")
# A report puts its title and filters above its column names.
_ABOVE = 50
_LARGEST_EXACT = 2**53


@dataclass(frozen=True)
class Sheet:
    """One sheet's rows as text under their column names, with the columns that had types of their own."""

    records: Records
    native: frozenset[str]


def tables_in(path: Path) -> list[str]:
    """The names of the visible sheets that hold something, or of the database's tables."""
    if path.suffix.lower() in DATABASES:
        with _database(path) as con:
            rows = con.execute(
                "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY 1"
            ).fetchall()
        return [name for (name,) in rows]
    from python_calamine import SheetVisibleEnum

    book = _book(path)
    visible = [one.name for one in book.sheets_metadata if one.visible == SheetVisibleEnum.Visible]
    return [name for name in visible if book.get_sheet_by_name(name).total_height]


def copy_table(path: Path, table: str, scratch: Path) -> Path:
    """A database's table as a Parquet file in ``scratch``, its rows in order."""
    target = new_file(scratch)
    with _database(path) as con:
        count(con, f"COPY (SELECT * FROM {sql_name(table)}) TO {sql_text(str(target))} (FORMAT parquet)")
    return target


def read_sheet(path: Path, sheet: str, name: str, fmt: FileFormat, scratch: Path) -> Sheet:
    """One sheet's rows, numbered as the sheet does.

    The column names are the first row that is as wide as the table; what a report puts above it, and
    below the rows as ``footer_lines`` say, is left out and flagged. A date is written as ISO, a whole
    number without a point. A column without a name and without a value is none.
    """
    rows = _book(path).get_sheet_by_name(sheet).to_python(skip_empty_area=False)
    head = _header_row(rows)
    if head is None:
        raise InputError(Problem("the sheet is empty", file=name, row=1, expected="a header row"))
    flagged = []
    above = [row for row in rows[:head] if any(cell != "" for cell in row)]
    if above:
        got = " ".join(_text(cell) for cell in above[0] if cell != "")
        what = "lines above the column names are left out"
        flagged.append(Problem(what, file=name, row=1, got=got[:80], count=len(above)))
    numbered = [
        (number, row)
        for number, row in enumerate(rows[head + 1 :], head + 2)
        if any(cell != "" for cell in row)
    ]
    width = sum(cell != "" for cell in rows[head])
    below = _footer(
        [[_text(cell) for cell in row if cell != ""] for _, row in numbered], width, fmt.footer_lines
    )
    if below:
        got = " ".join(_text(cell) for cell in numbered[-below][1] if cell != "")
        what = "lines that the report puts below its rows are left out"
        flagged.append(Problem(what, file=name, row=numbered[-below][0], got=got[:80], count=below))
        numbered = numbered[:-below]
    filled = [
        place
        for place in range(max(map(len, rows)))
        if any(place < len(row) and row[place] != "" for row in (rows[head], *(row for _, row in numbered)))
    ]
    names = [_text(rows[head][place]) if place < len(rows[head]) else "" for place in filled]
    header = named_once(names, name, head + 1)
    kept = [
        (number, [row[place] if place < len(row) else "" for place in filled]) for number, row in numbered
    ]
    return _sheet(header, kept, tuple(flagged), scratch)


def _sheet(
    header: Sequence[str], kept: Sequence[tuple[int, list[Any]]], flagged: tuple[Problem, ...], scratch: Path
) -> Sheet:
    arrays, columns, native = [], [], set()
    for place, column in enumerate(header):
        if column.casefold() in LINEAGE:
            continue
        cells = [row[place] for _, row in kept]
        columns.append(column)
        arrays.append(pa.array([_text(cell) if cell != "" else None for cell in cells], pa.string()))
        # Where text stands beside numbers and dates, the file's own way of writing holds.
        if not any(isinstance(cell, str) and cell != "" for cell in cells) and any(
            cell != "" for cell in cells
        ):
            native.add(column)
    arrays.append(pa.array([number for number, _ in kept], pa.int64()))
    target = new_file(scratch)
    pq.write_table(pa.table(arrays, names=[*columns, "source_row"]), target, compression="lz4")
    relation = f"read_parquet({sql_text(str(target))})"
    return Sheet(Records(tuple(columns), relation, len(kept), flagged=flagged), frozenset(native))


def _header_row(rows: Sequence[Sequence[Any]]) -> int | None:
    """The first row with as many texts as the widest of the first rows has values, or nearly."""
    widths = [sum(cell != "" for cell in row) for row in rows[:_ABOVE]]
    if not widths or not max(widths):
        return None
    for place, row in enumerate(rows[:_ABOVE]):
        if widths[place] * 10 >= max(widths) * 8 and all(isinstance(cell, str) for cell in row):
            return place
    return next(place for place, width in enumerate(widths) if width)


def _footer(rows: Sequence[Sequence[str]], width: int, footer_lines: Sequence[str]) -> int:
    """How many of the last rows, of which the empty cells are left out, stand below the table."""
    below = 0
    for number, row in enumerate(reversed(rows), 1):
        if not may_end(row, width, footer_lines):
            break
        if ends(row, width, footer_lines):
            below = number
    return below


def _text(cell: Any) -> str:
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < _LARGEST_EXACT else repr(cell)
    if isinstance(cell, dt.datetime):
        return cell.isoformat(sep=" ") if cell.time() != dt.time() else cell.date().isoformat()
    return str(cell).strip() if isinstance(cell, str) else str(cell)


def _book(path: Path) -> CalamineWorkbook:
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        return CalamineWorkbook.from_path(path)
    except (CalamineError, OSError) as error:
        problem = Problem(
            f"not a readable workbook: {error}", file=path.name, expected="an Excel or OpenDocument workbook",
            next_step="Save it as xlsx or CSV.",
        )  # fmt: skip
        raise InputError(problem) from None


def _database(path: Path) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(path, read_only=True)
    except duckdb.Error as error:
        raise InputError(Problem(f"not a readable DuckDB file: {error}", file=path.name)) from None
