"""One downloaded file to published reports: recognised, asked about, imported, counted, run."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from salesops_kit.data import engine
from salesops_kit.data.dataset import Rows, import_export, open_rows
from salesops_kit.data.earlier import EARLIER
from salesops_kit.data.mapping import read_mapping
from salesops_kit.data.mapping_files import find_mapping
from salesops_kit.data.recognise import Recognised, recognise
from salesops_kit.data.sealing import SEALED
from salesops_kit.preparation import Preparation
from salesops_kit.project import ROOT_VARIABLE
from salesops_kit.publishing.plan_file import load_plan
from salesops_kit.publishing.progress import Progress
from salesops_kit.publishing.run import RunResult, run
from salesops_kit.publishing.templates import available
from salesops_kit.registry import find_table
from salesops_kit.settings import COMPANY
from salesops_kit.starting.deciding import NOTHING_GIVEN, Ask, Options, decide, proposed
from salesops_kit.starting.workspace import make_workspace, write_yaml
from salesops_kit.starting.writing import Answers, mapping_of, settings_of

KEPT = (EARLIER, SEALED)
DATASET_FILE = Path("params") / "dataset.yml"


Tell = Callable[[str], None]


@dataclass(frozen=True)
class ClosedWon:
    """What was won in one fiscal year: the figure that a person can hold against a dashboard."""

    fiscal_year: int
    amount: Decimal
    deals: int

    def __str__(self) -> str:
        number = f"{self.amount:,.2f}".removesuffix(".00")
        unit = "deal" if self.deals == 1 else "deals"
        return f"Closed-won FY{self.fiscal_year % 100:02d} = {number} in {self.deals:,} {unit}"


@dataclass(frozen=True)
class Started:
    """What was made: the workspace, the figures to compare, and the run's result (None: nothing to run)."""

    folder: Path
    closed_won: tuple[ClosedWon, ...]
    result: RunResult | None


def start(
    path: Path,
    out: Path,
    *,
    options: Options = NOTHING_GIVEN,
    ask: Ask = proposed,
    tell: Tell = lambda _: None,
    progress: Progress | None = None,
    jobs: int | None = None,
) -> Started:
    """Recognise one file, write the workspace ``out`` for it, import it and publish what it allows.

    Raises :class:`~salesops_kit.errors.InputError` before anything is written where the file cannot be
    read or an answer is missing.
    """
    with tempfile.TemporaryDirectory(prefix="salesops-start-") as scratch:
        con = engine.connect(Path(scratch))
        try:
            found = recognise(con, path, scratch=Path(scratch), sheet=options.sheet, named=options.named)
            for sentence in _said_of(found):
                tell(sentence)
            answers = decide(con, found, options, ask, name=_name(path))
        finally:
            con.close()
    tell(_decided(answers))
    make_workspace(out)
    out = out.resolve()
    write_yaml(
        out / DATASET_FILE, settings_of(answers), "The settings of the dataset; the mapping names this file."
    )
    mapping = out / "params" / "mappings" / f"{answers.name}.yml"
    said = (
        f"How {path.name} becomes the kit's tables.\n"
        f"The next: salesops import FILE --mapping {answers.name} --out data/{answers.name}"
    )
    write_yaml(mapping, mapping_of(found, answers), said)
    with _inside(out):
        made = import_export([path], str(mapping), out / "data" / answers.name)
        rows = open_rows(made)
        for note in made.notes:
            tell(f"Note: {note}")
        for sentence in rows.told_of_set_aside():
            tell(sentence)
        figures = tuple(closed_won(rows))
        for figure in figures[-2:]:
            tell(f"{figure}: does your dashboard say so?")
        if not figures:
            tell("No deal of the file is won.")
        result = _publish(out, answers.name, rows, progress, jobs, tell)
        for sentence in unlocks(rows, found.crm):
            tell(sentence)
    return Started(out, figures, result)


