"""Every query that a pipeline table runs compiles for DuckDB, PostgreSQL and Spark."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import ibis
import ibis.expr.types as ir
import pytest

from salesops_kit import registry
from salesops_kit.analysis.pipeline import company_reference
from salesops_kit.periods import Period
from salesops_kit.settings import Settings
from tests.analysis.test_funnel_dialects import canonical
from tests.analysis.test_funnel_dialects import inputs as funnel_inputs
from tests.states import Change, deal, states_table

Q1 = Period(dt.date(2026, 1, 1), dt.date(2026, 4, 1), "2026-Q1")
PIPELINE = {name: spec for name, spec in registry.tables().items() if spec.analysis == "pipeline"}
BY = "team,rep,type,account.region,rep.segment,parent_team"


def inputs() -> dict[str, ibis.Table]:
    due = Change(dt.date(2026, 1, 5), close_date=Q1.last_day)
    before = Change(dt.date(2025, 9, 1), close_date=dt.date(2025, 12, 31))
    tables = funnel_inputs()
    rows = [
        deal("A", [due, due.then(dt.date(2026, 2, 5), stage="Proposal")]),
        deal("B", [before, before.then(dt.date(2025, 12, 9), stage="Closed Won")]),
    ]
    moment = dt.datetime(2026, 1, 9, 12, tzinfo=dt.UTC)
    return {
        **tables,
        "opportunity_states": states_table(rows),
        "activities": canonical("activities", activity_id="X", opportunity_id="A", started_at=moment),
        "plan": canonical(
            "plan", team="North", period_start_date=Q1.start, measure="bookings", amount=Decimal(500)
        ),
        "quotas": canonical(
            "quotas", owner_id="rep-1", period_start_date=Q1.start, period_end_date=Q1.end, quota=Decimal(500)
        ),
        "team_memberships": canonical("team_memberships", owner_id="rep-1", team="North"),
    }


@pytest.mark.parametrize("period", [Q1, None], ids=["period", "all-history"])
@pytest.mark.parametrize("name", ["reference", *PIPELINE])
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
    if name == "reference":
        company_reference(tables["opportunity_states"], **context)
    else:
        spec = PIPELINE[name]
        given = {table: tables.get(table) for table in (*spec.tables, *spec.optional_tables)}
        known = {key: value for key, value in context.items() if key in spec.context}
        ways: list[dict[str, Any]] = [{}]
        if period is not None:
            if "by" in spec.options and not spec.options["by"].choices:
                ways.append({"by": BY})
            others = [(option, choice) for option in spec.options.values() for choice in option.choices]
            ways += [{option.name: choice} for option, choice in others if choice != option.default]
        for way in ways:
            spec.function(**given, **known, **way)
    assert queries
    for query in queries:
        for dialect in ("duckdb", "postgres", "pyspark"):
            assert "SELECT" in ibis.to_sql(query, dialect=dialect)
