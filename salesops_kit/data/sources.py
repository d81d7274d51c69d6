"""Files in: their bytes checked, their records read as text with row numbers."""

from __future__ import annotations

import codecs
import csv
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
from pydantic import BaseModel, ConfigDict

from salesops_kit.data.engine import parquet, sql_name, sql_text
from salesops_kit.errors import InputError, Problem

CHUNK_BYTES = 1 << 22
SUFFIXES = (".csv", ".parquet")
ENCODINGS = "utf-8, gb18030, big5, cp949, utf-16, cp1252, latin-1, shift_jis"


class FileFormat(BaseModel):
    """How one file writes its values. What is not declared is not guessed.

    ``dates`` and ``instants`` are strptime formats, or ``iso`` or ``epoch_ms``; a list is tried in
    order. ``zone`` is the zone of instants that carry no offset (empty: the dataset's zone).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoding: str = "utf-8"
    delimiter: str = ","
    decimal: str = "."
    thousands: str = ""
    parentheses_are_negative: bool = False
    currency_symbols: str = ""
    dates: tuple[str, ...] | str = "iso"
    instants: tuple[str, ...] | str = "iso"
    zone: str = ""
    null_values: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class Source:
    """One file of an export that passed its byte checks.

    ``relation`` is a DuckDB relation expression whose columns are all text, in file order, plus
    ``source_row`` (the header is row 1). ``broken`` are the records that were set aside.
    """

    name: str
    path: Path
    format: FileFormat
    columns: tuple[str, ...]
    relation: str
    broken: tuple[Problem, ...] = ()
    rows: int | None = None
    identity: tuple[int, int, int] = field(default=(0, 0, 0))

    def assert_unchanged(self) -> None:
        """Raise when the file changed since it was opened (a half-copied export)."""
        if _identity(self.path) != self.identity:
            raise InputError(
                Problem(
                    "the file changed while it was read",
                    file=self.name,
                    next_step="Wait until the export has finished, then run again.",
                )
            )


def find_files(sources: list[Path]) -> dict[str, Path]:
    """CSV and Parquet files by file name, from files and folders; problems raised all at once."""
    found: dict[str, Path] = {}
    problems: list[Problem] = []
    for source in sources:
        if source.is_dir():
            files = sorted(p for p in source.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
            if not files:
                problems.append(Problem("no CSV or Parquet file in this folder", file=str(source)))
        elif source.is_file():
            files = [source]
        else:
            problems.append(Problem("no such file or folder", file=str(source)))
            continue
        for file in files:
            if file.suffix.lower() not in SUFFIXES:
                problems.append(
                    Problem("not a CSV or Parquet file", file=str(file), expected=" or ".join(SUFFIXES))
                )
            elif file.name in found:
                problems.append(Problem(f"two files are called {file.name}", file=str(file)))
            else:
                found[file.name] = file
    if problems:
        raise InputError(problems)
    return found


def open_source(con: duckdb.DuckDBPyConnection, path: Path, fmt: FileFormat, *, scratch: Path) -> Source:
    """Check one file's bytes and shape and make it readable; raises every problem of the file."""
    identity = _identity(path)
    if path.suffix.lower() == ".parquet":
        return _open_parquet(con, path, fmt, identity)
    problems = list(_header_bytes(path, fmt))
    if problems:
        raise InputError(problems)
    readable, odd_rows = _scan_text(path, fmt, scratch)
    header = _header(readable, path.name, fmt)
    source = _open_csv(con, path, readable, fmt, header, odd_rows, identity)
    source.assert_unchanged()
    return source


