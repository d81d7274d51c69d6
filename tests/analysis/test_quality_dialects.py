"""Every query that a table of data quality runs compiles for DuckDB, PostgreSQL and Spark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pytest

from salesops_kit import registry
from salesops_kit.analysis.quality import _findings, _sources, company_reference
from tests.analysis import quality_world as w
from tests.analysis.test_quality_past import LISTED, TOTALS, snapshot
from tests.dialects import compile_everywhere
from tests.states import table_of

QUALITY = {name: spec for name, spec in registry.tables().items() if spec.analysis == "quality"}
PROCESS = """\
stages: [{stage: Proposal, required: [next_step], most_days: 30}]
service_levels: [{id: touched, title: Touched, start: created_at, end: mql_at, within_days: 4}]
"""


def inputs() -> dict[str, Any]:
    tables = w.world()
    tables["control_totals"] = table_of(TOTALS, [("finance", "2026-Q1", "bookings", 1)])
    tables["control_deals"] = table_of(LISTED, [("finance", "2026-Q1", "won", 1)])
    tables["earlier_deals"] = snapshot({"zero": w.deals()["zero"]}, w.day(3, 1))
    tables["accounts"] = tables["accounts"].mutate(segment=ibis.literal("x"))
    return tables


@pytest.mark.parametrize("name", ["quality", *QUALITY])
def test_compiles_for_each_dialect(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queries: list[ir.Table] = []
    run, keep = ir.Table.to_pyarrow, ir.Table.cache

    def recorded(self: ir.Table, *args: Any, **kwargs: Any) -> Any:
        queries.append(self)
        return run(self, *args, **kwargs)

    def kept(self: ir.Table) -> Any:
        queries.append(self)
        return keep(self)

    monkeypatch.setattr(ir.Table, "to_pyarrow", recorded)
    monkeypatch.setattr(ir.Table, "cache", kept)
    _sources._stored.cache_clear()
    _findings._KEPT.clear()
    context = w.context(w.policy(tmp_path, process=PROCESS))
    tables = inputs()
    if name == "quality":
        company_reference(
            tables["opportunity_states"],
            tables["control_totals"],
            as_of=w.AS_OF,
            period=w.Q1,
            settings=w.SETTINGS,
        )
    else:
        spec = QUALITY[name]
        known = {key: value for key, value in context.items() if key in spec.context}
        given = {table: tables.get(table) for table in (*spec.tables, *spec.optional_tables)}
        ways = [{}, *({o.name: choice} for o in spec.options.values() for choice in o.choices)]
        for way in ways:
            spec.function(**given, **known, **way)
    assert queries
    for query in queries:
        compile_everywhere(query, monkeypatch)
