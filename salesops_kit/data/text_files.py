"""CSV files in: their bytes checked, then read in place where every record is whole."""

from __future__ import annotations

import codecs
import csv
import os
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import duckdb

from salesops_kit.data.engine import count, sql_name, sql_text
from salesops_kit.data.file_format import FileFormat
from salesops_kit.data.records import MAX_FIELD, Records, apart_from_lineage, long_fields, repair
from salesops_kit.errors import InputError, Problem

CHUNK_BYTES = 1 << 22
TAIL_BYTES = 1 << 16
ENCODINGS = "utf-8, gb18030, big5, cp949, utf-16, cp1252, latin-1, shift_jis"
_IN_PLACE = ("utf-8", "utf-8-sig", "ascii")
_BLANK_RECORD = (b"\n\n", b"\n\r\n")
# UTF-8 that was read as a one-byte encoding: a lead byte's letter, then a continuation byte's sign.
_MOJIBAKE_MARKS = "ÂÃâï"
_MOJIBAKE = "[ÂÃ][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹Œ‘’“”•–—˜™š›œ]|â€|ï»¿"


@dataclass
class _Scan:
    """What one pass over a file's bytes found. ``lines`` is their number where no field is quoted, so that
    each is a record; None where a quoted field may hold line ends."""

    readable: Path
    lines: int | None = None
    regular: bool = True
    mojibake: bool = False


def read_text_file(con: duckdb.DuckDBPyConnection, path: Path, fmt: FileFormat, *, scratch: Path) -> Records:
    """Check a CSV file's bytes and shape and make its records readable.

    Raises :class:`~salesops_kit.errors.InputError` for what makes the whole file doubtful: another
    encoding, lost characters, a compressed or empty file, a wrong header, an open quote, a last row
    that is cut short, rows that all have a field too many. A record that is broken by itself is set aside.
    """
    problems = list(_first_bytes(path, fmt))
    if problems:
        raise InputError(problems)
    scan = _scan(path, fmt, scratch)
    header = _header(scan.readable, path.name, fmt)
    is_plain = scan.regular and not _has_footer(scan.readable, fmt)
    records = _in_place(con, scan.readable, header, fmt) if is_plain else None
    has_blank_line = records is not None and scan.lines is not None and records.rows + 1 != scan.lines
    if records is None or has_blank_line:
        records = repair(path.name, scan.readable, header, fmt, scratch)
    if scan.mojibake:
        flagged = tuple(_mojibake(con, path.name, records, fmt))
        flagged = (*records.flagged, *flagged)
        records = Records(records.columns, records.relation, records.rows, records.broken, flagged)
    return records


def _first_bytes(path: Path, fmt: FileFormat) -> Iterator[Problem]:
    name = path.name
    with path.open("rb") as file:
        head = file.read(8)
    try:
        declared = codecs.lookup(fmt.encoding).name
        b"".decode(declared)
    except LookupError:
        yield Problem(f"unknown encoding {fmt.encoding!r}", file=name, next_step=f"Known: {ENCODINGS}.")
        return
    if not head:
        yield Problem("the file is empty", file=name, row=1, expected="a header row")
    elif head[:2] == b"\x1f\x8b":
        yield Problem("the file is compressed (gzip)", file=name, next_step="Unpack it first.")
    elif head[:4] == b"PK\x03\x04" or head == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
        yield Problem(
            "the file is a zip or an Excel workbook", file=name, next_step="Save it as CSV (UTF-8) first."
        )
    elif not declared.startswith("utf-16") and (
        head[:2] in (b"\xff\xfe", b"\xfe\xff") or head[1:4:2] == b"\0\0" or head[:3:2] == b"\0\0"
    ):
        yield Problem(
            "the file is UTF-16",
            file=name,
            expected=declared,
            next_step="Save it as UTF-8, or declare `encoding: utf-16` for it in the mapping.",
        )
    elif head.startswith(codecs.BOM_UTF8) and declared not in _IN_PLACE:
        yield Problem(
            "the file is UTF-8, as its first three bytes say", file=name, expected=declared,
            next_step="Declare `encoding: utf-8` for it in the mapping.",
        )  # fmt: skip