def _identity(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _header_bytes(path: Path, fmt: FileFormat) -> Iterator[Problem]:
    name = path.name
    with path.open("rb") as file:
        head = file.read(4)
    try:
        declared = codecs.lookup(fmt.encoding).name
    except LookupError:
        yield Problem(f"unknown encoding {fmt.encoding!r}", file=name, next_step=f"Known: {ENCODINGS}.")
        return
    if not head:
        yield Problem("the file is empty", file=name, expected="a header row")
    elif head[:2] == b"\x1f\x8b":
        yield Problem("the file is compressed (gzip)", file=name, next_step="Unpack it first.")
    elif head[:4] == b"PK\x03\x04":
        yield Problem(
            "the file is a zip or an Excel workbook", file=name, next_step="Save it as CSV (UTF-8) first."
        )
    elif head[:2] in (b"\xff\xfe", b"\xfe\xff") and not declared.startswith("utf-16"):
        yield Problem(
            "the file is UTF-16",
            file=name,
            expected=declared,
            next_step="Save it as UTF-8, or declare `encoding: utf-16` for it in the mapping.",
        )


def _scan_text(path: Path, fmt: FileFormat, scratch: Path) -> tuple[Path, list[tuple[int, str]]]:
    """Decode the whole file strictly; returns a UTF-8 file to read and the lines that hold NUL.

    UTF-8 files are checked in place; others are transcoded into ``scratch``.
    """
    declared = codecs.lookup(fmt.encoding).name
    in_place = declared in ("utf-8", "utf-8-sig", "ascii")
    decoder = codecs.getincrementaldecoder("utf-8" if in_place else declared)("strict")
    problems: list[Problem] = []
    line, nul_lines, quotes, returns = 1, [], 0, 0
    out = None
    target = path
    if not in_place:
        handle, made = tempfile.mkstemp(dir=scratch, suffix=".csv")
        target, out = Path(made), os.fdopen(handle, "w", encoding="utf-8", newline="")
    try:
        with path.open("rb") as file:
            while not problems:
                chunk = file.read(CHUNK_BYTES)
                try:
                    text = decoder.decode(chunk, final=not chunk)
                except UnicodeDecodeError as error:
                    at = line + chunk[: error.start].count(b"\n")
                    problems.append(
                        Problem(
                            f"the bytes are not {declared}",
                            file=path.name,
                            row=at,
                            got=repr(error.object[error.start : error.start + 4]),
                            next_step=f"Declare the file's `encoding` in the mapping (for example {ENCODINGS}).",
                        )
                    )
                    break
                if out:
                    out.write(text.removeprefix("\ufeff") if line == 1 and quotes == 0 else text)
                if "\ufffd" in text:
                    problems.append(
                        Problem(
                            "a replacement character (U+FFFD) shows that text was lost before this export",
                            file=path.name,
                            row=line + text[: text.index("\ufffd")].count("\n"),
                            next_step="Export again with the right encoding.",
                        )
                    )
                if "\x00" in text:
                    for number, part in enumerate(text.split("\n")):
                        if "\x00" in part:
                            nul_lines.append((line + number, "a NUL byte in the record"))
                quotes += text.count('"')
                returns += text.count("\r")
                line += text.count("\n")
                if not chunk:
                    break
    finally:
        if out:
            out.close()
    if not problems and quotes % 2:
        problems.append(
            Problem(
                "a quote is opened and never closed",
                file=path.name,
                next_step="The export was cut short or a field holds a lone quote: export again.",
            )
        )
    if problems:
        raise InputError(problems)
    mixed_line_ends = 0 < returns != line - 1
    if nul_lines or mixed_line_ends:
        target = _plain_copy(target, scratch)
    return target, nul_lines


def _plain_copy(path: Path, scratch: Path) -> Path:
    """A copy with one kind of line end and no NUL bytes (readers end a field or a file at one)."""
    handle, made = tempfile.mkstemp(dir=scratch, suffix=".csv")
    with (
        path.open(encoding="utf-8", newline=None) as file,
        os.fdopen(handle, "w", encoding="utf-8", newline="\n") as out,
    ):
        while text := file.read(CHUNK_BYTES):
            out.write(text.replace("\x00", ""))
    return Path(made)


def _header(path: Path, name: str, fmt: FileFormat) -> tuple[str, ...]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            names = next(csv.reader(file, delimiter=fmt.delimiter))
        except StopIteration:
            names = []
    names = [column.strip() for column in names]
    problems = [
        Problem(f"the header names {column!r} {count} times", file=name, row=1, column=column)
        for column, count in Counter(names).items()
        if count > 1 and column
    ]
    problems += [
        Problem(f"column {number} has no name", file=name, row=1)
        for number, column in enumerate(names, 1)
        if not column
    ]
    if not any(names):
        problems = [Problem("the first row holds no column names", file=name, row=1)]
    if problems:
        raise InputError(problems)
    return tuple(names)


def _open_csv(
    con: duckdb.DuckDBPyConnection,
    path: Path,
    readable: Path,
    fmt: FileFormat,
    header: tuple[str, ...],
    nul_lines: list[tuple[int, str]],
    identity: tuple[int, int, int],
) -> Source:
    columns = ", ".join(f"{sql_text(name)}: 'VARCHAR'" for name in header)
    options = (
        f"header = true, delim = {sql_text(fmt.delimiter)}, quote = '\"', escape = '\"', auto_detect = false, "
        f"columns = {{{columns}}}, nullstr = '', max_line_size = 16777216, strict_mode = true"
    )
    file = sql_text(str(readable))
    # One cheap pass over the records' shape: line numbers of what has too few or too many fields.
    rejects, scans = _unique_names()
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE _rows AS SELECT count(*) AS n FROM read_csv({file}, {options}, "
        f"store_rejects = true, rejects_table = '{rejects}', rejects_scan = '{scans}', rejects_limit = 0)"
    )
    (good,) = _one(con, "SELECT n FROM _rows")
    wrong = con.execute(
        f"SELECT DISTINCT line, error_type::VARCHAR, csv_line FROM {rejects} ORDER BY line"
    ).fetchall()
    con.execute(f"DROP TABLE {rejects}")
    con.execute(f"DROP TABLE {scans}")
    broken = _shape_problems(path.name, header, good, wrong, _line_count(readable) if wrong else 0)
    broken += [Problem(what, file=path.name, row=row) for row, what in nul_lines]
    skipped = sorted({row for row, _ in nul_lines})
    # With records set aside the numbering must still count them, so each record is numbered
    # by its place among the records that are read, plus the broken ones before it.
    lost = sorted({line for line, _, _ in wrong})
    number = "row_number() OVER () + 1"
    relation = f"(SELECT *, {number} AS source_row FROM read_csv({file}, {options}"
    relation += ", ignore_errors = true))" if wrong else "))"
    if lost:
        shifts = ", ".join(str(line - shift) for shift, line in enumerate(lost))
        relation = (
            "(SELECT * REPLACE (source_row + list_aggregate(list_transform("
            f"[{shifts}], x -> CASE WHEN source_row >= x THEN 1 ELSE 0 END), 'sum')::BIGINT AS source_row) "
            f"FROM {relation})"
        )
    if skipped:
        relation = f"(SELECT * FROM {relation} WHERE source_row NOT IN ({', '.join(map(str, skipped))}))"
    return Source(path.name, path, fmt, header, relation, tuple(broken), good, identity)


def _unique_names() -> tuple[str, str]:
    token = next(tempfile._get_candidate_names())  # type: ignore[attr-defined]
    return f"rejects_{token}", f"scans_{token}"


def _shape_problems(
    name: str, header: tuple[str, ...], good: int, wrong: list[tuple[int, str, str]], lines: int
) -> list[Problem]:
    if not wrong:
        return []
    many = [row for row in wrong if "TOO MANY" in row[1]]
    few = [row for row in wrong if "MISSING" in row[1]]
    if good == 0 and len({kind for _, kind, _ in wrong}) == 1:
        line, kind, text = wrong[0]
        raise InputError(
            Problem(
                "every row has a different number of fields than the header",
                file=name,
                row=line,
                expected=f"{len(header)} fields",
                got=text[:80],
                next_step="Check the delimiter and the header." if few else "The header lacks a column.",
                count=len(wrong),
            )
        )
    last = max(wrong)
    if last in few and last[0] >= lines:
        raise InputError(
            Problem(
                "the last row is cut short",
                file=name,
                row=last[0],
                expected=f"{len(header)} fields",
                got=last[2][:80],
                next_step="The export was not finished: export again.",
            )
        )
    return [
        Problem(
            "too many fields"
            if (line, kind, text) in many
            else "too few fields"
            if (line, kind, text) in few
            else kind.lower(),
            file=name,
            row=line,
            expected=f"{len(header)} fields",
            got=text[:80],
        )
        for line, kind, text in wrong
    ]


def _line_count(path: Path) -> int:
    lines, last = 0, b"\n"
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    return lines + (last != b"\n")


def _open_parquet(
    con: duckdb.DuckDBPyConnection, path: Path, fmt: FileFormat, identity: tuple[int, int, int]
) -> Source:
    try:
        described = con.execute(f"DESCRIBE SELECT * FROM {parquet(path)}").fetchall()
        (rows,) = _one(con, f"SELECT count(*) FROM {parquet(path)}")
    except duckdb.Error as error:
        raise InputError(Problem(f"not a readable Parquet file: {error}", file=path.name)) from None
    as_text = ", ".join(_parquet_text(name, type_) for name, type_, *_ in described)
    relation = (
        f"(SELECT {as_text}, file_row_number + 2 AS source_row "
        f"FROM read_parquet({sql_text(str(path))}, file_row_number = true))"
    )
    return Source(path.name, path, fmt, tuple(row[0] for row in described), relation, (), rows, identity)


def _parquet_text(name: str, type_: str) -> str:
    column = sql_name(name)
    if type_ == "TIMESTAMP WITH TIME ZONE":
        return f"strftime(timezone('UTC', {column}), '%Y-%m-%dT%H:%M:%S.%fZ') AS {column}"
    return f"{column}::VARCHAR AS {column}"


def _one(con: duckdb.DuckDBPyConnection, query: str) -> tuple[int]:
    row = con.execute(query).fetchone()
    assert row is not None
    return row  # type: ignore[return-value]


def formats_for(names: list[str], declared: Mapping[str, FileFormat]) -> dict[str, FileFormat]:
    """Each file's format: the one declared for its name, else for ``*``, else the default."""
    fallback = declared.get("*", FileFormat())
    return {name: declared.get(name, fallback) for name in names}
