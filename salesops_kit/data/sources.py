"""The files of an export: found, checked, and each opened as rows of text with their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from salesops_kit.data.contracts import LINEAGE
from salesops_kit.data.databases import copy_from, is_database, new_file, tables_of
from salesops_kit.data.engine import count, parquet, sql_name, sql_text
from salesops_kit.data.file_format import FileFormat
from salesops_kit.data.text_files import read_text_file
from salesops_kit.data.workbooks import DATABASES, EXCEL, copy_table, read_sheet, tables_in
from salesops_kit.errors import InputError, Problem, Problems

SUFFIXES = (".csv", ".parquet")
READABLE = (*SUFFIXES, *EXCEL, *DATABASES)
# What a typed column of a Parquet file is written as when it becomes text.
NATIVE = FileFormat()
_LARGEST_EXACT = 2**53


@dataclass(frozen=True)
class Source:
    """One file of an export that passed its byte checks.

    ``relation`` is a DuckDB relation expression whose columns are all text, in file order, plus
    ``source_row`` (the header is row 1). ``native`` are columns that had a type of their own (Parquet).
    A derived source ``has_files``: its relation says in ``source_file`` where each row comes from.
    ``broken`` are the records that were set aside, ``flagged`` what is kept and to be said.
    """

    name: str
    path: Path
    format: FileFormat
    columns: tuple[str, ...]
    relation: str
    rows: int
    identity: tuple[int, int, int] | None
    native: frozenset[str] = frozenset()
    broken: tuple[Problem, ...] = ()
    flagged: tuple[Problem, ...] = ()
    has_files: bool = False

    @property
    def file_sql(self) -> str:
        """SQL of the file that a row comes from: a column of a derived source, else this file."""
        return "source_file" if self.has_files else sql_text(self.name)

    def format_of(self, column: str | None) -> FileFormat:
        """How one column writes its values: a typed one in its type's own way."""
        return NATIVE if column in self.native else self.format

    def assert_unchanged(self) -> None:
        """Raise when the file changed since it was opened (a half-copied export)."""
        if self.identity is None:
            return
        if not self.path.is_file() or _identity(self.path) != self.identity:
            raise InputError(
                Problem(
                    "the file changed while it was read",
                    file=self.name,
                    next_step="Wait until the export has finished, then run again.",
                )
            )


def find_files(sources: Sequence[Path]) -> dict[str, Path]:
    """The sources of an export by name, from files and folders; problems raised all at once.

    A CSV or Parquet file is a source by its own name, and so is a workbook with one sheet or a database
    with one table; of several each is one, called as in ``export.xlsx[Deals]``. A database's address is
    given as ``postgres:VARIABLE``, and each of its tables is a source.
    """
    found: dict[str, Path] = {}
    problems = Problems()
    for source in sources:
        if is_database(source):
            with problems.caught():
                found |= dict.fromkeys(tables_of(source), source)
            continue
        if source.is_dir():
            files = sorted(p for p in source.iterdir() if _is_data(p))
            if not files:
                what = "no CSV, Parquet, Excel or DuckDB file in this folder"
                problems.append(Problem(what, file=str(source)))
        elif source.is_file():
            files = [source]
        else:
            problems.append(Problem("no such file or folder", file=str(source)))
            continue
        for file in files:
            if file.suffix.lower() not in READABLE:
                what = "not a CSV, Parquet, Excel or DuckDB file"
                problems.append(Problem(what, file=str(file), expected=" or ".join(READABLE)))
                continue
            with problems.caught():
                for name in _names_in(file):
                    if name in found and not file.samefile(found[name]):
                        problems.append(Problem(f"two files are called {name}", file=str(file)))
                    found.setdefault(name, file)
    problems.refuse()
    return found


def _names_in(file: Path) -> list[str]:
    if file.suffix.lower() in SUFFIXES:
        return [file.name]
    tables = tables_in(file)
    if not tables:
        raise InputError(Problem("the file holds no table", file=file.name))
    return [file.name] if len(tables) == 1 else [f"{file.name}[{table}]" for table in tables]


