"""CSV files in: bytes checked, then every record as text with the row number that a spreadsheet shows."""

from __future__ import annotations

import codecs
import csv
import os
import re
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from salesops_kit.data.contracts import LINEAGE
from salesops_kit.data.engine import count, parquet, sql_name, sql_text
from salesops_kit.data.file_format import FileFormat
from salesops_kit.errors import InputError, Problem

CHUNK_BYTES = 1 << 22
MAX_FIELD = 1 << 24
BATCH_ROWS = 50_000
ENCODINGS = "utf-8, gb18030, big5, cp949, utf-16, cp1252, latin-1, shift_jis"
_IN_PLACE = ("utf-8", "utf-8-sig", "ascii")
_BLANK_RECORD = ("\n\n", "\n\r\n")
# UTF-8 that was read as a one-byte encoding: a lead byte's letter, then a continuation byte's sign.
_MOJIBAKE_MARKS = "ÂÃâï"
_MOJIBAKE = "[ÂÃ][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹Œ‘’“”•–—˜™š›œ]|â€|ï»¿"


@dataclass(frozen=True)
class Records:
    """A text file's records.

    ``relation`` is a DuckDB relation expression whose columns are all text, in file order, plus
    ``source_row`` (the header is row 1). ``broken`` are the records that were set aside, ``flagged``
    what is kept and to be said.
    """

    columns: tuple[str, ...]
    relation: str
    rows: int
    broken: tuple[Problem, ...] = ()
    flagged: tuple[Problem, ...] = ()


@dataclass
class _Scan:
    """What one pass over a file's bytes found."""

    readable: Path
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
    records = _in_place(con, scan.readable, header, fmt) if scan.regular else None
    if records is None:
        records = _Repair(path.name, scan.readable, header, fmt).run(scratch)
    if scan.mojibake:
        flagged = tuple(_mojibake(con, path.name, records))
        records = Records(records.columns, records.relation, records.rows, records.broken, flagged)
    return records


def _first_bytes(path: Path, fmt: FileFormat) -> Iterator[Problem]:
    name = path.name
    with path.open("rb") as file:
        head = file.read(8)
    try:
        declared = codecs.lookup(fmt.encoding).name
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
    nul = blank = False
    tail = ""
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                text = decoder.decode(chunk)
                if "\ufffd" in text:
                    raise InputError(_lost_text(path, fmt))
                if out:
                    out.write(text.removeprefix("\ufeff") if file.tell() == len(chunk) else text)
                newlines += text.count("\n")
                returns += text.count("\r")
                quotes += text.count('"')
                nul = nul or "\x00" in text
                edge = tail + text[:2]
                blank = blank or any(mark in text or mark in edge for mark in _BLANK_RECORD)
                scan.mojibake = scan.mojibake or any(mark in text for mark in _MOJIBAKE_MARKS)
                tail = text[-2:]
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise InputError(_wrong_encoding(path, fmt, declared)) from None
    finally:
        if out:
            out.close()
    mixed_line_ends = 0 < returns != newlines
    scan.regular = not (nul or blank or mixed_line_ends or quotes % 2)
    return scan


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
    with _long_fields(), path.open(encoding=fmt.encoding, errors="replace", newline="") as file:
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