def _scan(path: Path, fmt: FileFormat, scratch: Path) -> _Scan:
    """Decode the whole file strictly. UTF-8 is checked in place; the rest is transcoded into ``scratch``."""
    declared = codecs.lookup(fmt.encoding).name
    decoder = codecs.getincrementaldecoder("utf-8" if declared in _IN_PLACE else declared)("strict")
    scan = _Scan(path)
    out: TextIO | None = None
    if declared not in _IN_PLACE:
        handle, made = tempfile.mkstemp(dir=scratch, suffix=".csv")
        scan.readable = Path(made)
        out = os.fdopen(handle, "w", encoding="utf-8", newline="")
    newlines = returns = quotes = 0
    nul = False
    tail = ""
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                text = decoder.decode(chunk)
                is_plain = text.isascii()
                if not is_plain and "\ufffd" in text:
                    raise InputError(_lost_text(path, fmt))
                if out:
                    out.write(text.removeprefix("\ufeff") if file.tell() == len(chunk) else text)
                newlines += text.count("\n")
                returns += text.count("\r")
                quotes += text.count('"')
                nul = nul or "\x00" in text
                if not is_plain:
                    scan.mojibake = scan.mojibake or any(mark in text for mark in _MOJIBAKE_MARKS)
                tail = text[-1:] or tail
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise InputError(_wrong_encoding(path, fmt, declared)) from None
    finally:
        if out:
            out.close()
    mixed_line_ends = 0 < returns != newlines
    scan.regular = not (nul or mixed_line_ends or quotes % 2)
    if not quotes:
        scan.lines = newlines + (tail != "\n")
    elif scan.regular:
        scan.regular = not _has_blank_record(scan.readable)
    return scan


def _has_blank_record(path: Path) -> bool:
    """Whether two line ends follow each other, in a field or between records."""
    tail = b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            edge = tail + chunk[:2]
            if any(mark in chunk or mark in edge for mark in _BLANK_RECORD):
                return True
            tail = chunk[-2:]
    return False


def _has_footer(path: Path, fmt: FileFormat) -> bool:
    """Whether a line near the end of the file begins as those below a report's rows do."""
    if not fmt.footer_lines:
        return False
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    starts = tuple(line.casefold() for line in fmt.footer_lines)
    return any(line.lstrip(f'{fmt.delimiter}" ').casefold().startswith(starts) for line in lines)


def _wrong_encoding(path: Path, fmt: FileFormat, declared: str) -> Problem:
    row, column, got = _first_lost(path, fmt)
    return Problem(
        f"the bytes are not {declared}",
        file=path.name,
        row=row,
        column=column,
        got=got,
        next_step=f"Declare the file's `encoding` in the mapping (for example {ENCODINGS}).",
    )


def _lost_text(path: Path, fmt: FileFormat) -> Problem:
    row, column, got = _first_lost(path, fmt)
    return Problem(
        "a replacement character (U+FFFD) shows that text was lost before this export",
        file=path.name,
        row=row,
        column=column,
        got=got,
        next_step="Export again with the right encoding.",
    )


def _first_lost(path: Path, fmt: FileFormat) -> tuple[int | None, str | None, str | None]:
    """Row, column and text of the first field that cannot be decoded, as far as records can be told apart."""
    with long_fields(), path.open(encoding=fmt.encoding, errors="replace", newline="") as file:
        header: list[str] = []
        try:
            for number, record in enumerate(csv.reader(file, delimiter=fmt.delimiter), 1):
                header = header or [name.strip().removeprefix("\ufeff") for name in record]
                for place, field in enumerate(record):
                    if "\ufffd" in field:
                        return number, header[place] if place < len(header) else None, field[:80]
        except csv.Error:
            pass
    return None, None, None


