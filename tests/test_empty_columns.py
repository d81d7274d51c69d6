"""Every table on data of which one column is empty: as many as a company may never have filled."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from salesops_kit.compute import Calculator, reference_for, resolve_choice
from salesops_kit.data import scope
from salesops_kit.data.dataset import open_rows, open_snapshot
from salesops_kit.errors import NotAvailableError
from salesops_kit.project import ROOT_VARIABLE
from salesops_kit.registry import TableSpec, tables

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
DEALS = 700
OF_DEALS = ("opportunities", "opportunity_history", "splits", "opportunity_lines")
EMPTY = (
    ("opportunities.owner_id", "opportunity_history.owner_id"),
    ("opportunities.account_id",),
    ("opportunities.created_at",),
    ("opportunities.amount",),
    ("opportunities.name", "reps.name", "accounts.name"),
    ("accounts.segment", "accounts.region", "reps.segment"),
    ("touches.lead_id", "touches.channel"),
    ("leads.opportunity_id", "leads.source", "leads.owner_id"),
    ("quotas.owner_id", "plan.team"),
    ("stages.default_probability", "stages.forecast_category"),
)


@pytest.fixture
def company(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The newest deals of the sample, with some columns empty."""
    folder = tmp_path / "data" / "company"
    folder.mkdir(parents=True)
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    shutil.copy(SAMPLE / "dataset.yml", folder)
    newest: set[str] = set()
    # The deals come first: the others are those of the ones that are kept.
    for path in sorted(SAMPLE.glob("*.csv"), key=lambda path: path.stem != "opportunities"):
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
        if path.stem == "opportunities":
            rows = rows.tail(DEALS)
            newest = set(rows["opportunity_id"])
        elif path.stem in OF_DEALS:
            rows = rows[rows["opportunity_id"].isin(newest)]
        for name in request.param:
            table, _, column = name.partition(".")
            if table == path.stem:
                rows = rows.assign(**{column: ""})
        rows.to_csv(folder / path.name, index=False)
    return "company"


def choices_of(spec: TableSpec) -> Iterator[dict[str, object]]:
    """The table as it is, and with each choice of each of its options."""
    yield {}
    for option in spec.options.values():
        yield from ({option.name: choice} for choice in option.choices if choice != option.default)


@pytest.mark.campaign
@pytest.mark.parametrize("company", EMPTY, indirect=True, ids=[" ".join(names) for names in EMPTY])
def test_every_table_has_an_answer_or_says_why_not(company: str) -> None:
    whole = open_rows(open_snapshot(company))
    quarter = whole.quarters()[-1].label
    made = 0
    for team in ("company", "EMEA South"):
        chosen = resolve_choice(whole, team=team, quarter=quarter, as_of="")
        rows = whole if chosen.members is None else scope.cut(whole, chosen.members)
        known = Calculator(whole, chosen.as_of, chosen.period)
        for name, spec in tables().items():
            figures = reference_for(known.references(spec.analysis), len(chosen.members or ()))
            calculator = Calculator(rows, chosen.as_of, chosen.period, figures)
            for options in choices_of(spec):
                with suppress(NotAvailableError):
                    calculator.table(name, **options)
                    made += 1
    assert made > 100