@contextmanager
def _long_fields() -> Iterator[None]:
    before = csv.field_size_limit(MAX_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _header(path: Path, name: str, fmt: FileFormat) -> tuple[str, ...]:
    with _long_fields(), path.open(encoding="utf-8-sig", newline="") as file:
        try:
            names = next(csv.reader(file, delimiter=fmt.delimiter), [])
        except csv.Error as error:
            raise InputError(Problem(f"the header cannot be read: {error}", file=name, row=1)) from None
    names = [column.strip() for column in names]
    if not any(names):
        raise InputError(Problem("the first row holds no column names", file=name, row=1))
    # Names that differ only by case are one name to every engine.
    times = Counter(column.casefold() for column in names if column)
    problems = [
        Problem(
            f"the header names {column!r} {times[column.casefold()]} times",
            file=name,
            row=1,
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
            row=1,
            next_step="If the data start in this row, put a header above it.",
        )
        for number, column in enumerate(names, 1)
        if not column
    ]
    if problems:
        raise InputError(problems)
    return tuple(names)


def _apart(header: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The file's columns under names that leave room for ours, and those that count as data."""
    held = [f"{name} (file)" if name.casefold() in LINEAGE else name for name in header]
    return held, tuple(name for name in header if name.casefold() not in LINEAGE)


def _in_place(
    con: duckdb.DuckDBPyConnection, path: Path, header: tuple[str, ...], fmt: FileFormat
) -> Records | None:
    """The records read from the file itself; None when some record is broken."""
    held, columns = _apart(header)
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


class _Lines:
    """A file's lines that remembers the first line of the record being read."""

    def __init__(self, file: TextIO) -> None:
        self._file = iter(file)
        self.first: str | None = None
        self.read = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.read += 1
        if self.first is None:
            self.first = line
        return line


class _Repair:
    """One slow pass over a file that has blank, broken or oddly ended records.

    Its good records are set down as Parquet with the number that each has in the file; the broken
    ones are listed.
    """

    def __init__(self, name: str, path: Path, header: tuple[str, ...], fmt: FileFormat) -> None:
        self.name, self.path, self.header, self.fmt = name, path, header, fmt
        self.broken: list[Problem] = []
        self.shapes: Counter[str] = Counter()

    def run(self, scratch: Path) -> Records:
        held, columns = _apart(self.header)
        schema = pa.schema([*((name, pa.string()) for name in held), ("source_row", pa.int64())])
        handle, made = tempfile.mkstemp(dir=scratch, suffix=".parquet")
        os.close(handle)
        rows = 0
        with pq.ParquetWriter(made, schema, compression="lz4") as writer:
            batch: list[list[str | int]] = []
            for record in self._good_records():
                batch.append(record)
                rows += 1
                if len(batch) == BATCH_ROWS:
                    writer.write_table(_table(batch, schema))
                    batch = []
            if batch:
                writer.write_table(_table(batch, schema))
        if not rows and self.broken and sum(self.shapes.values()) == len(self.broken):
            raise InputError(self._all_wrong())
        names = ", ".join(map(sql_name, (*columns, "source_row")))
        relation = f"(SELECT {names} FROM {parquet(Path(made))})"
        return Records(columns, relation, rows, tuple(self.broken))

    def _good_records(self) -> Iterator[list[str | int]]:
        width = len(self.header)
        number, last, cut_short = 0, 0, None
        with _long_fields(), self.path.open(encoding="utf-8-sig", newline="") as file:
            lines = _Lines(file)
            reader = csv.reader(lines, delimiter=self.fmt.delimiter, strict=True)
            while True:
                number += 1
                lines.first, before = None, lines.read
                try:
                    record = next(reader, None)
                except csv.Error as error:
                    if lines.read > before + 1 or "after" not in str(error):
                        raise InputError(self._open_quote(number, lines.first or "")) from None
                    self._set_aside("text after a closing quote", number, lines.first or "")
                    continue
                if record is None:
                    break
                if number == 1 or (len(record) <= 1 and not "".join(record).strip()):
                    continue
                last = number
                if len(record) != width:
                    what = "too many fields" if len(record) > width else "too few fields"
                    self.shapes[what] += 1
                    text = self.fmt.delimiter.join(record)
                    self._set_aside(what, number, text, expected=f"{width} fields")
                    cut_short = self.broken[-1] if len(record) < width else None
                    continue
                if (
                    place := next((i for i, field in enumerate(record) if "\x00" in field), None)
                ) is not None:
                    self._set_aside(
                        "a NUL byte in the field", number, record[place], column=self.header[place],
                        expected="text",
                    )  # fmt: skip
                    continue
                yield [*record, number]
        if cut_short and cut_short.row == last and len(self.broken) < last - 1:
            raise InputError(
                Problem(
                    "the last row is cut short",
                    file=self.name,
                    row=last,
                    expected=cut_short.expected,
                    got=cut_short.got,
                    next_step="The export was not finished: export again.",
                )
            )

    def _set_aside(
        self, what: str, row: int, text: str, *, column: str | None = None, expected: str | None = None
    ) -> None:
        got = text.rstrip("\r\n").replace("\x00", "\\x00")[:80]
        self.broken.append(Problem(what, file=self.name, row=row, column=column, expected=expected, got=got))

    def _open_quote(self, row: int, line: str) -> Problem:
        fields = next(csv.reader([line], delimiter=self.fmt.delimiter), [""])
        place = min(len(fields), len(self.header)) - 1
        return Problem(
            "a quote is opened and never closed",
            file=self.name,
            row=row,
            column=self.header[place],
            got=fields[-1].rstrip("\r\n")[:80],
            next_step="The export was cut short or a field holds a lone quote: export again.",
        )

    def _all_wrong(self) -> Problem:
        first = self.broken[0]
        few = "too few fields" in self.shapes
        return Problem(
            "every row has a different number of fields than the header",
            file=self.name,
            row=first.row,
            expected=first.expected,
            got=first.got,
            next_step="Check the delimiter and the header." if few else "The header lacks a column.",
            count=len(self.broken),
        )


def _table(batch: list[list[str | int]], schema: pa.Schema) -> pa.Table:
    columns = [[value if value != "" else None for value in column] for column in zip(*batch, strict=True)]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _mojibake(con: duckdb.DuckDBPyConnection, name: str, records: Records) -> Iterator[Problem]:
    """Per column, the fields that look like UTF-8 read as a one-byte encoding before this export."""
    for column in records.columns:
        field = sql_name(column)
        found = con.execute(
            f"SELECT count(*), min(source_row), min_by({field}, source_row) FROM {records.relation} "
            f"WHERE regexp_matches({field}, {sql_text(_MOJIBAKE)})"
        ).fetchone()
        if found and found[0] and re.search(_MOJIBAKE, found[2]):
            yield Problem(
                f"text that looks decoded with the wrong encoding before this export, in {found[0]:,} rows",
                file=name,
                row=found[1],
                column=column,
                expected="text as it was entered",
                got=found[2][:80],
            )