def _header(path: Path, name: str, fmt: FileFormat) -> tuple[str, ...]:
    with long_fields(), path.open(encoding="utf-8-sig", newline="") as file:
        try:
            names = next(csv.reader(file, delimiter=fmt.delimiter), [])
        except csv.Error as error:
            raise InputError(Problem(f"the header cannot be read: {error}", file=name, row=1)) from None
    return named_once([column.strip() for column in names], name, 1)


def named_once(names: list[str], name: str, row: int) -> tuple[str, ...]:
    """The column names of a file's header row; raises those that are missing or given twice."""
    if not any(names):
        raise InputError(Problem("the first row holds no column names", file=name, row=row))
    # Names that differ only by case are one name to every engine.
    times = Counter(column.casefold() for column in names if column)
    problems = [
        Problem(
            f"the header names {column!r} {times[column.casefold()]} times",
            file=name,
            row=row,
            column=column,
            expected="every name once, whatever its case",
        )
        for column in {column.casefold(): column for column in names if column}.values()
        if times[column.casefold()] > 1
    ]
    problems += [
        Problem(
            f"column {number} has no name",
            file=name,
            row=row,
            next_step="If the data start in this row, put a header above it.",
        )
        for number, column in enumerate(names, 1)
        if not column
    ]
    if problems:
        raise InputError(problems)
    return tuple(names)


def _in_place(
    con: duckdb.DuckDBPyConnection, path: Path, header: tuple[str, ...], fmt: FileFormat
) -> Records | None:
    """The records read from the file itself; None when some record is broken."""
    held, columns = apart_from_lineage(header)
    types = ", ".join(f"{sql_text(name)}: 'VARCHAR'" for name in held)
    options = (
        f"header = true, auto_detect = false, delim = {sql_text(fmt.delimiter)}, columns = {{{types}}}, "
        f"quote = '\"', escape = '\"', nullstr = '', max_line_size = {MAX_FIELD}, strict_mode = true, "
        "compression = 'none'"
    )
    file = sql_text(str(path))
    token = uuid.uuid4().hex
    rejects, scans = f"rejects_{token}", f"scans_{token}"
    try:
        # The rejects are there once the result has been taken whole.
        ((rows,),) = con.execute(
            f"SELECT count(*) FROM read_csv({file}, {options}, store_rejects = true, "
            f"rejects_table = '{rejects}', rejects_scan = '{scans}', rejects_limit = 1)"
        ).fetchall()
        wrong = count(con, f"SELECT count(*) FROM {rejects}")
    except duckdb.InvalidInputException:
        return None
    finally:
        con.execute(f"DROP TABLE IF EXISTS {rejects}")
        con.execute(f"DROP TABLE IF EXISTS {scans}")
    if wrong:
        return None
    names = ", ".join(map(sql_name, columns))
    relation = f"(SELECT {names}, row_number() OVER () + 1 AS source_row FROM read_csv({file}, {options}))"
    return Records(columns, relation, rows)


def _mojibake(
    con: duckdb.DuckDBPyConnection, name: str, records: Records, fmt: FileFormat
) -> Iterator[Problem]:
    """Per column, the fields that look like UTF-8 read as a one-byte encoding, here or before this export."""
    what, expected = (
        "text that looks decoded with the wrong encoding before this export",
        "text as it was entered",
    )
    if codecs.lookup(fmt.encoding).name not in _IN_PLACE:
        what = (
            f"text that looks like UTF-8 read as {fmt.encoding}: the mapping's `encoding` is wrong, or the "
            "text was so decoded before this export"
        )
        expected = f"{expected}, perhaps with `encoding: utf-8`"
    for column in records.columns:
        field = sql_name(column)
        found = con.execute(
            f"SELECT count(*), min(source_row), min_by({field}, source_row) FROM {records.relation} "
            f"WHERE regexp_matches({field}, {sql_text(_MOJIBAKE)})"
        ).fetchone()
        if found and found[0]:
            yield Problem(
                f"{what}, in {found[0]:,} rows",
                file=name,
                row=found[1],
                column=column,
                expected=expected,
                got=found[2][:80],
            )
