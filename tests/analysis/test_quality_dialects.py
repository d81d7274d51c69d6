"""Every query that a table of data quality runs compiles for DuckDB, PostgreSQL and Spark."""

from __future__ import annotations

from typing import Any

import ibis
import ibis.expr.types as ir
import pytest

from salesops_kit import registry
from salesops_kit.analysis.quality import company_reference
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


@pytest.fixture(scope="module")
def queries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[ir.Table]]:
    """What each table asks of the engine that no table before it asked."""
    found: dict[str, list[ir.Table]] = {}
    context = w.context(w.policy(tmp_path_factory.mktemp("rules"), process=PROCESS))
    tables = inputs()
    run, keep = ir.Table.to_pyarrow, ir.Table.cache
    with pytest.MonkeyPatch.context() as patch:
        asked: list[ir.Table] = []
        patch.setattr(ir.Table, "to_pyarrow", lambda self, *a, **k: asked.append(self) or run(self, *a, **k))
        patch.setattr(ir.Table, "cache", lambda self: asked.append(self) or keep(self))
        for name, spec in QUALITY.items():
            known = {key: value for key, value in context.items() if key in spec.context}
            given = {table: tables.get(table) for table in (*spec.tables, *spec.optional_tables)}
            for way in ({}, *({o.name: choice} for o in spec.options.values() for choice in o.choices)):
                spec.function(**given, **known, **way)
            found[name], asked[:] = list(asked), []
        company_reference(
            tables["opportunity_states"], tables["control_totals"], as_of=w.AS_OF, period=w.Q1,
            settings=w.SETTINGS.model_copy(update={"zone": "Asia/Seoul"}),
        )  # fmt: skip
        found["reference"] = list(asked)
    return found


@pytest.mark.parametrize("name", [*QUALITY, "reference"])
def test_compiles_for_each_dialect(
    name: str, queries: dict[str, list[ir.Table]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for query in queries[name]:
        compile_everywhere(query, monkeypatch)


def test_the_queries_were_seen(queries: dict[str, list[ir.Table]]) -> None:
    assert sum(map(len, queries.values())) >= 40
