"""One small CRM in three engines: the same tables, opened as the kit opens its own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import ibis

from salesops_kit.data import earlier, engine
from salesops_kit.data.contracts import TABLES
from salesops_kit.data.dataset import Rows, import_export, open_rows
from salesops_kit.data.sample import write_sample
from salesops_kit.periods import Period
from salesops_kit.policy.model import CHECKED_TABLES
from salesops_kit.policy.reading import read_policy

DEALS = 2500
QUARTER = "2027-Q3"
EARLIER = (dt.date(2026, 7, 15), dt.date(2026, 8, 25))
TYPES = {"VARCHAR": "text", "DOUBLE": "double precision", "TIMESTAMP WITH TIME ZONE": "timestamptz"}
# What the sample lacks: earlier snapshots that knew other amounts, sealed forecasts, and declared totals that
# do not tie, one with its deals and one without.
ADDED = {
    "earlier_deals": "SELECT * REPLACE ((CASE WHEN opportunity_id LIKE '%7' THEN amount * 2 ELSE amount END)"
    "::DECIMAL(18,4) AS amount) FROM {earlier_deals}",
    "control_deals": "SELECT * REPLACE ((CASE WHEN opportunity_id LIKE '%1' THEN value + 50 ELSE value END)"
    "::DECIMAL(18,4) AS value) FROM {control_deals}",
    "sealed_forecasts": "SELECT 'ab12' || caller AS seal, '{quarter}' AS period, "
    "DATE '2026-08-20' AS sealed_on, 'company' AS team, caller, call, "
    "call - 2e5 AS low, call + 2e5 AS high, false AS is_backdated "
    "FROM (VALUES ('model', 1.5e6::DOUBLE), ('manager', 2e6::DOUBLE)) AS told (caller, call)",
    "control_totals": "SELECT source, period, measure, (value + 1000)::DECIMAL(18,4) AS value "
    "FROM {control_totals} UNION ALL BY NAME "
    "SELECT 'finance' AS source, '{quarter}' AS period, 'bookings' AS measure, 1 AS value",
}
PROCESS = """\
stages:
  - {stage: Proposal, required: [next_step], most_days: 30, means: An offer is out}
  - {stage: Negotiation, exit: [Signed]}
service_levels:
  - {id: touched, title: Lead qualified in time, start: created_at, end: mql_at, within_days: 4}
"""


@dataclass(frozen=True)
class Crm:
    """The tables as Parquet files, with what the dataset says of itself."""

    rows: Rows
    period: Period
    files: Mapping[str, Path]

    def opened(self, con: ibis.BaseBackend) -> Rows:
        """The same dataset with its tables in another engine."""
        return replace(self.rows, tables={name: con.table(name) for name in self.files})


def small_crm(folder: Path) -> Crm:
    """A sample of some deals, imported, with what it lacks besides, and with a process of its own."""
    write_sample(folder / "raw", opportunities=DEALS)
    (folder / "process.yml").write_text(PROCESS, encoding="utf-8")
    made = import_export([folder / "raw"], "", folder / "imported")
    rows = open_rows(made)
    period = rows.settings.fiscal.quarter(QUARTER)
    con = rows.table("stages").get_backend()
    files = {**made.paths, "earlier_deals": folder / "before.parquet"}
    before = earlier.earlier_deals(con, [replace(made, observed_until=day) for day in EARLIER])
    con.to_parquet(before, files["earlier_deals"])
    names = {name: engine.parquet(file) for name, file in files.items()}
    with duckdb.connect() as plain:
        for name, query in ADDED.items():
            files[name] = folder / f"{name}.parquet"
            filled = query.format(quarter=QUARTER, **names)
            engine.write_parquet(plain, filled, files[name])
    columns = {name: {c.name: c.type for c in TABLES[name].columns.values()} for name in CHECKED_TABLES}
    policy = read_policy([folder], columns=columns, stages=None)
    return Crm(replace(rows, policy=policy), period, files)


def in_duckdb(crm: Crm, folder: Path) -> Rows:
    """The tables in DuckDB as reports read them."""
    return replace(crm.rows, tables=engine.ParquetTables(engine.backend(folder), crm.files))


@contextmanager
def in_postgres(crm: Crm, address: str, folder: Path) -> Iterator[Rows]:
    """The tables copied into PostgreSQL."""
    load(address, {name: engine.parquet(file) for name, file in crm.files.items()}, TYPES, folder)
    con = ibis.connect(address)
    try:
        yield crm.opened(con)
    finally:
        con.disconnect()


def load(address: str, queries: Mapping[str, str], types: Mapping[str, str], folder: Path) -> None:
    """Copy what DuckDB reads by each query into a PostgreSQL table, its types named as ``types`` say."""
    import psycopg

    with psycopg.connect(address) as server, duckdb.connect() as source:
        for name, query in queries.items():
            columns = source.execute(f"DESCRIBE FROM {query}").fetchall()
            typed = ", ".join(f"{engine.sql_name(c)} {types.get(t, t)}" for c, t, *_ in columns)
            text = folder / f"{name}.csv"
            source.execute(f"COPY (FROM {query}) TO {engine.sql_text(str(text))} (NULLSTR '\\N')")
            server.execute(f"CREATE TABLE {engine.sql_name(name)} ({typed})")  # type: ignore[call-overload]
            copied = f"COPY {engine.sql_name(name)} FROM STDIN (FORMAT csv, HEADER, NULL '\\N')"
            with server.cursor().copy(copied) as copy:  # type: ignore[arg-type]
                copy.write(text.read_bytes())
        server.execute("ANALYZE")


def in_spark(crm: Crm, session: Any) -> Rows:
    """The tables as views in Spark."""
    con = ibis.pyspark.connect(session)
    for name, file in crm.files.items():
        con.read_parquet(file, table_name=name)
    return crm.opened(con)