def _name(path: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", path.stem.casefold()).strip("_")[:40]
    return name if name and name not in ("salesforce", "hubspot") else "deals"


def _said_of(found: Recognised) -> Iterator[str]:
    who = {"salesforce": "Salesforce", "hubspot": "HubSpot", "zoho": "Zoho"}.get(
        found.crm, "an unknown system"
    )
    what = "an export of its records" if found.form == "objects" else "a report"
    deals = "deal" if found.source.rows == 1 else "deals"
    yield f"{found.source.name}: {found.source.rows:,} {deals}, {what} of {who}."
    for problem in found.source.flagged:
        yield f"Left out: {problem.what} ({problem.count} from row {problem.row} on: {problem.got})."
    if "opportunity_id" not in found.roles:
        yield "The file has no ids, so deals are numbered by their rows; add the id to compare exports."


def _decided(answers: Answers) -> str:
    won = ", ".join(one.stage for one in answers.stages if one.is_won)
    lost = ", ".join(one.stage for one in answers.stages if one.is_lost) or "none"
    dates = ", ".join(dict.fromkeys(answers.dates.values()))
    return (
        f"Taken: {answers.amount!r} in {answers.currency}; won: {won}; lost: {lost}; dates as {dates}; "
        f"the fiscal year starts in month {answers.fiscal_start}; business days of {answers.zone}."
    )


def closed_won(rows: Rows) -> Iterator[ClosedWon]:
    """Won deals by the fiscal year of their close date, the oldest first; deleted deals do not count."""
    deals, stages = rows.table("opportunities"), rows.table("stages")
    won = stages.filter(stages.is_won).select("pipeline", "stage")
    keyed = deals.mutate(pipeline=deals.pipeline.fill_null(""), is_deleted=deals.is_deleted.fill_null(False))
    kept = keyed.filter(~keyed.is_deleted & keyed.close_date.notnull()).semi_join(won, ["pipeline", "stage"])
    by_day = kept.group_by("close_date").aggregate(amount=kept.amount.sum(), deals=kept.count())
    totals: dict[int, ClosedWon] = {}
    for row in engine.collect(by_day).itertuples():
        year = rows.settings.fiscal.year_number(row.close_date)
        before = totals.get(year, ClosedWon(year, Decimal(0), 0))
        amount = before.amount + (row.amount if isinstance(row.amount, Decimal) else Decimal(0))
        totals[year] = ClosedWon(year, amount, before.deals + int(row.deals))
    yield from (totals[year] for year in sorted(totals))


def allowed_reports(rows: Rows) -> list[str]:
    """The reports of which at least one table can be computed from the dataset."""
    return [
        name
        for name, template in sorted(available().items())
        if template.audience != "private" and any(not _lacking(table, rows) for table in template.tables)
    ]


def _lacking(table: str, rows: Rows) -> set[str]:
    return set(find_table(table).tables) - set(rows.tables)


def _publish(
    out: Path, name: str, rows: Rows, progress: Progress | None, jobs: int | None, tell: Tell
) -> RunResult | None:
    reports = allowed_reports(rows)
    quarters = rows.quarters()
    if not reports or not quarters:
        tell("No report can be made of this file alone.")
        return None
    plan = out / "params" / f"{name}.yml"
    has_teams = "team_memberships" in rows.tables
    values = {
        "data": name, "quarters": [quarters[-1].label], "teams": "all" if has_teams else [COMPANY],
        "reports": reports, "jobs": 2,
    }  # fmt: skip
    write_yaml(plan, values, f"The reports that {name} allows. Run again: salesops run params/{name}.yml")
    result = run(
        load_plan(plan), Preparation(name), reports_root=out / "reports", jobs=jobs, progress=progress
    )
    if result.failures:
        tell(f"{len(result.failures)} of {len(result.entries)} reports failed; the catalog says why.")
    tell(f"Published: open {out / 'reports' / 'index.html'}")
    return result


def unlocks(rows: Rows, crm: str) -> Iterator[str]:
    """Which further export makes more possible, by the CRM's own names of its objects."""
    files: dict[str, str] = {}
    if crm in ("salesforce", "hubspot"):
        rules = read_mapping(find_mapping(crm)).tables
        files = {
            table: " or ".join(dict.fromkeys(rule.source for rule in many)) for table, many in rules.items()
        }
        files["opportunity_history"] = {
            "salesforce": "OpportunityHistory and OpportunityFieldHistory", "hubspot": "property_history"
        }[crm]  # fmt: skip
    gains: dict[str, list[str]] = {}
    for name, template in sorted(available().items()):
        for table in template.tables:
            spec = find_table(table)
            for needed in {*spec.tables, *spec.optional_tables} - set(rows.tables):
                gains.setdefault(needed, [])
                if name not in gains[needed]:
                    gains[needed].append(name)
    deals = rows.table("opportunities")
    if deals.created_date.notnull().any().to_pyarrow().as_py() is not True:
        yield "Add the creation date of the deals: cohorts and the open pipeline of past days rest on it."
    if _is_derived(rows):
        yield (
            f"Export {files.get('opportunity_history', 'the history of stages')} too: stage conversion, "
            "time in stage and the waterfall then rest on recorded changes."
        )
    # What the kit keeps itself is nobody's to export.
    added: dict[str, dict[str, None]] = {}
    for table, reports in sorted((name, gained) for name, gained in gains.items() if name not in KEPT):
        what = f"Export {files[table]}" if table in files else f"Add a table {table}"
        added.setdefault(what, {}).update(dict.fromkeys(reports))
    for what, for_reports in added.items():
        yield f"{what} too: it adds to {', '.join(for_reports)}."


def _is_derived(rows: Rows) -> bool:
    history: Any = rows.table("opportunity_history")
    return bool((history.source == "derived").any().to_pyarrow().as_py())


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Make a workspace the project for a while."""
    before = os.environ.get(ROOT_VARIABLE)
    os.environ[ROOT_VARIABLE] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[ROOT_VARIABLE]
        else:
            os.environ[ROOT_VARIABLE] = before
