"""The records of a text file one by one: numbered as a spreadsheet does, the broken ones set aside."""

from __future__ import annotations

import csv
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from salesops_kit.data.contracts import LINEAGE
from salesops_kit.data.engine import parquet, sql_name
from salesops_kit.data.file_format import FileFormat
from salesops_kit.errors import InputError, Problem

MAX_FIELD = 1 << 24
BATCH_ROWS = 50_000


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


@contextmanager
def long_fields() -> Iterator[None]:
    """Let the csv module read fields of up to 16 MB for a while."""
    before = csv.field_size_limit(MAX_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def apart_from_lineage(header: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The file's columns under names that leave room for ours, and those that count as data."""
    held = [f"{name} (file)" if name.casefold() in LINEAGE else name for name in header]
    return held, tuple(name for name in header if name.casefold() not in LINEAGE)


def repair(name: str, path: Path, header: tuple[str, ...], fmt: FileFormat, scratch: Path) -> Records:
    """Read a UTF-8 file that has blank, broken or oddly ended records, in one slow pass.

    Its good records are set down as Parquet with the number that each has in the file; a record that
    is broken by itself is listed. Raises :class:`~salesops_kit.errors.InputError` where the records
    cannot be told apart: an open quote, a last row that is cut short, no row of the header's width.
    """
    return _Repair(name, path, header, fmt).run(scratch)


def ends(record: Sequence[str], width: int, footer_lines: Sequence[str]) -> bool:
    """Whether a record is a line that a report puts below its rows: totals, copyright, who made it.

    A record as wide as the header is one only where its first text is such a beginning alone, or with
    a count behind it: a customer may be called Total Energies.
    """
    text = next((field.strip() for field in record if field.strip()), "").casefold()
    for line in footer_lines:
        start = line.casefold()
        if text == start or text.startswith((f"{start} (", f"{start}:")):
            return True
        if len(record) < width and text.startswith(start):
            return True
    return False


def may_end(record: Sequence[str], width: int, footer_lines: Sequence[str]) -> bool:
    """Whether a record may stand among such lines: one of them, an empty one, a title."""
    filled = sum(bool(field.strip()) for field in record)
    return not filled or (len(record) < width and filled <= 2) or ends(record, width, footer_lines)


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
    """The one pass, and what it found broken."""

    def __init__(self, name: str, path: Path, header: tuple[str, ...], fmt: FileFormat) -> None:
        self.name, self.path, self.header, self.fmt = name, path, header, fmt
        self.broken: list[Problem] = []
        self.flagged: list[Problem] = []
        self.last = 0
        self.cut_short: Problem | None = None
        self.shapes: Counter[str] = Counter()

    def run(self, scratch: Path) -> Records:
        held, columns = apart_from_lineage(self.header)
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
        return Records(columns, relation, rows, tuple(self.broken), tuple(self.flagged))

    def _good_records(self) -> Iterator[list[str | int]]:
        pending: list[tuple[int, list[str]]] = []
        for number, record in self._records():
            if self.fmt.footer_lines and may_end(record, len(self.header), self.fmt.footer_lines):
                pending.append((number, record))
                continue
            for held, one in pending:
                yield from self._checked(held, one)
            pending = []
            yield from self._checked(number, record)
        if any(ends(record, len(self.header), self.fmt.footer_lines) for _, record in pending):
            text = " | ".join(" ".join(filter(None, record)) for _, record in pending if any(record))
            self.flagged.append(
                Problem(
                    "lines that the report puts below its rows are left out", file=self.name,
                    row=pending[0][0], expected="a row of the table", got=text[:80], count=len(pending),
                )
            )  # fmt: skip
        else:
            for held, one in pending:
                yield from self._checked(held, one)
        if self.cut_short and self.cut_short.row == self.last and len(self.broken) < self.last - 1:
            raise InputError(
                Problem(
                    "the last row is cut short",
                    file=self.name,
                    row=self.last,
                    expected=self.cut_short.expected,
                    got=self.cut_short.got,
                    next_step="The export was not finished: export again.",
                )
            )

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Every record below the header that is not blank, with its number."""
        number = 0
        with long_fields(), self.path.open(encoding="utf-8-sig", newline="") as file:
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
                yield number, record

    def _checked(self, number: int, record: list[str]) -> Iterator[list[str | int]]:
        """The record with its number where it is whole; else it is set aside."""
        self.last, width = number, len(self.header)
        if len(record) != width:
            what = "too many fields" if len(record) > width else "too few fields"
            self.shapes[what] += 1
            self._set_aside(what, number, self.fmt.delimiter.join(record), expected=f"{width} fields")
            self.cut_short = self.broken[-1] if len(record) < width else None
            return
        if (place := next((i for i, field in enumerate(record) if "\x00" in field), None)) is not None:
            column = self.header[place]
            self._set_aside("a NUL byte in the field", number, record[place], column=column, expected="text")
            return
        yield [*record, number]

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
