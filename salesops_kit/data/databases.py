"""Tables of a PostgreSQL database as Parquet; its address is given by name and written down nowhere."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from salesops_kit.data.contracts import LINEAGE
from salesops_kit.errors import InputError, NotAvailableError, Problem, did_you_mean

ROWS_AT_A_TIME = 50_000
_NAMED = re.compile(r"postgres:(?P<variable>[A-Za-z_][A-Za-z0-9_]*)(?:/(?P<schema>[A-Za-z_][A-Za-z0-9_]*))?")
_EXAMPLE = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"


def is_database(source: Path) -> bool:
    """Whether a source of an import names a database: ``postgres:VARIABLE`` or ``postgres:VARIABLE/SCHEMA``.

    >>> is_database(Path("postgres:CRM_DATABASE/sales")), is_database(Path("postgres.csv"))
    (True, False)
    """
    return _NAMED.fullmatch(source.as_posix()) is not None


def tables_of(source: Path) -> dict[str, str]:
    """The tables and views of a database by the name of each as a source, ``VARIABLE[table]``.

    Raises :class:`InputError` where the environment has no such variable, it holds no address, or the
    database does not answer; :class:`NotAvailableError` without the driver.
    """
    variable, schema = _parts(source)
    with _connected(variable) as con:
        names = con.list_tables(database=schema)
    if not names:
        where = f"schema {schema} of the database" if schema else "the database"
        raise InputError(Problem(f"{where} holds no table", file=variable))
    return {f"{variable}[{name}]": name for name in sorted(names)}


def copy_from(source: Path, table: str, target: Path) -> frozenset[str]:
    """Write a table to a Parquet file and return the columns whose numbers are written there as text, with
    all their digits. Rows are in the order of the first column, so that their numbers are the same
    next time."""
    variable, schema = _parts(source)
    with _connected(variable) as con:
        rows = con.table(table, database=schema)
        exact = frozenset(name for name, type_ in rows.schema().items() if type_.is_decimal())
        columns = [_readable(rows[name]).name(name) for name in rows.columns if name not in LINEAGE]
        ordered = rows.order_by(rows[rows.columns[0]]).select(*columns)
        schema_written = ordered.schema().to_pyarrow()
        with pq.ParquetWriter(target, schema_written, compression="lz4") as writer:
            for batch in ordered.to_pyarrow_batches(chunk_size=ROWS_AT_A_TIME):
                writer.write_table(pa.Table.from_batches([batch], schema=schema_written))
    return exact - set(LINEAGE)


def _readable(column: ir.Column) -> ir.Column:
    """Decimals as text, since a database sets no bound to their digits; other values in their own types."""
    type_ = column.type()
    plain = type_.is_string() or type_.is_boolean() or type_.is_integer() or type_.is_floating()
    return column if plain or type_.is_date() or type_.is_timestamp() else column.cast("string")


def _parts(source: Path) -> tuple[str, str | None]:
    found = _NAMED.fullmatch(source.as_posix())
    if found is None:
        raise InputError(
            Problem("not the name of a database", file=str(source), expected="postgres:VARIABLE")
        )
    return found["variable"], found["schema"]


@contextmanager
def _connected(variable: str) -> Iterator[ibis.BaseBackend]:
    """A connection that is closed afterwards. What the driver says of a refusal names host and user, never
    the password; what cannot be read as an address is not repeated."""
    try:
        import psycopg
    except ImportError:
        raise NotAvailableError(
            "To read from PostgreSQL the package psycopg is needed: pip install 'psycopg[binary]'"
        ) from None
    address = os.environ.get(variable, "")
    expected = f"an address such as {_EXAMPLE}"
    if not address:
        near = [name for name, value in os.environ.items() if value.startswith(("postgres:", "postgresql:"))]
        step = did_you_mean(variable, near) if near else f"Set it before the command: export {variable}=..."
        what = "the environment has no such variable"
        raise InputError(Problem(what, file=variable, expected=expected, next_step=step))
    if not address.startswith(("postgres://", "postgresql://")):
        raise InputError(
            Problem("the variable holds no PostgreSQL address", file=variable, expected=expected)
        )
    try:
        con = ibis.connect(address)
    except psycopg.OperationalError as error:
        told = str(error).strip().splitlines()[-1]
        raise InputError(Problem(f"the database does not answer: {told}", file=variable)) from None
    except Exception:
        what = "the variable holds no readable address"
        raise InputError(Problem(what, file=variable, expected=expected)) from None
    try:
        yield con
    except psycopg.Error as error:
        told = str(error).strip().splitlines()[0]
        raise InputError(Problem(f"the database refused: {told}", file=variable)) from None
    finally:
        con.disconnect()


def new_file(scratch: Path) -> Path:
    """The name of a new Parquet file in ``scratch``."""
    handle, made = tempfile.mkstemp(dir=scratch, suffix=".parquet")
    os.close(handle)
    return Path(made)
