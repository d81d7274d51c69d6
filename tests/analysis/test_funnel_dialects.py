"""Every query that a funnel table runs compiles for DuckDB, PostgreSQL and Spark."""

from __future__ import annotations

import datetime as dt
from typing import Any

import ibis
import ibis.expr.types as ir
import pytest

from salesops_kit import registry
from salesops_kit.analysis.funnel import company_reference
from salesops_kit.data.contracts import TABLES
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.states import Change, deal, stages_table, states_table, table_of

TYPES = {
    "bool": "boolean",
    "int": "int64",
    "number": "float64",
    "rate": "float64",
    "money": "decimal(18, 4)",
    "date": "date",
    "instant": "timestamp('UTC')",
}
Q1 = Period(dt.date(2026, 1, 1), dt.date(2026, 4, 1), "2026-Q1")
FUNNEL = {name: spec for name, spec in registry.tables().items() if spec.analysis == "funnel"}
BY = "team,rep,type,account.region,rep.segment,parent_team,close_quarter,created_month"


def canonical(name: str, **values: Any) -> ibis.Table:
    """A canonical table with one row, in which only the named columns are known."""
    columns = TABLES[name].columns
    types = {column.name: TYPES.get(column.type.removesuffix("!"), "string") for column in columns.values()}
    return table_of(types, [[values.get(column) for column in types]])


def inputs() -> dict[str, ibis.Table]:
    first = Change(dt.date(2026, 1, 5))
    last = first.then(dt.date(2026, 2, 5), stage="Closed Won", close_date=dt.date(2026, 2, 5))
    return {
        "opportunity_states": states_table([deal("A", [first, last])]),
        "stages": stages_table(),
        "opportunities": canonical(
            "opportunities", opportunity_id="A", created_date=first.day, loss_reason="Duplicate"
        ),
        "accounts": canonical("accounts", account_id="X"),
        "reps": canonical("reps", owner_id="rep-1"),
        "teams": canonical("teams", team="North"),
        "leads": canonical("leads", lead_id="L", opportunity_id="A"),
        "touches": canonical("touches", lead_id="L", account_id="X"),
        "plan": canonical("plan", team="North", period_start_date=Q1.start, measure="bookings", amount=1),
        "quotas": canonical(
            "quotas", owner_id="rep-1", period_start_date=Q1.start, period_end_date=Q1.end, quota=1
        ),
        "team_memberships": canonical("team_memberships", owner_id="rep-1", team="North"),
    }


@pytest.mark.parametrize("period", [Q1, None], ids=["period", "all-history"])
@pytest.mark.parametrize("name", ["funnel", *FUNNEL])
def test_compiles_for_each_dialect(name: str, period: Period | None, monkeypatch: pytest.MonkeyPatch) -> None:
    queries: list[ir.Table] = []
    run = ir.Table.to_pyarrow

    def recorded(self: ir.Table, *args: Any, **kwargs: Any) -> Any:
        queries.append(self)
        return run(self, *args, **kwargs)

    monkeypatch.setattr(ir.Table, "to_pyarrow", recorded)
    context: dict[str, Any] = {
        "as_of": dt.date(2026, 3, 1),
        "period": period,
        "settings": Settings(first_qualified_stage="Proposal"),
    }
    tables = inputs()
    if name == "funnel":
        company_reference(*list(tables.values())[:3], **context)
    else:
        spec = FUNNEL[name]
        given = [tables[table] for table in (*spec.tables, *spec.optional_tables)]
        known = {key: value for key, value in context.items() if key in spec.context}
        ways: list[dict[str, Any]] = [{}]
        if "by" in spec.options and not spec.options["by"].choices:
            ways.append({"by": BY if "opportunity_states" in spec.tables else "source,status"})
        ways += [{option.name: choice} for option in spec.options.values() for choice in option.choices]
        for way in ways:
            spec.function(*given, **known, **way)
    assert queries
    for query in queries:
        for dialect in ("duckdb", "postgres", "pyspark"):
            assert "SELECT" in ibis.to_sql(query, dialect=dialect)
