"""Every query of the tables on the open pipeline compiles for DuckDB, PostgreSQL and Spark."""

from __future__ import annotations

import datetime as dt
from typing import Any

import ibis
import ibis.expr.types as ir
import pytest

from salesops_kit import registry
from salesops_kit.analysis.pipeline import company_reference
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.analysis.test_funnel_dialects import canonical, inputs
from tests.needing import run_table

Q1 = Period(dt.date(2026, 1, 1), dt.date(2026, 4, 1), "2026-Q1")
TABLES = (
    "composition", "by_week", "ageing", "aged_deals", "velocity", "coverage", "slippage", "pushes",
    "pushed_deals", "linearity", "linearity_curve", "pace", "pace_by_quarter", "create_and_close",
    "create_and_close_by_week",
)  # fmt: skip
BY = "team,rep,type,account.region,rep.segment,parent_team,close_quarter,created_month"


@pytest.mark.parametrize("period", [Q1, None], ids=["period", "no-period"])
@pytest.mark.parametrize("name", ["reference", *TABLES])
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
    tables = inputs() | {
        "plan": canonical("plan", team="North", period_start_date=Q1.start, amount=5),
        "quotas": canonical(
            "quotas", owner_id="rep-1", period_start_date=Q1.start, period_end_date=Q1.end, quota=5
        ),
        "team_memberships": canonical("team_memberships", owner_id="rep-1", team="North"),
    }
    if name == "reference":
        assert company_reference(tables["opportunity_states"], **context)["teams"] == 1
    else:
        spec = registry.find_table(f"pipeline.{name}")
        ways: list[dict[str, Any]] = [{}]
        if "by" in spec.options and not spec.options["by"].choices:
            ways.append({"by": BY})
        ways += [{option.name: choice} for option in spec.options.values() for choice in option.choices]
        ways += [{option.name: True} for option in spec.options.values() if option.type is bool]
        for way in ways:
            frame = run_table(spec.name, tables, context, **way)
            numbers = {column for column, unit in spec.units.items() if unit != "date"}
            assert numbers <= set(frame.columns), "every unit is that of a column"
    assert queries
    for query in queries:
        for dialect in ("duckdb", "postgres", "pyspark"):
            assert "SELECT" in ibis.to_sql(query, dialect=dialect)
