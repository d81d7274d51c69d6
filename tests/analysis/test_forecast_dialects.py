"""Every query that a forecast table runs compiles for DuckDB, PostgreSQL and Spark."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import ibis
import ibis.expr.types as ir
import pytest

from salesops_kit import registry
from salesops_kit.analysis.forecast import company_reference
from salesops_kit.data.contracts import TABLES
from salesops_kit.settings import Settings
from tests.needing import run_table
from tests.states import STAGE_TYPES, Change, deal, states_table, table_of

TYPES = {
    "bool": "boolean", "int": "int64", "number": "float64", "rate": "float64", "money": "decimal(18, 4)",
    "date": "date", "instant": "timestamp('UTC')",
}  # fmt: skip
# Amounts as decimals for the same reason as the probability below.
SEALS = {
    "seal": "string", "period": "string", "sealed_on": "date", "team": "string", "caller": "string",
    "call": "decimal(18, 4)", "low": "decimal(18, 4)", "high": "decimal(18, 4)", "is_backdated": "boolean",
}  # fmt: skip
FORECAST = {name: spec for name, spec in registry.tables().items() if spec.analysis == "forecast"}
DAY = dt.date(2026, 1, 5)
# As a decimal, since Ibis writes floats of a table in memory for Spark only where Spark is installed.
STAGES = table_of(
    STAGE_TYPES | {"default_probability": "decimal(5, 4)"},
    [["", "Discovery", 1, False, False, Decimal("0.1")]],
)


def canonical(name: str, **values: Any) -> ibis.Table:
    """A canonical table with one row, in which only the named columns are known."""
    columns = TABLES[name].columns
    types = {column.name: TYPES.get(column.type.removesuffix("!"), "string") for column in columns.values()}
    return table_of(types, [[values.get(column) for column in types]])


def inputs() -> dict[str, ibis.Table]:
    first = Change(DAY)
    last = first.then(dt.date(2026, 2, 5), stage="Closed Won", close_date=dt.date(2026, 2, 5))
    moment = dt.datetime(2026, 2, 2, 15, tzinfo=dt.UTC)
    return {
        "opportunity_states": states_table([deal("A", [first, last]), deal("B", [first])]),
        "opportunities": canonical("opportunities", opportunity_id="B", type="new"),
        "stages": STAGES,
        "forecast_calls": canonical(
            "forecast_calls", owner_id="rep-1", level="rep", submitted_at=moment, period="2026-Q1",
            category="Commit", amount=100,
        ),
        "team_memberships": canonical("team_memberships", owner_id="rep-1", team="North"),
        "plan": canonical("plan", team="North", period_start_date=dt.date(2026, 1, 1), amount=100),
        "quotas": canonical(
            "quotas", owner_id="rep-1", period_start_date=dt.date(2026, 1, 1),
            period_end_date=dt.date(2026, 4, 1), quota=100,
        ),
        "teams": canonical("teams", team="North"),
        "reps": canonical("reps", owner_id="rep-1"),
        "sealed_forecasts": table_of(
            SEALS, [["ab", "2025-Q4", DAY, "company", "rep", Decimal(5), None, None, False]]
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["forecast", *FORECAST])
def test_compiles_for_each_dialect(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    queries: list[ir.Table] = []
    run = ir.Table.to_pyarrow

    def recorded(self: ir.Table, *args: Any, **kwargs: Any) -> Any:
        queries.append(self)
        return run(self, *args, **kwargs)

    monkeypatch.setattr(ir.Table, "to_pyarrow", recorded)
    context: dict[str, Any] = {"as_of": dt.date(2026, 3, 1), "period": None, "settings": Settings()}
    tables = inputs()
    if name == "forecast":
        company_reference(*list(tables.values())[:5], **context)
    else:
        run_table(name, tables, context)
    assert queries
    for query in queries:
        for dialect in ("duckdb", "postgres", "pyspark"):
            assert "SELECT" in ibis.to_sql(query, dialect=dialect)
