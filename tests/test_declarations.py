"""What a driver knows of analyses without importing them: the tables that reports read."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from salesops_kit import declarations, registry
from salesops_kit.declarations import NOTED, Declaration, declared, reads
from salesops_kit.errors import InputError


@pytest.mark.parametrize("name", list(registry.tables()))
def test_the_source_says_what_the_imported_function_says(name: str) -> None:
    spec = registry.find_table(name)
    tables = frozenset((*spec.tables, *spec.optional_tables))
    assert declared(spec.analysis)[name.partition(".")[2]] == Declaration(
        tables, frozenset(spec.needs.values())
    )


def test_company_figures_are_declared_where_there_are_any() -> None:
    for analysis in {spec.analysis for spec in registry.tables().values()}:
        spec = registry.references(analysis).get(analysis)
        found = declared(analysis).get("")
        assert (found.tables if found else None) == (
            frozenset((*spec.tables, *spec.optional_tables)) if spec else None
        )


def test_needs_are_followed_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = {
        "pay": {"earned": Declaration(frozenset({"quotas"}), frozenset({"forecast.bookings"}))},
        "forecast": {
            "bookings": Declaration(frozenset({"opportunities"}), frozenset({"pay.earned"})),
            "": Declaration(frozenset({"plan"})),
        },
    }
    monkeypatch.setattr(declarations, "declared", sources.__getitem__)
    found = reads(["pay.earned"])
    assert found.tables == {"quotas", "opportunities", "plan"}
    assert found.analyses == {"pay", "forecast"}


def test_every_report_may_show_the_quality_note() -> None:
    assert "exclusions" in reads(NOTED).tables


def test_an_unknown_table_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"funnel\.win_rate"):
        reads(["funnel.winrate"])


def test_deciding_what_to_run_imports_no_analysis() -> None:
    code = (
        "import json, sys\n"
        "from salesops_kit.preparation import Preparation\n"
        "made = Preparation('sample')\n"
        "parts = made.key_parts(['funnel.win_rate'], {'team': 'company', 'quarter': '2027-Q3'})\n"
        "heavy = ('scipy', 'statsmodels', 'sklearn', 'matplotlib', 'salesops_kit.analysis.funnel')\n"
        "print(json.dumps([sorted(parts), [name for name in heavy if name in sys.modules]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    parts, heavy = json.loads(done.stdout)
    assert {"table:opportunity_states", "table:reps", "settings", "as_of"} <= set(parts)
    assert "table:quotas" not in parts
    assert heavy == []
