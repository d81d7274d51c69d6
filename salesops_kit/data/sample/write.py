"""Typed columns of the sample's tables, and their files: CSV in one fixed format, or Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from salesops_kit.data.contracts import TABLES

Format = Literal["csv", "parquet"]
Block = Mapping[str, pa.Array]
Mask = NDArray[np.bool_]

_FIRST_TEXT_DAY, _LAST_TEXT_DAY = 0, 60_000
_CONTRACT_TYPES = {
    "id": pa.string(),
    "text": pa.string(),
    "category": pa.string(),
    "bool": pa.bool_(),
    "int": pa.int64(),
    "number": pa.float64(),
    "rate": pa.float64(),
    "money": pa.decimal128(18, 4),
    "date": pa.date32(),
    "instant": pa.timestamp("us", tz="UTC"),
}


def words(values: Any, valid: Mask | None = None) -> pa.Array:
    """A text column from Python strings (None is null)."""
    column = pa.array(values, type=pa.string())
    return column if valid is None else pc.if_else(pa.array(valid), column, None)


def coded(codes: NDArray[np.integer[Any]], names: pa.Array | list[str]) -> pa.Array:
    """A text column from positions in ``names``; a negative position is null."""
    choices = names if isinstance(names, pa.Array) else pa.array(names, type=pa.string())
    return choices.take(pa.array(np.asarray(codes), mask=np.asarray(codes) < 0))


def digits(numbers: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    """The last ``width`` decimal digits of each number as ASCII, one row per number."""
    out = np.empty((len(numbers), width), dtype=np.uint8)
    rest = numbers.copy()
    for place in range(width - 1, -1, -1):
        rest, out[:, place] = rest // 10, rest % 10 + 48
    return out


def fixed_text(characters: NDArray[np.uint8], valid: Mask | None = None) -> pa.Array:
    """A text column from ASCII rows of one width."""
    count, width = characters.shape
    offsets = np.arange(count + 1, dtype=np.int64) * width
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(characters))]
    column = pa.Array.from_buffers(pa.large_string(), count, buffers).cast(pa.string())
    return column if valid is None else pc.if_else(pa.array(valid), column, None)


def keys(prefix: str, numbers: NDArray[np.int64], width: int, valid: Mask | None = None) -> pa.Array:
    """Ids such as ``OP00000017``: a prefix and a number of fixed width."""
    lead = np.tile(np.frombuffer(prefix.encode("ascii"), dtype=np.uint8), (len(numbers), 1))
    return fixed_text(np.hstack([lead, digits(np.maximum(numbers, 0), width)]), valid)


def _scaled(values: NDArray[np.int64], scale: int, valid: Mask | None) -> pa.Array:
    halves = np.empty((len(values), 2), dtype=np.int64)
    halves[:, 0], halves[:, 1] = values, values >> 63
    buffers = [None, pa.py_buffer(halves)]
    column = pa.Array.from_buffers(pa.decimal128(18, scale), len(values), buffers)
    return column if valid is None else pc.if_else(pa.array(valid), column, None)


def money(cents: NDArray[np.int64], valid: Mask | None = None) -> pa.Array:
    """A money column from whole hundredths, written with two decimals."""
    return _scaled(np.asarray(cents, dtype=np.int64), 2, valid)


def fixed(values: NDArray[np.float64], decimals: int, valid: Mask | None = None) -> pa.Array:
    """A number column that is written with a fixed count of decimals."""
    return _scaled(np.rint(np.asarray(values) * 10**decimals).astype(np.int64), decimals, valid)


def dates(days: NDArray[np.int64], valid: Mask | None = None) -> pa.Array:
    """A date column from days since 1970; a negative day is null."""
    days = np.asarray(days, dtype=np.int64)
    known = days >= 0 if valid is None else valid & (days >= 0)
    return pa.array(days.astype(np.int32), type=pa.int32(), mask=~known).cast(pa.date32())


def instants(seconds: NDArray[np.int64], valid: Mask | None = None) -> pa.Array:
    """An instant column from UTC seconds since 1970; a negative number is null."""
    seconds = np.asarray(seconds, dtype=np.int64)
    known = seconds >= 0 if valid is None else valid & (seconds >= 0)
    return pa.array(seconds, type=pa.int64(), mask=~known).cast(pa.timestamp("s", tz="UTC"))


def flags(values: Mask) -> pa.Array:
    """A true or false column."""
    return pa.array(np.asarray(values, dtype=bool))


def wholes(values: NDArray[np.int64], valid: Mask | None = None) -> pa.Array:
    """A whole-number column."""
    return pa.array(np.asarray(values, dtype=np.int64), mask=None if valid is None else ~valid)


def nulls(count: int) -> pa.Array:
    """A column that is empty in every row."""
    return pa.nulls(count, type=pa.string())


def _date_text() -> NDArray[np.uint8]:
    days = np.arange(_FIRST_TEXT_DAY, _LAST_TEXT_DAY).astype("datetime64[D]")
    return np.datetime_as_string(days).astype("S10").view(np.uint8).reshape(-1, 10)


_DATE_TEXT = _date_text()


def as_text(column: pa.Array) -> pa.Array:
    """The column as it stands in a CSV file: fixed decimals, ISO dates, instants ending in Z."""
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if not (pa.types.is_date32(kind) or pa.types.is_timestamp(kind)):
        return column.cast(pa.string())
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    whole = column.view(pa.int32() if pa.types.is_date32(kind) else pa.int64())
    values = whole.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_date32(kind):
        return fixed_text(_DATE_TEXT[values], valid)
    out = np.empty((len(values), 20), dtype=np.uint8)
    days, seconds = values // 86_400, values % 86_400
    out[:, :10] = _DATE_TEXT[days]
    out[:, 10], out[:, 13], out[:, 16], out[:, 19] = ord("T"), ord(":"), ord(":"), ord("Z")
    out[:, 11:13] = digits(seconds // 3600, 2)
    out[:, 14:16] = digits(seconds // 60 % 60, 2)
    out[:, 17:19] = digits(seconds % 60, 2)
    return fixed_text(out, valid)


class TableFile:
    """One table's file, written block by block."""

    def __init__(self, folder: Path, table: str, format: Format) -> None:  # noqa: A002
        self.table, self.format = table, format
        self.path = folder / f"{table}.{format}"
        self.rows = 0
        self._columns: list[str] | None = None
        self._sink: Any = None

    def write(self, block: Block, *, quoted: bool = False) -> None:
        """Append a block; every block has the same columns, contract columns first.

        ``quoted`` blocks may hold commas; the others are written faster, as no value needs quotes.
        """
        if self._columns is None:
            self._open(list(block))
        assert self._columns == list(block), f"{self.table}: blocks differ in their columns"
        self.rows += len(next(iter(block.values())))
        if self.format == "csv" and quoted:
            lines = io.StringIO()
            rows = zip(*(as_text(column).to_pylist() for column in block.values()), strict=True)
            csv.writer(lines, lineterminator="\n").writerows(rows)
            self._sink.write(lines.getvalue().encode("utf-8"))
        elif self.format == "csv":
            text = pa.table({name: as_text(column) for name, column in block.items()})
            options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
            pa_csv.write_csv(text, self._sink, options)
        else:
            self._sink.write_table(pa.table([block[name] for name in block], list(block)).cast(self._schema))

    def _open(self, columns: list[str]) -> None:
        contract = TABLES[self.table].columns
        missing = [name for name in contract if name not in columns]
        assert not missing, f"{self.table}: columns {missing} are missing"
        self._columns = columns
        if self.format == "csv":
            self._sink = self.path.open("wb")
            self._sink.write((",".join(columns) + "\n").encode("utf-8"))
            return
        types = [
            _CONTRACT_TYPES[contract[name].type] if name in contract else pa.string() for name in columns
        ]
        self._schema = pa.schema(list(zip(columns, types, strict=True)))
        self._sink = pq.ParquetWriter(self.path, self._schema, compression="zstd", write_statistics=True)

    def close(self) -> None:
        """Finish the file."""
        if self._sink is not None:
            self._sink.close()


class Output:
    """The files of one sample folder."""

    def __init__(self, folder: Path, format: Format) -> None:  # noqa: A002
        self.folder, self.format = folder, format
        self._files: dict[str, TableFile] = {}

    def write(self, table: str, block: Block | pa.Table, *, quoted: bool = False) -> None:
        """Append a block to a table's file."""
        if isinstance(block, pa.Table):
            block = {name: block[name].combine_chunks() for name in block.column_names}
        if table not in self._files:
            self._files[table] = TableFile(self.folder, table, self.format)
        self._files[table].write(block, quoted=quoted)

    @property
    def rows(self) -> dict[str, int]:
        """Rows written so far, by table."""
        return {table: file.rows for table, file in sorted(self._files.items())}

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
