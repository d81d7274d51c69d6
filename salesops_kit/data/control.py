"""Control totals of an import: what was read must be what the sender says he sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
from pydantic import BaseModel, ConfigDict, Field

from salesops_kit.data.contracts import TABLES
from salesops_kit.data.engine import parquet, sql_name
from salesops_kit.errors import Problem, did_you_mean

if TYPE_CHECKING:
    from salesops_kit.data.importer import Import

ROWS, SUM_OF = "rows", "sum of "
_SUMMED = ("money", "number", "int")


class Control(BaseModel):
    """What one table must come to: its rows as sent (those set aside included), sums of columns."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: int | None = Field(default=None, ge=0)
    sum: dict[str, Decimal] = Field(default_factory=dict)

    def measures(self) -> dict[str, Decimal]:
        """The totals by measure: ``rows``, ``sum of <column>``."""
        rows = {} if self.rows is None else {ROWS: Decimal(self.rows)}
        return rows | {f"{SUM_OF}{column}": value for column, value in self.sum.items()}


def control_problems(
    con: duckdb.DuckDBPyConnection, declared: Mapping[str, Control], imported: Import
) -> Iterator[Problem]:
    """Totals that the data do not come to.

    They are declared in the mapping, or stand in the ``control_totals`` table: rows whose source is a
    table's name (or its file's) and whose measure is ``rows`` or ``sum of <column>``, over all
    periods. Other measures of that table belong to reports. A value that cannot be read counts as 0,
    so that it shows.
    """
    place: dict[str, Any]
    for name, control in declared.items():
        for measure, value in control.measures().items():
            place = {"file": "mapping", "column": f"control.{name}"}
            yield from _difference(con, imported, name, measure, value, place=place)
    if "control_totals" not in imported.staged:
        return
    by_file = {rule: table for table in imported.staged for rule in _files_of(imported, table)}
    rows = con.execute(
        "SELECT trim(source), lower(trim(measure)), value, source_file, source_row "
        f"FROM {parquet(imported.staged['control_totals'].path)} WHERE value IS NOT NULL ORDER BY source_row"
    ).fetchall()
    for source, measure, value, file, row in rows:
        table = str(source) if source in TABLES else by_file.get(source)
        if table and measure and (measure == ROWS or measure.startswith(SUM_OF)):
            place = {"file": file, "row": row, "column": "value"}
            yield from _difference(con, imported, table, measure, value, place=place)


def _files_of(imported: Import, table: str) -> set[str]:
    return {
        file for (name, _), origins in imported.raw_columns.items() if name == table for file, _ in origins
    }


def _difference(
    con: duckdb.DuckDBPyConnection,
    imported: Import,
    table: str,
    measure: str,
    value: Decimal,
    *,
    place: dict[str, Any],
) -> Iterator[Problem]:
    staged = imported.staged.get(table)
    if staged is None:
        yield Problem(f"a control total is given for {table}, which the export does not hold", **place)
        return
    if measure == ROWS:
        found = Decimal(staged.rows + sum(name == table for name, _ in imported.broken))
    else:
        column = measure.removeprefix(SUM_OF)
        summed = [name for name, c in staged.table.columns.items() if c.type in _SUMMED]
        if column not in summed:
            next_step = did_you_mean(column, summed)
            yield Problem(f"{table} has no column {column!r} to sum", next_step=next_step, **place)
            return
        total = f"SELECT sum({sql_name(column)})::DECIMAL(38,4) FROM {parquet(staged.path)}"
        found = (con.execute(total).fetchone() or (None,))[0] or Decimal(0)
    if found != value:
        yield Problem(
            f"the control total of {table} disagrees with the data: {measure}",
            expected=f"{value:f}",
            got=f"{found.normalize():f}",
            next_step="The export was cut short or a value was misread: export again, or correct the total.",
            **place,
        )