def _is_data(path: Path) -> bool:
    return path.suffix.lower() in READABLE and not path.name.startswith((".", "~$")) and path.is_file()


def stem_of(name: str) -> str:
    """What a source is called without its file's ending: a file's stem, a sheet's or a table's name.

    >>> stem_of("Opportunity.csv"), stem_of("export.xlsx[Deals]")
    ('Opportunity', 'Deals')
    """
    return name[name.index("[") + 1 : -1] if name.endswith("]") and "[" in name else Path(name).stem


def open_source(
    con: duckdb.DuckDBPyConnection, path: Path, fmt: FileFormat, *, scratch: Path, name: str = ""
) -> Source:
    """Check one file's bytes and shape and make it readable; raises every problem of the file."""
    if is_database(path):
        target = new_file(scratch)
        exact = copy_from(path, stem_of(name), target)
        made = _open_parquet(con, target, fmt, None)
        return replace(made, name=name, path=path, native=made.native | exact)
    identity = _identity(path)
    name = name or path.name
    if path.suffix.lower() == ".parquet":
        source = _open_parquet(con, path, fmt, identity)
    elif path.suffix.lower() in DATABASES:
        table = stem_of(name) if name != path.name else tables_in(path)[0]
        made = _open_parquet(con, copy_table(path, table, scratch), fmt, identity)
        source = replace(made, name=name, path=path)
    elif path.suffix.lower() in EXCEL:
        sheet = read_sheet(
            path, stem_of(name) if name != path.name else tables_in(path)[0], name, fmt, scratch
        )
        records = sheet.records
        source = Source(
            name, path, fmt, records.columns, records.relation, records.rows, identity, sheet.native,
            flagged=records.flagged,
        )  # fmt: skip
    else:
        read = read_text_file(con, path, fmt, scratch=scratch)
        source = Source(
            path.name, path, fmt, read.columns, read.relation, read.rows, identity,
            broken=read.broken, flagged=read.flagged,
        )  # fmt: skip
    source.assert_unchanged()
    return source


def _identity(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _open_parquet(
    con: duckdb.DuckDBPyConnection, path: Path, fmt: FileFormat, identity: tuple[int, int, int] | None
) -> Source:
    try:
        described = con.execute(f"DESCRIBE SELECT * FROM {parquet(path)}").fetchall()
        rows = count(con, f"SELECT count(*) FROM {parquet(path)}")
    except duckdb.Error as error:
        raise InputError(Problem(f"not a readable Parquet file: {error}", file=path.name)) from None
    types = {name: type_ for name, type_, *_ in described if name.casefold() not in LINEAGE}
    as_text = "".join(f"{_as_text(name, type_)} AS {sql_name(name)}, " for name, type_ in types.items())
    relation = (
        f"(SELECT {as_text}file_row_number + 2 AS source_row "
        f"FROM read_parquet({sql_text(str(path))}, file_row_number = true))"
    )
    native = frozenset(name for name, type_ in types.items() if type_ != "VARCHAR")
    return Source(path.name, path, fmt, tuple(types), relation, rows, identity, native)


def _as_text(name: str, type_: str) -> str:
    column = sql_name(name)
    if type_ == "TIMESTAMP WITH TIME ZONE":
        return f"strftime(timezone('UTC', {column}), '%Y-%m-%dT%H:%M:%S.%fZ')"
    if type_ in ("DOUBLE", "FLOAT"):
        # Whole numbers beside nulls are often stored as floats: an id of 7 is "7", not "7.0".
        whole = f"{column} = trunc({column}) AND abs({column}) < {_LARGEST_EXACT}"
        return f"CASE WHEN {whole} THEN {column}::BIGINT::VARCHAR ELSE {column}::VARCHAR END"
    return f"{column}::VARCHAR"
