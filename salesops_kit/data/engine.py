"""The embedded DuckDB: connections that bound their memory, quoting, small results as frames."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path

import duckdb
import ibis
import ibis.expr.operations as ops
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

MEMORY_LIMIT = "2600MB"
# As many results of one process are kept: several tables of a report ask the same of the same rows.
RESULTS_KEPT = 64
# Over fewer bytes in all its tables, two threads take more time of the processors than one and no less
# of the clock.
FEW_BYTES = 16_000_000
_numbers = itertools.count(1)
_embedded: weakref.WeakSet[ibis.BaseBackend] = weakref.WeakSet()


def connect(scratch: Path, zone: str = "UTC") -> duckdb.DuckDBPyConnection:
    """A DuckDB connection that spills to ``scratch`` and reads local times in ``zone``."""
    con = duckdb.connect()
    _configure(con, scratch)
    con.execute(f"SET TimeZone = {sql_text(zone)}")
    return con


def backend(scratch: Path) -> ibis.BaseBackend:
    """The same as an Ibis backend, for expressions; its zone is UTC."""
    # Ibis takes two connections to ":memory:" for one database, and their tables for the same.
    made = ibis.duckdb.connect(f":memory:salesops{next(_numbers)}")
    # DuckDB merges nested selects itself, in a hundredth of the time.
    ibis.options.sql.fuse_selects = False
    _configure(made.con, scratch)
    made.con.execute("SET TimeZone = 'UTC'")
    _embedded.add(made)
    return made


def _configure(con: duckdb.DuckDBPyConnection, scratch: Path) -> None:
    con.execute(f"SET memory_limit = {sql_text(MEMORY_LIMIT)}")
    con.execute(f"SET temp_directory = {sql_text(str(scratch))}")
    con.execute("SET preserve_insertion_order = true")


def frame(con: duckdb.DuckDBPyConnection, query: str) -> pd.DataFrame:
    """A small result as a pandas frame."""
    return con.execute(query).to_arrow_table().to_pandas()


def count(con: duckdb.DuckDBPyConnection, query: str) -> int:
    """The one number that a query gives."""
    row = con.execute(query).fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def parquet(path: Path) -> str:
    """SQL that reads a Parquet file."""
    return f"read_parquet({sql_text(str(path))})"


def write_parquet(con: duckdb.DuckDBPyConnection, query: str, path: Path, *, is_passing: bool = False) -> int:
    """Write a query's rows to a Parquet file; returns how many. One that is read once and removed
    (``is_passing``) is compressed in the quickest way."""
    how = "snappy" if is_passing else "zstd, COMPRESSION_LEVEL 1"
    return count(con, f"COPY ({query}) TO {sql_text(str(path))} (FORMAT parquet, COMPRESSION {how})")


def sql_text(value: str) -> str:
    """A SQL string literal."""
    return "'" + value.replace("'", "''") + "'"


def sql_name(value: str) -> str:
    """A quoted SQL identifier."""
    return '"' + value.replace('"', '""') + '"'


class ParquetTables(Mapping[str, ibis.Table]):
    """Parquet files as tables by name, each opened when it is first asked for."""

    def __init__(self, con: ibis.BaseBackend, paths: Mapping[str, Path]) -> None:
        self._con, self._paths = con, dict(paths)
        if sum(path.stat().st_size for path in self._paths.values() if path.is_file()) < FEW_BYTES:
            con.con.execute("SET threads = 1")
        self._open: dict[str, ibis.Table] = {}

    def __getitem__(self, name: str) -> ibis.Table:
        if name not in self._open:
            path = self._paths[name]
            self._con.con.execute(f"CREATE VIEW {sql_name(name)} AS FROM {parquet(path)}")
            self._open[name] = _view_of(self._con, name, ibis.Schema.from_pyarrow(pq.read_schema(path)))
        return self._open[name]

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def shared(expression: ibis.Table) -> ibis.Table:
    """The expression as a view of the embedded database, so that queries which build on it are shorter:
    to write a query takes longer than to answer it. Over tables elsewhere, the expression itself."""
    tables = expression.op().find(ops.PhysicalTable)
    is_embedded = all(isinstance(table, ops.DatabaseTable) and table.source in _embedded for table in tables)
    return _view(expression.op()) if tables and is_embedded else expression


@functools.lru_cache(maxsize=RESULTS_KEPT)
def _view(operation: ops.Relation) -> ibis.Table:
    expression = operation.to_expr()
    source, name = expression.get_backend(), f"shared_{next(_numbers)}"
    source.con.execute(f"CREATE VIEW {sql_name(name)} AS {source.compile(expression)}")
    return _view_of(source, name, expression.schema())


def _view_of(source: ibis.BaseBackend, name: str, schema: ibis.Schema) -> ibis.Table:
    """A view whose columns are known: to ask the database for them takes longer than to make it."""
    return ops.DatabaseTable(name, schema=schema, source=source).to_expr()


def collect(expression: ibis.Table) -> pd.DataFrame:
    """A small result of an expression as a pandas frame: decimals as Decimal, dates as date objects.

    Equal expressions are computed once: what a table holds does not change within a process.

    Through Arrow, since Ibis' own conversion reads an option that pandas 3.1 warns about.
    """
    return _computed(expression.op()).to_pandas()


def collect_columns(expression: ibis.Table) -> pa.Table:
    """A large result of an expression, as Arrow columns: millions of texts as Python objects would take
    minutes and gigabytes. It is not kept."""
    source = expression.get_backend()
    if source.name == "pyspark":
        return _from_spark(source, expression)
    if source in _embedded and not expression.op().find(ops.InMemoryTable):
        # What Ibis does, but for planning the query twice.
        found = source.con.execute(source.compile(expression)).to_arrow_table()
        return found.cast(expression.schema().to_pyarrow())
    return expression.to_pyarrow()


@functools.lru_cache(maxsize=RESULTS_KEPT)
def _computed(operation: ops.Relation) -> pa.Table:
    # Expressions are compared by identity, their operations by what they say.
    return collect_columns(operation.to_expr())


def _from_spark(source: ibis.BaseBackend, expression: ibis.Table) -> pa.Table:
    """Spark's own way to Arrow: that of Ibis goes through pandas, by calls that pandas 3 warns about."""
    name = f"collected_{next(_numbers)}"
    source.create_view(name, expression)
    try:
        found = source.raw_sql(f"SELECT * FROM {name}").toArrow()
    finally:
        source.drop_view(name)
    return found.cast(expression.schema().to_pyarrow())
